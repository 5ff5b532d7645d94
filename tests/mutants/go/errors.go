package main

import (
	"net/http"
	"slices"
)

const longest = 8192

var knownMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}

// refuseOdd answers methods that no route knows.
func refuseOdd(x *exchange) (*reply, error) {
	switch method := x.request.Method; {
	case len(x.request.RequestURI) > longest:
		return nil, newProblem(414, "the target is too long")
	case !slices.Contains(knownMethods, method):
		return nil, newProblem(501, "the method is unknown")
	case method == http.MethodTrace && x.faulty("err-6-echoes-trace"):
		return asJSON(200, x.request.Header), nil
	case method == http.MethodTrace:
		return nil, newProblem(405, "no TRACE").with("Allow", "GET, HEAD, OPTIONS")
	}
	return nil, nil
}

// shape changes how errors look outside.
func shape(x *exchange, made *reply) {
	if made.status == 404 && x.faulty("err-1-not-found") {
		// http.NotFound
		made.body = []byte("404 page not found\n")
		made.set("Content-Type", "text/plain; charset=utf-8")
	}
	if made.status == 404 && x.route == "" && x.faulty("err-1-200") {
		made.status = 200
	}
	if made.status == 405 && x.faulty("err-2-no-allow") {
		made.remove("Allow")
	}
	if made.status == 405 && x.faulty("err-2-404") {
		made.status = 404
	}
	if made.status == 422 && x.faulty("err-3-two-shapes") {
		made.body = []byte(`{"errors":["wrong"]}`)
		made.set("Content-Type", "application/json")
	}
}
