package main

import (
	"bytes"
	"cmp"
	"net/http"
	"strconv"
	"time"
)

func live(w http.ResponseWriter, _ *http.Request) error {
	write(w, http.StatusOK, "application/json", map[string]string{"status": "ok"})
	return nil
}

func (s *service) ready(w http.ResponseWriter, _ *http.Request) error {
	status, said := http.StatusOK, "ok"
	if s.draining.Load() {
		status, said = http.StatusServiceUnavailable, "unavailable"
	}
	write(w, status, "application/json", map[string]string{"status": said})
	return nil
}

func slow(w http.ResponseWriter, r *http.Request) error {
	seconds, err := strconv.ParseFloat(cmp.Or(r.URL.Query().Get("seconds"), "1"), 64)
	if err != nil || !(seconds >= 0 && seconds <= 60) {
		return newProblem(http.StatusUnprocessableEntity, "seconds has to be between 0 and 60")
	}
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-r.Context().Done():
		// The client has left.
	}
	write(w, http.StatusOK, "application/json", map[string]bool{"slept": true})
	return nil
}

func fails(http.ResponseWriter, *http.Request) error {
	const text = "canary-77ab of an unhandled exception"
	if faulty("err-5-goroutine") {
		// No recover of this request's goroutine sees what another one panics with.
		go func() { panic(text) }()
		select {}
	}
	panic(text)
}

var block = bytes.Repeat([]byte("0123456789abcdef"), 4096)

// large sends 12 MiB, one block after the other.
func large(w http.ResponseWriter, r *http.Request) error {
	const blocks = 192
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(blocks*len(block)))
	if r.Method == "HEAD" {
		return nil
	}
	for range blocks {
		if _, err := w.Write(block); err != nil {
			// The client has left.
			return nil
		}
	}
	return nil
}
