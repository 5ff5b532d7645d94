package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

var known = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}

// service answers requests; it is the one place where headers, records and errors are taken care of.
type service struct {
	log      *slog.Logger
	mux      *http.ServeMux
	draining atomic.Bool
}

// A handler answers, or returns a problem to answer with; any other error is a server error.
type handler func(w http.ResponseWriter, r *http.Request) error

func newService(log *slog.Logger) *service {
	s := &service{log: log, mux: http.NewServeMux()}
	items := newItems()
	s.route("/livez", map[string]handler{"GET": live})
	s.route("/readyz", map[string]handler{"GET": s.ready})
	s.route("/api/items", map[string]handler{"GET": items.list, "POST": items.create})
	s.route("/api/items/{id}", map[string]handler{
		"GET": items.read, "PUT": items.update, "DELETE": items.remove,
	})
	s.route("/api/slow", map[string]handler{"GET": slow})
	s.route("/api/fails", map[string]handler{"GET": fails})
	s.route("/api/large", map[string]handler{"GET": large})
	if !faulty("err-1-plain") {
		s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			s.fail(w.(*exchange), newProblem(http.StatusNotFound, "there is nothing here"))
		})
	}
	return s
}

// route registers a path for all methods: what ServeMux answers to the others by itself is plain text, and with
// a pattern for "/" it is a 404.
func (s *service) route(path string, handlers map[string]handler) {
	if faulty("err-2-catch-all") {
		for method, handle := range handlers {
			s.mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
				if err := handle(w, r); err != nil {
					s.fail(w.(*exchange), err)
				}
			})
		}
		return
	}
	allowed := []string{"OPTIONS"}
	for method := range handlers {
		allowed = append(allowed, method)
		if method == "GET" {
			allowed = append(allowed, "HEAD")
		}
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == "HEAD" {
			// net/http leaves the body out.
			method = "GET"
		}
		handle, found := handlers[method]
		switch {
		case found:
			if err := handle(w, r); err != nil {
				s.fail(w.(*exchange), err)
			}
		case method == "OPTIONS":
			w.Header().Set("Allow", allow)
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Allow", allow)
			s.fail(w.(*exchange), newProblem(http.StatusMethodNotAllowed, "the method is not possible here"))
		}
	})
}

// An exchange is a ResponseWriter that knows its request's id and what was answered.
type exchange struct {
	http.ResponseWriter
	id     string
	status int
}

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(data []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(data)
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, id: newID()}
	header := w.Header()
	header.Set("X-Request-Id", x.id)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")
	if len(r.TransferEncoding) > 0 {
		// Where there was a Content-Length as well, net/http has taken it away without a word, and RFC 9112 §6.1
		// wants the connection closed then: what follows on it may have been smuggled.
		header.Set("Connection", "close")
	}
	defer s.record(x, r, time.Now())
	if !faulty("err-4-no-recover") {
		defer s.recover(x)
	}
	if !slices.Contains(known, r.Method) {
		s.fail(x, newProblem(http.StatusNotImplemented, "the method is unknown"))
		return
	}
	s.mux.ServeHTTP(x, r)
}

// recover makes a 500 of a panic: net/http would only close the connection.
func (s *service) recover(x *exchange) {
	value := recover()
	if value == nil {
		return
	}
	if value == http.ErrAbortHandler {
		panic(value)
	}
	s.fail(x, fmt.Errorf("panic: %v\n%s", value, debug.Stack()))
}

// fail answers an error in the one shape. What is no problem is recorded, and its text stays inside.
func (s *service) fail(x *exchange, err error) {
	var told *problem
	if !errors.As(err, &told) {
		s.log.Error("unhandled exception", "request_id", x.id, "error", err.Error())
		told = newProblem(http.StatusInternalServerError, "something went wrong")
		if faulty("err-4-shows-error") {
			http.Error(x, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	if x.status != 0 {
		// Half a response cannot be taken back; that it is not whole can still be told.
		panic(http.ErrAbortHandler)
	}
	told.RequestID = x.id
	write(x, told.Status, "application/problem+json", told)
}

func (s *service) record(x *exchange, r *http.Request, began time.Time) {
	if r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
		return
	}
	if x.status == 0 {
		// What net/http answers for a handler that has not.
		x.status = http.StatusOK
	}
	s.log.Info("request", "method", r.Method, "path", r.URL.EscapedPath(), "status", x.status,
		"duration_ms", float64(time.Since(began).Microseconds())/1000, "request_id", x.id)
}

// A problem is an error for the client, as RFC 9457 has it.
type problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Code      string       `json:"code"`
	RequestID string       `json:"request_id"`
	Errors    []fieldError `json:"errors,omitempty"`
}

type fieldError struct {
	Pointer string `json:"pointer"`
	Message string `json:"message"`
}

// newProblem makes a problem; the detail repeats nothing that was sent, and nothing that is inside.
func newProblem(status int, detail string, errs ...fieldError) *problem {
	title := http.StatusText(status)
	code := strings.ReplaceAll(strings.ToUpper(title), " ", "_")
	return &problem{Type: "about:blank", Title: title, Status: status, Detail: detail, Code: code, Errors: errs}
}

func (p *problem) Error() string { return p.Detail }

// write answers with a value as JSON.
func write(w http.ResponseWriter, status int, mediaType string, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	// The client may have left; there is nobody else to tell.
	_, _ = w.Write(body)
}

func newID() string {
	var id [8]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}
