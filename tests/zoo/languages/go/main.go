// A production-ready service on net/http alone. ZOO_FAULT names the one thing that is wrong with it.
package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Below the 10 s after which an orchestrator is expected to kill.
const stopLimit = 8 * time.Second

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	if err := serve(log); err != nil {
		log.Error("the service failed", "error", err.Error())
		os.Exit(1)
	}
}

// serve answers requests until a signal has come and everything in flight is answered.
func serve(log *slog.Logger) error {
	drainDelay, err := strconv.ParseFloat(cmp.Or(os.Getenv("DRAIN_DELAY"), "0.3"), 64)
	if err != nil {
		return err
	}
	service := newService(log)
	server := &http.Server{
		Handler:           service,
		ReadHeaderTimeout: 10 * time.Second,
		// Longer than that of the proxies in front (60 s is usual), so that they and not we hang up.
		IdleTimeout: 65 * time.Second,
		// net/http adds 4 KiB to it; the default is a whole MiB.
		MaxHeaderBytes: 8 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "8000"))
	if err != nil {
		return err
	}
	log.Info("serving", "address", listener.Addr().String())

	// Never stopped: a second signal asks for what is going on already, and must not kill.
	told := make(chan os.Signal, 1)
	if !faulty("shut-1-no-handler") {
		signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	}
	drained := make(chan error, 1)
	go func() {
		received := <-told
		log.Info("shutdown begins", "signal", received.String())
		if faulty("shut-10-second-term") {
			// What the function that signal.NotifyContext returns does when it is called.
			signal.Stop(told)
		}
		service.draining.Store(true)
		// Idle connections end now, and all responses say Connection: close.
		server.SetKeepAlivesEnabled(false)
		// Readiness is negative: load balancers get the time to look away while everything is still served.
		time.Sleep(time.Duration(drainDelay * float64(time.Second)))
		limited, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		drained <- server.Shutdown(limited)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	// Serve returns when the listener is closed; Shutdown returns when the last response is sent.
	if !faulty("shut-1-main-returns") {
		err = <-drained
	}
	log.Info("shutdown is complete")
	return err
}
