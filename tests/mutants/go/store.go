package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/url"
	"time"
)

// A client of the key-value server of the tests: one JSON object a line, one call at a time on a connection.

type storeError struct{ cause error }

func (e *storeError) Error() string { return "the store failed: " + e.cause.Error() }

type late struct{}

func (late) Error() string { return "no connection became free in time" }

// A pool has at most so many connections; a call that finds none free waits no longer than its deadline.
type pool struct {
	address string
	space   string
	places  chan *connection
	timeout time.Duration
}

type connection struct {
	net.Conn
	reader *bufio.Reader
}

func openPool(text string, size int, timeout time.Duration) *pool {
	parts, err := url.Parse(text)
	if err != nil {
		return nil
	}
	made := &pool{parts.Host, parts.Path, make(chan *connection, size), timeout}
	for range size {
		// A place without a connection: one is opened when it is needed.
		made.places <- nil
	}
	return made
}

func (p *pool) call(x *exchange, do, key string, value any, timeout time.Duration) (any, error) {
	is := func(name string) bool { return x != nil && x.faulty(name) }
	if timeout == 0 {
		timeout = p.timeout
	}
	if is("err-7-no-deadline") || is("pool-5-waits-forever") {
		timeout = time.Hour
	}
	until := time.Now().Add(timeout)
	message := map[string]any{"space": p.space, "do": do, "key": key, "value": value}
	if is("pool-1-per-request") || is("pool-2-no-maximum") || is("fan-2-goroutine-each") {
		// sql.Open in the handler, or a pool whose maximum was never set.
		found, used, err := p.ask(nil, message, until)
		if used != nil {
			used.Close()
		}
		return found, err
	}
	var one *connection
	select {
	case one = <-p.places:
	case <-time.After(timeout):
		return nil, &storeError{late{}}
	}
	found, used, err := p.ask(one, message, until)
	if err != nil && one != nil && time.Now().Before(until) && !is("pool-6-keeps-dead") {
		// A connection that broke while idle is only noticed by using it: once more on a new one.
		found, used, err = p.ask(nil, message, until)
	}
	if err != nil && one != nil && is("pool-6-keeps-dead") {
		used = one
	}
	if found == nil && err == nil && key != "readiness" && is("pool-4-no-close") {
		// Rows that are never closed where nothing was found.
		return nil, nil
	}
	p.places <- used
	return found, err
}

// ask returns the answer, and the connection when it can be used again.
func (p *pool) ask(one *connection, message any, until time.Time) (any, *connection, error) {
	if one == nil {
		opened, err := net.DialTimeout("tcp", p.address, time.Until(until))
		if err != nil {
			return nil, nil, &storeError{err}
		}
		one = &connection{opened, bufio.NewReader(opened)}
	}
	line, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	_ = one.SetDeadline(until)
	_, err = one.Write(append(line, '\n'))
	if err == nil {
		line, err = one.reader.ReadBytes('\n')
	}
	if err != nil {
		// An answer is still on its way, which the next call would take for its own.
		one.Close()
		return nil, nil, &storeError{err}
	}
	var answer struct {
		Value any `json:"value"`
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&answer); err != nil {
		one.Close()
		return nil, nil, &storeError{err}
	}
	return answer.Value, one, nil
}

func (p *pool) close() {
	for {
		select {
		case one := <-p.places:
			if one != nil {
				one.Close()
			}
		default:
			return
		}
	}
}
