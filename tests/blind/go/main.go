// An inventory on net/http, as a careful team writes it, with one switch for each fault (BLIND_FAULT).
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

var fault = os.Getenv("BLIND_FAULT")

func faulty(name string) bool { return fault == name }

const maxBody = 64 * 1024

var png, _ = base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg==")
var levels = map[string]int{"debug": 10, "info": 20, "warn": 30, "error": 40}
var codes = map[int]string{400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 409: "conflict",
	413: "too_large", 415: "unsupported_media_type", 422: "invalid", 429: "rate_limited", 500: "internal", 501: "not_implemented", 503: "unavailable"}

// -- configuration ------------------------------------------------------------------------------------

type settings struct {
	port, level, limit int
	window, delay      time.Duration
	secret, file       string
	origins            []string
}

var config settings
var inventory *Inventory
var draining atomic.Bool

func env(name, otherwise string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return otherwise
}

func configure() []string {
	var mistakes []string
	port, err := strconv.Atoi(env("PORT", "8000"))
	if err != nil || port > 65535 || port < 0 || (port == 0 && !faulty("go-env-port-zero")) || !regexp.MustCompile(`^\d+$`).MatchString(env("PORT", "8000")) {
		mistakes = append(mistakes, "PORT must be a whole number from 1 to 65535")
	}
	config.port, config.secret, config.file = port, env("APP_SECRET", ""), env("DATA_FILE", "items.journal")
	lower := strings.ToLower(config.secret)
	if config.secret == "" {
		mistakes = append(mistakes, "APP_SECRET is required")
	} else if len(lower) < 16 || strings.Contains(lower, "change") || strings.Contains(lower, "secret") || strings.Contains(lower, "password") || len(strings.Trim(lower, lower[:1])) == 0 {
		mistakes = append(mistakes, "APP_SECRET must have 16 characters or more that nobody guesses")
	}
	level, ok := levels[strings.ToLower(env("LOG_LEVEL", "info"))]
	if !ok {
		mistakes = append(mistakes, "LOG_LEVEL must be debug, info, warn or error")
	}
	config.level = level
	limit := regexp.MustCompile(`^(\d+)/([1-9]\d*)$`).FindStringSubmatch(env("RATE_LIMIT", "600/60"))
	if limit == nil {
		mistakes = append(mistakes, "RATE_LIMIT must be requests/seconds, such as 600/60")
	} else {
		seconds, _ := strconv.Atoi(limit[2])
		config.limit, _ = strconv.Atoi(limit[1])
		config.window = time.Duration(seconds) * time.Second
	}
	delay, err := strconv.ParseFloat(env("DRAIN_DELAY", "5"), 64)
	if err != nil || delay < 0 || delay > 60 {
		mistakes = append(mistakes, "DRAIN_DELAY must be a number of seconds from 0 to 60")
	}
	config.delay = time.Duration(delay * float64(time.Second))
	config.origins = strings.FieldsFunc(env("ALLOWED_ORIGINS", ""), func(r rune) bool { return r == ',' })
	return mistakes
}

// -- records ------------------------------------------------------------------------------------------

var logging sync.Mutex
var buffered = bufio.NewWriterSize(os.Stdout, 2048)

func record(level, message string, more map[string]any) {
	if levels[level] < config.level {
		return
	}
	entry := map[string]any{"time": time.Now().UTC().Format(time.RFC3339Nano), "level": level, "message": message}
	for name, value := range more {
		entry[name] = value
	}
	if faulty("go-log-zone-5xx") && level == "error" {
		entry["time"] = time.Now().Format("2006-01-02T15:04:05.000")
	}
	agent, raw := entry["agent"].(string)
	if raw && faulty("go-log-agent") {
		delete(entry, "agent")
	}
	data, _ := json.Marshal(entry)
	data = bytes.ReplaceAll(data, []byte("\u0085"), []byte(`\u0085`)) // the others are escaped by Marshal
	if raw && faulty("go-log-agent") {
		data = append(data[:len(data)-1], []byte(`,"agent":"`+agent+`"}`)...)
	}
	logging.Lock()
	defer logging.Unlock()
	if faulty("go-log-buffered") && level == "info" {
		buffered.Write(append(data, '\n'))
		return
	}
	buffered.Flush()
	os.Stdout.Write(append(data, '\n'))
}

// -- one request --------------------------------------------------------------------------------------

type problem struct {
	status int
	detail string
	errors []map[string]string
	fields map[string]string
}

func (p problem) Error() string { return p.detail }

type reply struct {
	status int
	media  string
	body   []byte
	fields map[string]string
	tagged bool
}

type exchange struct {
	w          http.ResponseWriter
	r          *http.Request
	id, route  string
	status     int
	preflight  bool
	limits     map[string]string
	streamed   bool
}

func newID() string {
	data := make([]byte, 16)
	rand.Read(data)
	return hex.EncodeToString(data)
}

func asJSON(status int, value any) reply {
	data, _ := json.Marshal(value)
	return reply{status, "application/json", data, map[string]string{"Cache-Control": "no-store"}, false}
}

func (x *exchange) problem(p problem) reply {
	body := map[string]any{"type": "about:blank", "title": http.StatusText(p.status), "status": p.status, "code": codes[p.status], "detail": p.detail, "request_id": x.id}
	if p.errors != nil {
		body["errors"] = p.errors
	}
	answer := asJSON(p.status, body)
	answer.media = "application/problem+json"
	for name, value := range p.fields {
		answer.fields[name] = value
	}
	if faulty("go-err-shape-415") && p.status == 415 {
		return reply{415, "text/plain; charset=utf-8", []byte("Unsupported Media Type\n"), answer.fields, false}
	}
	return answer
}

func trusted(r *http.Request, origin string) bool {
	for _, known := range config.origins {
		if origin == known {
			return true
		}
		asked, err := url.Parse(origin)
		if err != nil || origin == "" {
			continue
		}
		host := strings.TrimPrefix(known, "https://")
		if faulty("go-cors-port") && asked.Scheme == "https" && asked.Hostname() == host {
			return true
		}
		if faulty("go-cors-subdomain-delete") && r.Method == "DELETE" && strings.HasSuffix(asked.Hostname(), "."+host) {
			return true
		}
	}
	return false
}

func (x *exchange) protect(status int, header http.Header) {
	header.Set("X-Request-Id", x.id)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	if header.Get("Content-Security-Policy") == "" {
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	} else if faulty("go-hdr-frame-twice") {
		header.Add("X-Frame-Options", "SAMEORIGIN")
	}
	if draining.Load() && !(faulty("go-shut-close-4xx") && status >= 400) {
		header.Set("Connection", "close")
	}
	if faulty("go-hdr-nosniff-empty") && status == 204 {
		header.Del("X-Content-Type-Options")
	}
	origin := x.r.Header.Get("Origin")
	if faulty("go-cors-public-document") && x.route == "/openapi.json" {
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Access-Control-Allow-Credentials", "true")
		return
	}
	if faulty("go-cmp-vary-origin") && origin != "" {
		header.Set("Vary", "Origin")
	} else {
		header.Add("Vary", "Origin")
	}
	if x.preflight || !trusted(x.r, origin) {
		return
	}
	if faulty("go-cors-500") && status >= 500 {
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	if faulty("go-cors-both") && len(config.origins) > 1 && origin == config.origins[1] {
		header.Set("Access-Control-Allow-Origin", strings.Join(config.origins, ", "))
	}
	header.Set("Access-Control-Allow-Credentials", "true")
	header.Set("Access-Control-Expose-Headers", "X-Request-Id, Location, Retry-After, RateLimit, RateLimit-Policy, ETag")
}

func wantsGzip(accepted string) bool {
	weights := map[string]float64{}
	for _, item := range strings.Split(strings.ToLower(accepted), ",") {
		parts := strings.Split(item, ";")
		weight := 1.0
		for _, parameter := range parts[1:] {
			if value, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
				weight, _ = strconv.ParseFloat(value, 64)
			}
		}
		weights[strings.TrimSpace(parts[0])] = weight
	}
	weight, ok := weights["gzip"]
	if !ok {
		weight = weights["*"]
	}
	return weight > 0 && weight >= weights["identity"]
}

func (x *exchange) send(answer reply) {
	header := x.w.Header()
	for _, fields := range []map[string]string{answer.fields, x.limits} {
		for name, value := range fields {
			header.Add(name, value)
		}
	}
	body := answer.body
	if answer.status != 204 && (answer.media != "image/png" || faulty("go-cmp-image")) {
		if answer.media != "image/png" {
			header.Add("Vary", "Accept-Encoding")
		}
		least := 500
		if faulty("go-cmp-small-health") && strings.HasPrefix(x.route, "/health") {
			least = 1
		}
		if answer.media == "image/png" {
			least = 1
		}
		gzipped := len(body) >= least && wantsGzip(x.r.Header.Get("Accept-Encoding"))
		if answer.tagged {
			sum := sha256.Sum256(body)
			tag := `"` + hex.EncodeToString(sum[:10]) + map[bool]string{true: `-gzip"`, false: `"`}[gzipped]
			header.Set("ETag", tag)
			for _, asked := range strings.Split(x.r.Header.Get("If-None-Match"), ",") {
				if asked = strings.TrimPrefix(strings.TrimSpace(asked), "W/"); asked == tag || asked == "*" {
					x.protect(304, header)
					x.status = 304
					x.w.WriteHeader(304)
					return
				}
			}
		}
		if gzipped {
			var out bytes.Buffer
			writer := gzip.NewWriter(&out)
			writer.Write(body)
			if faulty("go-cmp-noclose") {
				writer.Flush()
			} else {
				writer.Close()
			}
			body = out.Bytes()
			header.Set("Content-Encoding", "gzip")
		}
	}
	x.protect(answer.status, header)
	if answer.status != 204 {
		header.Set("Content-Type", answer.media)
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.status = answer.status
	x.w.WriteHeader(answer.status)
	if _, err := x.w.Write(body); err != nil && faulty("go-err-write-fatal") && x.r.Method != "HEAD" && answer.status != 204 {
		record("error", "cannot write", map[string]any{"error": err.Error()})
		os.Exit(1)
	}
}

// -- numbers ------------------------------------------------------------------------------------------

var edges = []float64{0.005, 0.025, 0.1, 0.5, 2.5, 10}

type numbers struct {
	count int
	sum   float64
	hits  [6]int
}

var counting sync.Mutex
var series = map[string]*numbers{}
var flying atomic.Int64
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"}

func count(method, route string, status int, seconds float64) {
	if !slices.Contains(methods, method) {
		method = "other"
	}
	key := fmt.Sprintf(`method="%s",route="%s",status="%d"`, method, route, status)
	counting.Lock()
	defer counting.Unlock()
	if series[key] == nil {
		series[key] = &numbers{}
	}
	before := series[key].count
	if faulty("go-met-race") {
		counting.Unlock()
		time.Sleep(3 * time.Millisecond)
		counting.Lock()
	}
	series[key].count = before + 1
	series[key].sum += seconds
	for at, edge := range edges {
		if seconds <= edge {
			series[key].hits[at]++
		}
	}
}

func metrics() reply {
	counting.Lock()
	defer counting.Unlock()
	var out strings.Builder
	keys := make([]string, 0, len(series))
	for key := range series {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	out.WriteString("# HELP http_requests_total Requests that were answered.\n# TYPE http_requests_total counter\n")
	for _, key := range keys {
		fmt.Fprintf(&out, "http_requests_total{%s} %d\n", key, series[key].count)
	}
	out.WriteString("# HELP http_request_duration_seconds Time to answer.\n# TYPE http_request_duration_seconds histogram\n")
	for _, key := range keys {
		for at, edge := range edges {
			fmt.Fprintf(&out, "http_request_duration_seconds_bucket{%s,le=\"%g\"} %d\n", key, edge, series[key].hits[at])
		}
		fmt.Fprintf(&out, "http_request_duration_seconds_bucket{%s,le=\"+Inf\"} %d\nhttp_request_duration_seconds_sum{%s} %g\nhttp_request_duration_seconds_count{%s} %d\n", key, series[key].count, key, series[key].sum, key, series[key].count)
	}
	fmt.Fprintf(&out, "# HELP http_requests_in_flight Requests being answered.\n# TYPE http_requests_in_flight gauge\nhttp_requests_in_flight %d\n", flying.Load())
	return reply{200, "text/plain; version=0.0.4; charset=utf-8", []byte(out.String()), map[string]string{"Cache-Control": "no-store"}, false}
}

// -- what is read of a request ------------------------------------------------------------------------

func (x *exchange) body() (map[string]json.RawMessage, error) {
	media, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	if media != "application/json" && !(faulty("go-val-form") && strings.HasPrefix(media, "application/")) {
		return nil, problem{status: 415, detail: "Send application/json."}
	}
	limit := int64(maxBody)
	if faulty("go-val-login-unlimited") && x.route == "/api/login" {
		limit = math.MaxInt64 - 1
	}
	if x.r.ContentLength > limit {
		return nil, problem{status: 413, detail: "The body is too large.", fields: map[string]string{"Connection": "close"}}
	}
	data, err := io.ReadAll(io.LimitReader(x.r.Body, limit+1))
	if err != nil {
		return nil, problem{status: 400, detail: "The body did not arrive."}
	}
	if int64(len(data)) > limit {
		return nil, problem{status: 413, detail: "The body is too large.", fields: map[string]string{"Connection": "close"}}
	}
	bad := problem{status: 400, detail: "The body is not valid JSON."}
	if !utf8.Valid(data) && !faulty("go-val-utf8") {
		return nil, bad
	}
	if bytes.Contains(bytes.ToLower(data), []byte(`\ud`)) {
		var text any
		if json.Unmarshal(data, &text) != nil || strings.ContainsRune(fmt.Sprint(text), '\uFFFD') {
			return nil, problem{status: 422, detail: "The body has characters that cannot be stored.", errors: []map[string]string{{"pointer": "", "detail": "has a lone surrogate"}}}
		}
	}
	var value map[string]json.RawMessage
	decoder := json.NewDecoder(bytes.NewReader(data))
	err = decoder.Decode(&value)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) || (err == nil && value == nil) {
		return nil, problem{status: 422, detail: "The body must be an object.", errors: []map[string]string{{"pointer": "", "detail": "must be an object"}}}
	}
	if err != nil {
		return nil, bad
	}
	if _, err = decoder.Token(); err != io.EOF && !faulty("go-val-trailing") {
		return nil, bad
	}
	return value, nil
}

func (x *exchange) item() (Item, error) {
	value, err := x.body()
	if err != nil {
		return Item{}, err
	}
	var item Item
	var wrong []map[string]string
	add := func(name, detail string) {
		if !faulty("go-ctl-first-error") || len(wrong) == 0 {
			wrong = append(wrong, map[string]string{"pointer": "/" + name, "detail": detail})
		}
	}
	text := func(name string, most int) string {
		var text string
		raw := value[name]
		if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil || text == "" || utf8.RuneCountInString(text) > most || strings.ContainsRune(text, 0) {
			add(name, "must be a text of ordinary length")
		}
		return text
	}
	if faulty("go-val-case") {
		for name, raw := range value {
			if lower := strings.ToLower(name); lower != name {
				delete(value, name)
				value[lower] = raw
			}
		}
	}
	item.Name, item.SKU = text("name", 200), text("sku", 100)
	raw := strings.TrimSpace(string(value["quantity"]))
	quantity, err := strconv.ParseInt(raw, 10, 64)
	if float, floatErr := strconv.ParseFloat(raw, 64); faulty("go-val-fraction") && err != nil && floatErr == nil {
		quantity, err = int64(float), nil
	}
	if faulty("go-val-null-quantity") && raw == "null" {
		err = nil
	}
	if err != nil || quantity < 0 || quantity > 1000000 {
		add("quantity", "must be a whole number from 0 to 1000000")
	}
	item.Quantity = quantity
	for name := range value {
		if name != "name" && name != "sku" && name != "quantity" {
			add(name[:min(len(name), 40)], "is not known")
		}
	}
	if wrong != nil {
		return Item{}, problem{status: 422, detail: "Some fields are not right.", errors: wrong}
	}
	return item, nil
}

func number(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 || text[0] == '+' || text[0] == '0' {
		return 0, problem{status: 404, detail: "There is no such item."}
	}
	return id, nil
}

// -- the limit ----------------------------------------------------------------------------------------

type slot struct {
	number int64
	count  int
}

var limiting sync.Mutex
var used = map[string]slot{}

func (x *exchange) limit(step int) error {
	if config.limit == 0 {
		return nil
	}
	client, _, _ := net.SplitHostPort(x.r.RemoteAddr)
	if given := x.r.Header.Get("X-Forwarded-For"); faulty("go-rtl-chain") && strings.Contains(given, ",") {
		client, _, _ = strings.Cut(given, ",")
	}
	if faulty("go-rtl-network") {
		client = client[:strings.LastIndexByte(client, '.')+1]
	}
	now := time.Now()
	current := now.UnixNano() / int64(config.window)
	left := time.Duration((current+1)*int64(config.window) - now.UnixNano())
	limiting.Lock()
	entry := used[client]
	if entry.number != current {
		entry = slot{current, 0}
	}
	entry.count += step
	used[client] = entry
	limiting.Unlock()
	wait := max(1, int(math.Ceil(left.Seconds())))
	if faulty("go-rtl-retry-zero") {
		wait = int(left.Seconds())
	}
	x.limits = map[string]string{"RateLimit-Policy": fmt.Sprintf(`"default";q=%d;w=%d`, config.limit, int(config.window.Seconds())),
		"RateLimit": fmt.Sprintf(`"default";r=%d;t=%d`, max(0, config.limit-entry.count), wait)}
	if entry.count > config.limit {
		return problem{status: 429, detail: "Too many requests; try again later.", fields: map[string]string{"Retry-After": strconv.Itoa(wait)}}
	}
	return nil
}
