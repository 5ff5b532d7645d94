package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A handler answers, or returns a problem to answer with; any other error is a server error.
type handler func(x *exchange, ids []string) (*reply, error)

type route struct {
	template string
	pattern  *regexp.Regexp
	handlers map[string]handler
}

// service is the way of a request, and of its answer back.
type service struct {
	backing
	numbers     numbers
	limiter     *limiter
	routes      []route
	began       time.Time
	draining    atomic.Bool
	connections atomic.Int64
	computing   sync.Mutex
	timing      sync.Mutex
	times       map[string]int
}

func newService(production bool) *service {
	s := &service{began: time.Now(), times: map[string]int{}, limiter: newLimiter()}
	s.memory = map[string]any{}
	s.numbers.counts, s.numbers.seconds, s.numbers.agents = map[string]int{}, map[string]*durations{}, map[string]bool{}
	timeout := 2 * time.Second
	if s.limiter.most > 0 {
		// Bursts on a busy machine are no failures of the store.
		timeout = 15 * time.Second
	}
	if url := os.Getenv("DATABASE_URL"); url != "" {
		size, _ := strconv.Atoi(cmp.Or(os.Getenv("ZOO_POOL"), strconv.Itoa(atOnce)))
		s.pool = openPool(url, size, timeout)
	}
	s.route("/api/items", map[string]handler{"GET": listItems, "POST": createItem})
	s.route("/api/items/{id}", map[string]handler{"GET": readOneItem, "PUT": updateItem, "DELETE": removeItem})
	s.route("/api/users", map[string]handler{"GET": listUsers, "POST": once(createUser)})
	// Before what has a variable in its place: "batch" is no id.
	s.route("/api/users/batch", map[string]handler{"POST": batch})
	s.route("/api/users/{id}", map[string]handler{"GET": readUser, "PUT": replaceUser, "DELETE": removeUser})
	s.route("/api/users/{id}/overview", map[string]handler{"GET": overview})
	s.route("/api/users/{id}/posts", map[string]handler{"GET": listPosts, "POST": once(createPost)})
	s.route("/api/users/{id}/posts/{post}", map[string]handler{"GET": readPost})
	s.route("/api/transfers", map[string]handler{"POST": once(transfers)})
	s.route("/api/primes/{n}", map[string]handler{"GET": primes})
	s.route("/api/page", map[string]handler{"GET": page})
	s.route("/api/image", map[string]handler{"GET": image})
	s.route("/api/login", map[string]handler{"POST": signIn})
	if !production {
		s.route("/api/slow", map[string]handler{"GET": slow})
		s.route("/api/fails", map[string]handler{"GET": fails})
		s.route("/api/stream", map[string]handler{"GET": events})
		s.route("/api/large", map[string]handler{"GET": largeRoute})
	}
	return s
}

var variable = regexp.MustCompile(`\{\w+\}`)

func (s *service) route(template string, handlers map[string]handler) {
	pattern := regexp.MustCompile("^" + variable.ReplaceAllString(template, "([^/]+)") + "$")
	s.routes = append(s.routes, route{template, pattern, handlers})
}

func newID() string {
	var id [8]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

type numberKey struct{}

func withNumber(ctx context.Context) context.Context {
	return context.WithValue(ctx, numberKey{}, &atomic.Int64{})
}

func (s *service) exchange(r *http.Request) *exchange {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	s.timing.Lock()
	defer s.timing.Unlock()
	s.times[r.Method+" "+path]++
	x := &exchange{service: s, request: r, path: path, began: time.Now(), time: s.times[r.Method+" "+path], id: newID()}
	if count, counts := r.Context().Value(numberKey{}).(*atomic.Int64); counts {
		x.number = count.Add(1)
	}
	return x
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := s.exchange(r)
	if given := x.field("X-Request-Id"); given != "" && x.faulty("log-4-echo") {
		x.id = given
	}
	x.reply = s.handle(x)
	shape(x, x.reply)
	tellLimit(x, x.reply)
	share(x, x.reply)
	protect(x, x.reply)
	if err := compress(x, x.reply); err != nil {
		x.reply = broken(x, err)
	}
	if !x.faulty("log-4-none") && !(x.reply.status == 500 && x.faulty("log-4-not-on-500")) {
		x.reply.set("X-Request-Id", x.id)
	}
	x.access()
	counted(x)
	x.send(w)
}

// handle answers; everything that is wrong becomes an answer, too.
func (s *service) handle(x *exchange) (made *reply) {
	if !x.faulty("err-4-no-recover") {
		defer func() {
			if value := recover(); value != nil {
				made = broken(x, fmt.Errorf("panic: %v", value))
			}
		}()
	}
	made, err := s.answer(x)
	if err == nil {
		return made
	}
	var refused *problem
	var failed *storeError
	switch {
	case errors.As(err, &refused):
		return refused.reply(x)
	case errors.As(err, &failed) && !strings.HasPrefix(x.route, "/api/items"):
		return storeFailed(x, err)
	}
	return broken(x, err)
}

func storeFailed(x *exchange, err error) *reply {
	if x.faulty("aer-2-ignores-error") {
		// found, _ := store.Get(…), and a success with what there is.
		status := 200
		if x.request.Method == http.MethodPost {
			status = 201
		}
		return asJSON(status, row{"id": 1, "items": []any{}})
	}
	cause := []any{"request_id", x.id, "error", err.Error()}
	if x.faulty("aer-1-no-id") {
		cause[1] = ""
	}
	if x.faulty("aer-5-no-cause") {
		cause = cause[:2]
	}
	x.log(slog.LevelError, "the store failed", cause...)
	if x.faulty("aer-1-log-and-return") {
		// Where it is noticed, and again where it is returned to.
		x.log(slog.LevelError, "the request failed", cause...)
	}
	if strings.HasSuffix(x.route, "overview") && x.faulty("aer-3-http-error") {
		return newReply(503, "text/plain; charset=utf-8", []byte("Service Unavailable\n"))
	}
	return newProblem(503, "try again later").with("Retry-After", "1").reply(x)
}

func (s *service) answer(x *exchange) (*reply, error) {
	read := x.readBody()
	for _, before := range []func(*exchange) (*reply, error){limited, scrape} {
		if made, err := before(x); made != nil || err != nil {
			return made, err
		}
	}
	if read != nil {
		return nil, read
	}
	for _, before := range []func(*exchange) (*reply, error){refuseOdd, preflight, probe} {
		if made, err := before(x); made != nil || err != nil {
			return made, err
		}
	}
	for _, one := range s.routes {
		if ids := one.pattern.FindStringSubmatch(x.path); ids != nil {
			x.route = one.template
			return s.dispatch(x, one, ids[1:])
		}
	}
	return nil, newProblem(404, "there is nothing here")
}

func (s *service) dispatch(x *exchange, one route, ids []string) (*reply, error) {
	if time.Since(s.began) < 800*time.Millisecond && x.faulty("wir-1-migrates-meanwhile") {
		return nil, errors.New("there is no such table")
	}
	var allow []string
	for method := range one.handlers {
		allow = append(allow, method)
	}
	method := x.request.Method
	if one.handlers["GET"] != nil {
		allow = append(allow, "HEAD")
		if method == "HEAD" && !x.faulty("err-6-no-head") {
			method = "GET"
		}
	}
	slices.Sort(allow)
	list := strings.Join(append(allow, "OPTIONS"), ", ")
	if method == "OPTIONS" && x.faulty("err-6-options-404") {
		return nil, newProblem(404, "there is nothing here")
	}
	if method == "OPTIONS" {
		return newReply(204, "", nil).set("Allow", list), nil
	}
	handle := one.handlers[method]
	if handle == nil {
		if x.faulty("err-2-short-allow") {
			list = allow[0]
		}
		return nil, newProblem(405, "the method is not possible here").with("Allow", list)
	}
	if strings.HasPrefix(one.template, "/api/users/{id}") {
		for at, text := range ids {
			id, err := strconv.ParseUint(text, 10, 63)
			if err != nil || id < 1 || id > 1<<53-1 {
				return nil, refuse(x, map[string]string{"path/id": "has to be a whole number"})
			}
			ids[at] = strconv.FormatUint(id, 10)
		}
	}
	return handle(x, ids)
}

func (x *exchange) send(w http.ResponseWriter) {
	header, made := w.Header(), x.reply
	for _, pair := range made.fields {
		header.Add(pair[0], pair[1])
	}
	empty := made.status == 204 || made.status == 304
	if made.get("Content-Type") == "" {
		// Nothing is guessed.
		header["Content-Type"] = nil
	}
	if made.stream == nil && !empty && made.get("Content-Length") == "" {
		header.Set("Content-Length", strconv.Itoa(len(made.body)))
	}
	// Where there was a Content-Length as well, net/http has taken it away without a word, and RFC 9112 §6.1
	// wants the connection closed then: what follows on it may have been smuggled.
	if made.close || len(x.request.TransferEncoding) > 0 {
		header.Set("Connection", "close")
	}
	w.WriteHeader(made.status)
	if x.request.Method == "HEAD" || empty {
		return
	}
	if made.stream == nil {
		_, _ = w.Write(made.body)
		return
	}
	control := http.NewResponseController(w)
	if made.stream(func(piece []byte) error {
		_, err := w.Write(piece)
		return errors.Join(err, control.Flush())
	}) != nil {
		// Half a response cannot be taken back; that it is not whole can still be told.
		panic(http.ErrAbortHandler)
	}
}
