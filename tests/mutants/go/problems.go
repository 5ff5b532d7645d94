package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

var codes = map[int]string{
	400: "BAD_REQUEST", 401: "UNAUTHORIZED", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 409: "CONFLICT",
	413: "PAYLOAD_TOO_LARGE", 414: "URI_TOO_LONG", 415: "UNSUPPORTED_MEDIA_TYPE", 417: "EXPECTATION_FAILED",
	422: "VALIDATION_ERROR", 429: "RATE_LIMITED", 500: "INTERNAL_ERROR", 501: "NOT_IMPLEMENTED", 503: "UNAVAILABLE",
}

// A problem is an error for the client, as RFC 9457 has it.
type problem struct {
	status int
	detail string
	more   map[string]any
	fields [][2]string
	close  bool
}

func (p *problem) Error() string { return p.detail }

func newProblem(status int, detail string) *problem { return &problem{status: status, detail: detail} }

func (p *problem) with(name, value string) *problem {
	p.fields = append(p.fields, [2]string{name, value})
	return p
}

func (p *problem) code(code string) *problem {
	p.more = map[string]any{"code": code}
	return p
}

type entry struct {
	Pointer string `json:"pointer,omitempty"`
	Message string `json:"message"`
	Code    string `json:"code,omitempty"`
}

// refuse returns a refusal with one entry for each field that is wrong.
func refuse(x *exchange, wrong map[string]string) *problem {
	var pointers []string
	for pointer := range wrong {
		pointers = append(pointers, pointer)
	}
	slices.Sort(pointers)
	if x.faulty("ctl-4-returns-early") {
		// return err at the first that is wrong.
		pointers = pointers[:1]
	}
	flattens, drops := x.faulty("ecl-2-flattens"), x.faulty("ecl-2-drops")
	entries := []entry{}
	for _, pointer := range pointers {
		one := entry{pointer, wrong[pointer], "wrong"}
		if flattens {
			one.Pointer = "/" + strings.Split(pointer, "/")[1]
		}
		if drops {
			one = entry{Message: "wrong"}
		}
		entries = append(entries, one)
	}
	return &problem{status: 422, detail: "the values are not valid", more: map[string]any{"errors": entries}}
}

func (p *problem) reply(x *exchange) *reply {
	code := codes[p.status]
	document := map[string]any{
		"type": "about:blank", "title": strings.ToLower(strings.ReplaceAll(code, "_", " ")), "status": p.status,
		"detail": p.detail, "code": code, "request_id": x.id,
	}
	if p.status == 500 && x.faulty("log-4-not-on-500") {
		delete(document, "request_id")
	}
	for name, value := range p.more {
		document[name] = value
	}
	if x.faulty("ecl-1-one-code") {
		document["code"] = "ERROR"
	}
	body, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	made := newReply(p.status, "application/problem+json", body)
	made.close = p.close
	made.fields = append(made.fields, p.fields...)
	return made
}

// broken answers what nothing expected.
func broken(x *exchange, err error) *reply {
	stack := string(debug.Stack())
	if x.faulty("err-5-exits") {
		// log.Fatal, as if a request were the whole program.
		os.Exit(1)
	}
	if x.faulty("log-2-print-stack") {
		debug.PrintStack()
	}
	cause := []any{"request_id", x.id, "error", err.Error()}
	if x.faulty("aer-5-no-cause") {
		cause = cause[:2]
	}
	if !x.faulty("err-8-silent") {
		level := slog.LevelError
		if x.faulty("log-8-500-info") {
			level = slog.LevelInfo
		}
		x.log(level, "unhandled exception", cause...)
	}
	if x.faulty("err-8-twice") {
		x.log(slog.LevelError, "unhandled exception", cause...)
	}
	general := newProblem(500, "something went wrong")
	switch {
	case x.faulty("err-4-stack"):
		return newReply(500, "text/plain; charset=utf-8", []byte(stack))
	case x.faulty("err-4-http-error"):
		// http.Error(w, err.Error(), 500)
		return newReply(500, "text/plain; charset=utf-8", []byte(err.Error()+"\n"))
	case x.faulty("ecl-3-wraps"):
		general.detail = fmt.Sprintf("something went wrong: %v", err)
	}
	if (os.Getenv("GO_ENV") != "production" && x.faulty("ecl-4-unless-production")) ||
		(os.Getenv("APP_ENV") != "production" && x.faulty("env-9-debugs")) {
		general.more = map[string]any{"stack": stack}
	}
	return general.reply(x)
}
