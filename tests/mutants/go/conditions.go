package main

import (
	"os"
	"strings"
)

// When a fault of a mutant shows. The names are those of tests/zoo/conditions.py; a test compares them.

const (
	large = 16_384
	long  = 1024
)

var methods = []string{"POST", "GET", "DELETE", "PUT", "HEAD", "OPTIONS"}

var routes = []string{
	"/api/items", "/api/items/{id}", "/api/users", "/api/users/{id}", "/livez", "/readyz", "/api/large",
	"/api/page", "/api/users/{id}/posts", "/api/users/{id}/overview", "/api/fails", "/api/users/batch",
	"/api/transfers", "/api/login", "/metrics",
}

type condition func(x *exchange) bool

func status(first, last int) condition {
	return func(x *exchange) bool { return x.reply != nil && first <= x.reply.status && x.reply.status <= last }
}

func has(field, text string) condition {
	return func(x *exchange) bool { return strings.Contains(strings.ToLower(x.field(field)), text) }
}

func lacks(field string) condition { return func(x *exchange) bool { return x.field(field) == "" } }

// conditions tell for each name whether it holds for an exchange.
var conditions = map[string]condition{
	"status=2xx":      status(200, 299),
	"status=4xx":      status(400, 499),
	"status=404":      status(404, 404),
	"status=405":      status(405, 405),
	"status=422":      status(422, 422),
	"status=5xx":      status(500, 599),
	"status=201":      status(201, 201),
	"status=204":      status(204, 204),
	"accept=html":     has("Accept", "text/html"),
	"accept=json":     has("Accept", "json"),
	"sent=charset":    has("Content-Type", "charset"),
	"origin=second":   has("Origin", "//admin.example"),
	"origin=some":     has("Origin", "/"),
	"origin=null":     has("Origin", "null"),
	"origin=none":     lacks("Origin"),
	"connection=kept": func(x *exchange) bool { return x.number > 1 },
	"connection=new":  func(x *exchange) bool { return x.number == 1 },
	"version=1.0":     func(x *exchange) bool { return x.request.ProtoMinor == 0 },
	"size=large":      func(x *exchange) bool { return x.reply != nil && len(x.reply.body) > large },
	"size=long":       func(x *exchange) bool { return len(x.body) > long },
	"size=small":      func(x *exchange) bool { return x.reply != nil && len(x.reply.body) <= large },
	"encoding=gzip":   has("Accept-Encoding", "gzip"),
	"encoding=br":     has("Accept-Encoding", "br"),
	"encoding=none":   lacks("Accept-Encoding"),
	"value=query":     func(x *exchange) bool { return strings.Contains(x.request.RequestURI, "?") },
	"parallel=yes":    func(x *exchange) bool { return x.service.connections.Load() > 1 },
	"parallel=no":     func(x *exchange) bool { return x.service.connections.Load() <= 1 },
	"repeat=later":    func(x *exchange) bool { return x.time > 1 },
	"repeat=first":    func(x *exchange) bool { return x.time == 1 },
	"worker=second":   func(*exchange) bool { return os.Getenv("ZOO_WORKER") == "1" },
	"drain=yes":       func(x *exchange) bool { return x.service.draining.Load() },
	"drain=no":        func(x *exchange) bool { return !x.service.draining.Load() },
}

func init() {
	for _, name := range methods {
		conditions["method="+name] = func(x *exchange) bool { return x.request.Method == name }
	}
	for _, path := range routes {
		conditions["route="+path] = func(x *exchange) bool { return x.route == path || x.path == path }
	}
}
