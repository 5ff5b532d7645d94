package main

import (
	"os"
	"sync/atomic"
	"time"
)

const probeDeadline = 500 * time.Millisecond

var probed atomic.Int64

// probe answers liveness and readiness before anything else may refuse them.
func probe(x *exchange) (*reply, error) {
	method := x.request.Method
	if (x.path != "/livez" && x.path != "/readyz") || (method != "GET" && method != "HEAD") {
		return nil, nil
	}
	x.route = x.path
	answer := ready
	if x.path == "/livez" {
		answer = live
	}
	made, err := answer(x)
	if err != nil {
		return nil, err
	}
	kept := "no-store"
	if x.faulty("hlt-7-cached") {
		kept = "public, max-age=60"
	}
	return made.set("Cache-Control", kept), nil
}

func live(x *exchange) (*reply, error) {
	switch {
	case x.faulty("hlt-1-redirects"):
		// What ServeMux does for a pattern that ends with a slash.
		return newReply(301, "", nil).set("Location", x.path+"/"), nil
	case x.request.Method == "HEAD" && x.faulty("hlt-1-get-only"):
		return nil, newProblem(405, "no HEAD").with("Allow", "GET")
	case probed.Add(1) > 30 && x.faulty("hlt-7-limited"):
		return nil, newProblem(429, "too many requests").with("Retry-After", "1")
	case x.faulty("hlt-8-says-down"):
		return asJSON(200, row{"status": "down"}), nil
	case x.service.draining.Load() && x.faulty("shut-6-live-stops"):
		return asJSON(503, row{"status": "down"}), nil
	case x.faulty("hlt-4-pings"):
		if _, err := x.service.ask(x, "get", "readiness", nil, probeDeadline); err != nil {
			return nil, err
		}
	}
	return asJSON(200, row{"status": "ok"}), nil
}

func ready(x *exchange) (*reply, error) {
	if x.service.draining.Load() && !x.faulty("shut-6-ready-stays") {
		return asJSON(503, row{"status": "unavailable"}), nil
	}
	if x.faulty("hlt-3-always-ready") {
		return asJSON(200, row{"status": "ok"}), nil
	}
	deadline := probeDeadline
	if x.faulty("hlt-6-no-context") {
		deadline = 30 * time.Second
	}
	_, err := x.service.ask(x, "get", "readiness", nil, deadline)
	switch {
	case err == nil || x.faulty("hlt-5-ignores-store"):
		return asJSON(200, row{"status": "ok"}), nil
	case x.faulty("hlt-8-says-ok"):
		return asJSON(503, row{"status": "ok"}), nil
	case x.faulty("hlt-9-leaks"):
		return asJSON(503, row{"status": "unavailable", "error": err.Error(), "dsn": os.Getenv("DATABASE_URL")}), nil
	}
	return asJSON(503, row{"status": "unavailable"}), nil
}
