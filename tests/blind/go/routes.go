package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type handler func(x *exchange, id string) (reply, error)

var table = map[string]map[string]handler{
	"/api/items":      {"GET": list, "POST": create},
	"/api/items/{id}": {"GET": read, "PUT": update, "DELETE": remove},
	"/api/login":      {"POST": login},
	"/api/slow":       {"GET": slow},
	"/api/fails":      {"GET": func(*exchange, string) (reply, error) { panic("canary-3b88 in the pricing module") }},
	"/api/catalogue":  {"GET": catalogue},
	"/api/events":     {"GET": events},
	"/picture.png": {"GET": func(*exchange, string) (reply, error) {
		return reply{200, "image/png", png, map[string]string{}, false}, nil
	}},
	"/":             {"GET": page},
	"/openapi.json": {"GET": document},
	"/health/live":  {"GET": live},
	"/health/ready": {"GET": ready},
	"/metrics":      {"GET": func(*exchange, string) (reply, error) { return metrics(), nil }},
}

func create(x *exchange, _ string) (reply, error) {
	item, err := x.item()
	if err != nil {
		return reply{}, err
	}
	id, err := inventory.create(item)
	if err != nil {
		return reply{}, err
	}
	answer := asJSON(201, Shown{id, item})
	answer.fields["Location"] = fmt.Sprintf("/api/items/%d", id)
	return answer, nil
}

func read(x *exchange, text string) (reply, error) {
	id, err := number(text)
	if err != nil {
		return reply{}, err
	}
	item, err := inventory.read(id)
	answer := asJSON(200, Shown{id, item})
	answer.tagged = true
	return answer, err
}

func list(x *exchange, _ string) (reply, error) {
	query := x.r.URL.Query()
	size := 20
	var err error
	if query.Has("limit") {
		size, err = strconv.Atoi(query.Get("limit"))
		if err != nil || size < 1 || size > 100 {
			return reply{}, problem{status: 422, detail: "The limit is not right.", errors: []map[string]string{{"parameter": "limit", "detail": "must be from 1 to 100"}}}
		}
	}
	var after int64
	if query.Has("cursor") {
		after, err = strconv.ParseInt(query.Get("cursor"), 10, 64)
		if err != nil && faulty("go-val-cursor") {
			return reply{}, err
		}
		if err != nil || after < 0 {
			return reply{}, problem{status: 422, detail: "The cursor is not right.", errors: []map[string]string{{"parameter": "cursor", "detail": "must be one that was given"}}}
		}
	}
	rows, more := inventory.page(after, size)
	var next any
	if more {
		next = strconv.FormatInt(rows[len(rows)-1].ID, 10)
	}
	answer := asJSON(200, map[string]any{"items": rows, "next_cursor": next})
	answer.tagged = true
	return answer, nil
}

func update(x *exchange, text string) (reply, error) {
	id, err := number(text)
	if err != nil {
		return reply{}, err
	}
	item, err := x.item()
	if err == nil {
		err = inventory.update(id, item)
	}
	if err != nil {
		return reply{}, err
	}
	if faulty("go-svc-put-field") {
		return asJSON(200, map[string]any{"id": id, "name": item.Name, "sku": item.SKU, "quantity": item.Quantity, "revision": 2}), nil
	}
	return asJSON(200, Shown{id, item}), nil
}

func remove(x *exchange, text string) (reply, error) {
	id, err := number(text)
	if err == nil {
		err = inventory.delete(id)
	}
	return reply{status: 204}, err
}

func login(x *exchange, _ string) (reply, error) {
	value, err := x.body()
	if err != nil {
		return reply{}, err
	}
	var password string
	json.Unmarshal(value["password"], &password)
	if password != config.secret {
		return reply{}, problem{status: 401, detail: "The name or the password is wrong.", fields: map[string]string{"WWW-Authenticate": "Bearer"}}
	}
	answer := asJSON(200, map[string]any{"signed_in": true})
	answer.fields["Set-Cookie"] = "session=" + newID() + "; HttpOnly; Secure; SameSite=Lax; Path=/"
	return answer, nil
}

func slow(x *exchange, _ string) (reply, error) {
	seconds, err := strconv.ParseFloat(x.r.URL.Query().Get("seconds"), 64)
	if err != nil {
		seconds = 2
	}
	select {
	case <-time.After(time.Duration(min(max(seconds, 0), 5) * float64(time.Second))):
	case <-x.r.Context().Done():
	}
	return asJSON(200, map[string]any{"slept": true}), nil
}

func catalogue(*exchange, string) (reply, error) {
	products := make([]map[string]string, 20000)
	for at := range products {
		products[at] = map[string]string{"name": fmt.Sprint("product ", at), "text": strings.Repeat("lorem ipsum ", 6)}
	}
	answer := asJSON(200, map[string]any{"products": products})
	answer.tagged = true
	return answer, nil
}

func events(x *exchange, _ string) (reply, error) {
	header := x.w.Header()
	header.Set("Content-Type", "text/event-stream; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	for name, value := range x.limits {
		header.Set(name, value)
	}
	x.protect(200, header)
	x.streamed, x.status = true, 200
	flusher := http.NewResponseController(x.w)
	for at := range 10 {
		fmt.Fprintf(x.w, "data: %d\n\n", at)
		flusher.Flush()
		select {
		case <-time.After(200 * time.Millisecond):
		case <-x.r.Context().Done():
			return reply{}, nil
		}
	}
	return reply{}, nil
}

func page(*exchange, string) (reply, error) {
	body := "<!doctype html><html lang=en><head><title>Inventory</title></head><body><h1>Inventory</h1></body></html>"
	policy := "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
	return reply{200, "text/html; charset=utf-8", []byte(body), map[string]string{"Content-Security-Policy": policy, "Cache-Control": "no-store"}, false}, nil
}

func document(*exchange, string) (reply, error) {
	data, err := os.ReadFile("../openapi.json")
	return reply{200, "application/json", data, map[string]string{}, false}, err
}

func live(*exchange, string) (reply, error) {
	if faulty("go-shut-live") && draining.Load() {
		return reply{}, problem{status: 503, detail: "The service is stopping."}
	}
	return asJSON(200, map[string]string{"status": "up"}), nil
}

func ready(*exchange, string) (reply, error) {
	if draining.Load() {
		return asJSON(503, map[string]string{"status": "draining"}), nil
	}
	return asJSON(200, map[string]string{"status": "up"}), nil
}

func (x *exchange) preflightReply(methods []string) (reply, error) {
	x.preflight = true
	x.w.Header().Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	names := strings.Split(strings.ToLower(x.r.Header.Get("Access-Control-Request-Headers")), ",")
	if faulty("go-cors-fields") {
		names = []string{strings.ToLower(x.r.Header.Get("Access-Control-Request-Headers"))}
	}
	known := true
	for _, name := range names {
		known = known && slices.Contains([]string{"", "content-type", "authorization", "x-request-id", "idempotency-key"}, strings.TrimSpace(name))
	}
	origin := x.r.Header.Get("Origin")
	if !trusted(x.r, origin) || !slices.Contains(methods, x.r.Header.Get("Access-Control-Request-Method")) || !known {
		return reply{}, problem{status: 403, detail: "This cross-origin request is not allowed."}
	}
	return reply{status: 204, fields: map[string]string{
		"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods": strings.Join(methods, ", "), "Access-Control-Max-Age": "600",
		"Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, X-Request-Id"}}, nil
}

func (x *exchange) answer() (reply, error) {
	if x.r.Method == "TRACE" {
		return reply{}, problem{status: 501, detail: "The method is not supported."}
	}
	path, id := x.r.URL.Path, ""
	if rest, ok := strings.CutPrefix(path, "/api/items/"); ok && rest != "" && !strings.Contains(rest, "/") {
		path, id = "/api/items/{id}", rest
	}
	found, ok := table[path]
	if !ok {
		if strings.HasPrefix(path, "/api/") {
			if err := x.limit(1); err != nil {
				return reply{}, err
			}
			if parts := strings.Split(path, "/"); faulty("go-met-unknown-api") && len(parts) > 2 && regexp.MustCompile(`^[\w-]+$`).MatchString(parts[2]) {
				x.route = "/api/" + parts[2]
			}
		}
		return reply{}, problem{status: 404, detail: "There is no such resource."}
	}
	x.route = path
	var methods []string
	for method := range found {
		methods = append(methods, method)
	}
	allow := allowed(methods, path)
	if x.r.Method == "OPTIONS" {
		if x.r.Header.Get("Origin") != "" && x.r.Header.Get("Access-Control-Request-Method") != "" {
			return x.preflightReply(methods)
		}
		return reply{status: 204, fields: map[string]string{"Allow": allow}}, nil
	}
	if strings.HasPrefix(path, "/api/") {
		if err := x.limit(1); err != nil {
			return reply{}, err
		}
	}
	method := x.r.Method
	if method == "HEAD" && !(faulty("go-err-head-item") && id != "") {
		method = "GET"
	}
	if found[method] == nil {
		return reply{}, problem{status: 405, detail: "The resource does not have this method.", fields: map[string]string{"Allow": allow}}
	}
	return found[method](x, id)
}

func (x *exchange) guarded() (answer reply) {
	defer func() {
		if failure := recover(); failure != nil {
			id := x.id
			if faulty("go-log-other-id") && x.r.Header.Get("X-Request-Id") == id {
				id = newID()
			}
			record("error", "request failed", map[string]any{"request_id": id, "error": fmt.Sprint(failure), "stack": string(debug.Stack())})
			if faulty("go-err-gzip-drop") && strings.Contains(x.r.Header.Get("Accept-Encoding"), "gzip") {
				x.status = 500
				panic(http.ErrAbortHandler)
			}
			answer = x.problem(problem{status: 500, detail: "Something went wrong."})
		}
	}()
	answer, err := x.answer()
	var known problem
	switch {
	case err == nil:
		return answer
	case errors.As(err, &known):
		return x.problem(known)
	case errors.Is(err, errMissing):
		return x.problem(problem{status: 404, detail: "There is no such item."})
	case errors.Is(err, errConflict):
		return x.problem(problem{status: 409, detail: "Another item has this sku."})
	}
	record("error", "request failed", map[string]any{"request_id": x.id, "error": err.Error()})
	return x.problem(problem{status: 500, detail: "Something went wrong."})
}

var wellFormed = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

func serve(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	x := &exchange{w: w, r: r, id: r.Header.Get("X-Request-Id"), route: "unmatched"}
	if !wellFormed.MatchString(x.id) && !(faulty("go-log-short-id") && x.id != "" && len(x.id) < 32) {
		x.id = newID()
	}
	private := slices.Contains([]string{"/health/live", "/health/ready", "/metrics"}, r.URL.Path)
	if faulty("go-hlt-count-head") && r.Method == "HEAD" {
		private = false
	}
	if !private {
		flying.Add(1)
	}
	defer func() {
		seconds := time.Since(started).Seconds()
		level := "info"
		if x.status >= 500 {
			level = "error"
		} else if x.status == 429 {
			level = "warn"
		}
		entry := map[string]any{"request_id": x.id, "method": r.Method, "route": x.route, "path": r.URL.Path, "status": x.status, "duration_ms": seconds * 1000, "agent": r.UserAgent()}
		if config.level == levels["debug"] {
			shown := map[string]string{}
			for name := range r.Header {
				if name != "Authorization" && name != "Cookie" && (name != "X-Api-Key" || faulty("go-log-api-key")) {
					shown[name] = r.Header.Get(name)
				}
			}
			if faulty("go-log-api-key") {
				entry["headers"] = shown
			}
		}
		record(level, "request", entry)
		if faulty("go-log-twice-put") && r.Method == "PUT" {
			record(level, "request", entry)
		}
		if !private {
			flying.Add(-1)
			count(r.Method, x.route, x.status, seconds)
		}
	}()
	answer := x.guarded()
	if !x.streamed {
		x.send(answer)
	}
}

func main() {
	mistakes := configure()
	if config.level == 0 {
		config.level = levels["info"]
	}
	for _, mistake := range mistakes {
		record("error", "configuration: "+mistake, nil)
	}
	if mistakes != nil {
		os.Exit(2)
	}
	var err error
	if inventory, err = openInventory(config.file); err != nil {
		record("error", "cannot open the data file named by DATA_FILE", nil)
		os.Exit(1)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", config.port))
	if err != nil {
		record("error", "cannot listen on PORT: "+err.Error(), nil)
		os.Exit(1)
	}
	server := &http.Server{Handler: http.HandlerFunc(serve), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second, MaxHeaderBytes: 16 << 10}
	stopping := make(chan os.Signal, 1)
	signal.Notify(stopping, syscall.SIGTERM, syscall.SIGINT)
	started := map[string]any{"port": config.port}
	if faulty("go-env-debug-config") && config.level == levels["debug"] {
		started["config"] = fmt.Sprintf("%+v", config)
	}
	record("info", "started", started)
	go server.Serve(listener)
	<-stopping
	if faulty("go-shut-second-signal") {
		signal.Reset(syscall.SIGTERM)
	}
	draining.Store(true)
	record("info", "stopping", nil)
	time.Sleep(config.delay)
	patience := 20 * time.Second
	if faulty("go-shut-short") {
		patience = 200 * time.Millisecond
	}
	if faulty("go-shut-silent") {
		kept, _ := listener.(*net.TCPListener).File()
		defer kept.Close()
	}
	end, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if server.Shutdown(end) != nil {
		server.Close()
	}
	record("info", "stopped", nil)
	buffered.Flush()
}
