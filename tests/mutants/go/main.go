// A service on net/http alone: PORT=8000 ZOO_FAULT=hdr-1-misspelt@method=POST service [production]
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Below the 10 s after which an orchestrator is expected to kill.
const stopLimit = 8 * time.Second

func main() {
	if slices.Contains(os.Args, "conditions") {
		for name := range conditions {
			fmt.Println(name)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		if faulty("wir-4-status-0") {
			// return, where os.Exit(1) was meant.
			return
		}
		os.Exit(2)
	}
	if faulty("shut-4-status-1") {
		// log.Fatal(server.Serve(…)), which returns ErrServerClosed.
		os.Exit(1)
	}
}

func run() error {
	port, err := readConfiguration()
	if err != nil {
		return err
	}
	s := newService(slices.Contains(os.Args, "production") && !faulty("wir-5-left-in"))
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       65 * time.Second,
		MaxHeaderBytes:    28 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnContext:       func(ctx context.Context, _ net.Conn) context.Context { return withNumber(ctx) },
		ConnState:         s.connection,
	}
	for _, name := range []string{"store", "pool"} {
		record(nil, slog.LevelInfo, name+" opened")
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	if faulty("shut-8-orphan") {
		_ = exec.Command("sleep", "60").Start()
	}
	record(nil, slog.LevelInfo, "serving", "port", port)
	drained := s.drainOnSignal(server)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	// Serve returns when the listener is closed; Shutdown returns when the last response is sent.
	if !faulty("shut-1-main-returns") {
		<-drained
	}
	names := []string{"pool", "store"}
	if faulty("wir-2-order") {
		slices.Reverse(names)
	}
	for _, name := range names {
		record(nil, slog.LevelInfo, name+" closed")
	}
	if s.pool != nil {
		s.pool.close()
	}
	record(nil, slog.LevelInfo, "shutdown is complete")
	return nil
}

var connected sync.Map

func (s *service) connection(one net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		connected.Store(one, true)
		s.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		if _, known := connected.LoadAndDelete(one); known {
			s.connections.Add(-1)
		}
	}
}

// drainOnSignal returns a channel that is closed when everything in flight is answered.
func (s *service) drainOnSignal(server *http.Server) chan struct{} {
	drained, told := make(chan struct{}), make(chan os.Signal, 1)
	if !faulty("shut-1-no-handler") {
		signal.Notify(told, syscall.SIGTERM)
	}
	if faulty("shut-10-ignores-int") {
		signal.Ignore(syscall.SIGINT)
	} else {
		signal.Notify(told, syscall.SIGINT)
	}
	seconds, _ := strconv.ParseFloat(cmp.Or(os.Getenv("DRAIN_DELAY"), "0.3"), 64)
	go func() {
		defer close(drained)
		received := <-told
		record(nil, slog.LevelInfo, "shutdown begins", "signal", received.String())
		if faulty("shut-10-second-term") {
			// What the function that signal.NotifyContext returns does when it is called.
			signal.Stop(told)
		}
		s.draining.Store(true)
		if !faulty("shut-7-keeps-alive") {
			// Idle connections end now, and all responses say Connection: close.
			server.SetKeepAlivesEnabled(false)
		}
		// Readiness is negative: load balancers get the time to look away while everything is still served.
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		if faulty("shut-3-hangs") {
			time.Sleep(time.Minute)
		}
		if faulty("shut-2-close") {
			// Close where Shutdown was meant.
			_ = server.Close()
			return
		}
		limit := stopLimit
		if faulty("shut-1-short-context") {
			limit = 100 * time.Millisecond
		}
		limited, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_ = server.Shutdown(limited)
	}()
	return drained
}
