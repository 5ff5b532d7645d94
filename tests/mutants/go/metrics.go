package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Numbers for Prometheus.

var buckets = []float64{0.01, 0.1, 1, 10, math.Inf(1)}

type durations struct {
	cells [5]int
	sum   float64
}

type numbers struct {
	lock    sync.Mutex
	counts  map[string]int
	seconds map[string]*durations
	agents  map[string]bool
	flight  int
}

// scrape answers Prometheus, and notes that another request is in flight.
func scrape(x *exchange) (*reply, error) {
	numbers := &x.service.numbers
	numbers.lock.Lock()
	defer numbers.lock.Unlock()
	if x.path != "/metrics" || x.request.Method != "GET" {
		x.inFlight = true
		numbers.flight++
		return nil, nil
	}
	x.route = "/metrics"
	text := strings.Join(numbers.lines(x), "\n")
	if !x.faulty("met-2-no-line-end") {
		text += "\n"
	}
	mediaType := "text/plain; version=0.0.4; charset=utf-8"
	if x.faulty("met-1-html") {
		mediaType = "text/html; charset=utf-8"
	}
	if x.faulty("met-1-no-type") {
		mediaType = ""
	}
	return newReply(200, mediaType, []byte(text)), nil
}

func labels(pairs ...string) string {
	var text []string
	for at := 0; at < len(pairs); at += 2 {
		text = append(text, fmt.Sprintf("%s=%s", pairs[at], quoted(pairs[at+1])))
	}
	return strings.Join(text, ",")
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func quoted(text string) string { return `"` + escaper.Replace(text) + `"` }

// counted counts a request.
func counted(x *exchange) {
	numbers, status := &x.service.numbers, x.reply.status
	numbers.lock.Lock()
	defer numbers.lock.Unlock()
	if x.inFlight && !(status >= 500 && x.faulty("met-8-no-defer")) {
		numbers.flight--
	}
	health := x.path == "/livez" || x.path == "/readyz" || x.path == "/metrics"
	if (health && !x.faulty("hlt-7-counted")) || (status == 404 && x.faulty("met-4-skips-404")) ||
		(status >= 500 && x.faulty("err-8-uncounted")) {
		return
	}
	method, route := x.request.Method, x.route
	if !slices.Contains(knownMethods, method) && !x.faulty("met-7-methods") {
		method = "other"
	}
	if health || route == "" {
		route = "none"
	}
	if (strings.Contains(route, "{") && x.faulty("met-6-url-path")) || (route == "none" && x.faulty("met-7-url-path")) {
		route = x.path
	}
	if x.faulty("met-4-classes") {
		status = status / 100 * 100
	}
	key := labels("method", method, "route", route, "status", fmt.Sprint(status))
	numbers.counts[key]++
	if x.faulty("met-4-doubles") {
		numbers.counts[key]++
	}
	if !(status >= 500 && x.faulty("met-8-no-failures")) {
		seconds := time.Since(x.began).Seconds()
		if x.faulty("met-8-millis") {
			seconds *= 1000
		}
		numbers.observe(route, seconds)
	}
	if agent := x.field("User-Agent"); agent != "" && x.faulty("met-7-agents") {
		numbers.agents[agent] = true
	}
	if cookie := x.field("Cookie"); cookie != "" && x.faulty("met-9-cookies") {
		numbers.agents[cookie] = true
	}
}

func (n *numbers) observe(route string, seconds float64) {
	found := n.seconds[route]
	if found == nil {
		found = &durations{}
		n.seconds[route] = found
	}
	for at, bound := range buckets {
		if seconds <= bound {
			found.cells[at]++
		}
	}
	found.sum += seconds
}

func (n *numbers) lines(x *exchange) []string {
	const name = "http_request_duration_seconds"
	var lines []string
	add := func(format string, values ...any) { lines = append(lines, fmt.Sprintf(format, values...)) }
	if !x.faulty("met-3-no-help") {
		add("# HELP http_requests_total Requests by method, route and status.")
	}
	add("# TYPE http_requests_total counter")
	for _, key := range slices.Sorted(maps.Keys(n.counts)) {
		add("http_requests_total{%s} %d", key, n.counts[key])
	}
	add("# HELP %s From the request to its response.", name)
	add("# TYPE %s histogram", name)
	noInf := x.faulty("met-2-no-inf")
	for _, route := range slices.Sorted(maps.Keys(n.seconds)) {
		found := n.seconds[route]
		for at, bound := range buckets {
			le := fmt.Sprint(bound)
			if math.IsInf(bound, 1) {
				if noInf {
					continue
				}
				le = "+Inf"
			}
			add("%s_bucket{%s} %d", name, labels("route", route, "le", le), found.cells[at])
		}
		add("%s_sum{%s} %f", name, labels("route", route), found.sum)
		add("%s_count{%s} %d", name, labels("route", route), found.cells[len(buckets)-1])
	}
	add("# HELP http_requests_in_flight Requests that are being answered.")
	add("# TYPE http_requests_in_flight gauge")
	add("http_requests_in_flight %d", n.flight)
	if x.faulty("met-3-millis") {
		add("# HELP store_wait_milliseconds Time waited for the store.")
		add("# TYPE store_wait_milliseconds gauge")
		add("store_wait_milliseconds 3")
	}
	if len(n.agents) > 0 {
		add("# HELP seen_total What was seen.")
		add("# TYPE seen_total counter")
	}
	for agent := range n.agents {
		add("seen_total{%s} 1", labels("agent", agent))
	}
	return lines
}
