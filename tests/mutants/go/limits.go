package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ZOO_RATE_LIMIT=20/2 admits 20 requests of each client in 2 seconds; without it there is no limit.

type allowance struct {
	left int
	wait float64
}

type window struct {
	start time.Time
	used  int
}

type limiter struct {
	most    int
	seconds float64
	lock    sync.Mutex
	windows map[string]window
	banned  map[string]time.Time
}

func newLimiter() *limiter {
	most, seconds, _ := strings.Cut(os.Getenv("ZOO_RATE_LIMIT"), "/")
	made := &limiter{windows: map[string]window{}, banned: map[string]time.Time{}}
	made.most, _ = strconv.Atoi(most)
	made.seconds, _ = strconv.ParseFloat(seconds, 64)
	return made
}

func exempt(x *exchange) bool {
	switch {
	case x.path == "/livez" || x.path == "/readyz":
		return !x.faulty("rtl-9-limits-health")
	case x.path == "/metrics":
		return !x.faulty("rtl-9-limits-metrics")
	}
	return x.request.Method == "OPTIONS" && !x.faulty("rtl-9-limits-preflights")
}

func clientOf(x *exchange) string {
	address, _, _ := net.SplitHostPort(x.request.RemoteAddr)
	forwarded := x.field("X-Forwarded-For")
	switch {
	case x.faulty("rtl-8-one-limiter"):
		// One rate.Limiter of the package for all.
		return ""
	case x.faulty("rtl-2-with-port"):
		// RemoteAddr has the port: each connection is another client.
		return x.request.RemoteAddr
	case forwarded != "" && x.faulty("rtl-7-first-forwarded"):
		return strings.Split(forwarded, ",")[0]
	}
	if named := x.field(os.Getenv("ZOO_RATE_LIMIT_KEY")); named != "" {
		return named
	}
	hops, _ := strconv.Atoi(os.Getenv("ZOO_TRUSTED_HOPS"))
	if hops == 0 {
		return address
	}
	addresses := strings.Split(cmp.Or(forwarded, address), ",")
	return strings.TrimSpace(addresses[len(addresses)-min(hops, len(addresses))])
}

// admit counts a request of a client.
func (l *limiter) admit(x *exchange, client string) *allowance {
	most := l.most
	if x.faulty("rtl-2-one-more") {
		most++
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	now := time.Now()
	found := l.windows[client]
	if now.Sub(found.start).Seconds() >= l.seconds {
		found = window{now, 0}
	}
	found.used++
	if x.faulty("rtl-2-read-write") {
		// Two locks, one to read and one to write.
		l.lock.Unlock()
		time.Sleep(2 * time.Millisecond)
		l.lock.Lock()
	}
	l.windows[client] = found
	return &allowance{most - found.used, l.seconds - now.Sub(found.start).Seconds()}
}

func limited(x *exchange) (*reply, error) {
	limiter := x.service.limiter
	if limiter.most == 0 || exempt(x) {
		return nil, nil
	}
	client := clientOf(x)
	x.limit = limiter.admit(x, client)
	limiter.lock.Lock()
	banned := time.Now().Before(limiter.banned[client])
	if x.limit.left < 0 && !banned && x.faulty("rtl-4-bans") {
		limiter.banned[client] = time.Now().Add(time.Duration(3 * limiter.seconds * float64(time.Second)))
	}
	limiter.lock.Unlock()
	if (x.limit.left >= 0 && !banned) || x.faulty("rtl-1-never") {
		return nil, nil
	}
	if x.faulty("rtl-10-silent") {
		x.path = "/livez"
	}
	seconds := fmt.Sprint(max(math.Ceil(x.limit.wait), 1))
	switch {
	case x.faulty("rtl-3-duration"):
		// time.Duration prints "1.5s".
		seconds = time.Duration(x.limit.wait * float64(time.Second)).String()
	case x.faulty("rtl-3-at-once"):
		seconds = "0"
	}
	if x.faulty("rtl-3-http-error") {
		return newReply(429, "text/plain; charset=utf-8", []byte("Too Many Requests\n")).set("Retry-After", seconds), nil
	}
	refused := newProblem(429, "that was too much")
	if !x.faulty("rtl-3-never-says-when") {
		refused.with("Retry-After", seconds)
	}
	return nil, refused
}

func signIn(x *exchange, _ []string) (*reply, error) {
	if !json.Valid(x.body) {
		return nil, newProblem(400, "the body is not JSON")
	}
	limiter := x.service.limiter
	if limiter.most > 0 && x.faulty("rtl-10-gives-back") {
		limiter.lock.Lock()
		found := limiter.windows[clientOf(x)]
		found.used--
		limiter.windows[clientOf(x)] = found
		limiter.lock.Unlock()
	}
	return nil, newProblem(401, "name or password is wrong").with("WWW-Authenticate", `Password realm="zoo"`)
}

// tellLimit tells the client where it stands.
func tellLimit(x *exchange, made *reply) {
	if x.limit == nil {
		return
	}
	left, most := max(x.limit.left, 0), x.service.limiter.most
	if x.faulty("rtl-5-always-full") {
		left = most - 1
	}
	made.set("RateLimit-Policy", fmt.Sprintf(`"default";q=%d;w=%v`, most, x.service.limiter.seconds))
	made.set("RateLimit", fmt.Sprintf(`"default";r=%d;t=%v`, left, max(math.Ceil(x.limit.wait), 1)))
}
