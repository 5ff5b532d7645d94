package main

import (
	"cmp"
	"os"
	"slices"
	"strings"
)

// Grants for the origins in CORS_ORIGINS, as the Fetch standard has it; none without.

var origins = strings.FieldsFunc(os.Getenv("CORS_ORIGINS"), func(letter rune) bool { return letter == ',' })

const (
	corsMethods = "GET, HEAD, POST, PUT, DELETE"
	exposed     = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, Location"
)

func allowed(x *exchange, origin string) bool {
	any := func(fits func(one string) bool) bool { return slices.ContainsFunc(origins, fits) }
	switch {
	case x.faulty("cor-1-allow-origin-func"):
		// AllowOriginFunc: func(string) bool { return true }
		return true
	case origin == "null" && x.faulty("cor-1-null"):
		return true
	case x.faulty("cor-1-has-suffix"):
		return any(func(one string) bool { return strings.HasSuffix(origin, strings.SplitN(one, "//", 2)[1]) })
	case x.faulty("cor-1-has-prefix"):
		return any(func(one string) bool { return strings.HasPrefix(origin, one) })
	case x.faulty("cor-1-contains"):
		return any(func(one string) bool { return strings.Contains(origin, strings.SplitN(one, "//", 2)[1]) })
	}
	return slices.Contains(origins, origin)
}

func grant(x *exchange, made *reply) bool {
	origin := x.field("Origin")
	if x.faulty("cor-2-star") {
		made.set("Access-Control-Allow-Origin", "*").set("Access-Control-Allow-Credentials", "true")
		return true
	}
	if origin == "" || !allowed(x, origin) {
		return false
	}
	switch {
	case x.faulty("cor-3-first-only"):
		origin = origins[0]
	case x.faulty("cor-3-joined"):
		origin = strings.Join(origins, ", ")
	}
	made.set("Access-Control-Allow-Origin", origin)
	if !x.faulty("cor-3-no-credentials") {
		made.set("Access-Control-Allow-Credentials", "true")
	}
	return true
}

// preflight answers one.
func preflight(x *exchange) (*reply, error) {
	wanted := x.field("Access-Control-Request-Method")
	if x.request.Method != "OPTIONS" || wanted == "" || len(origins) == 0 {
		return nil, nil
	}
	x.preflight = true
	made := newReply(204, "", nil)
	if x.faulty("cor-6-any-origin") {
		made.set("Access-Control-Allow-Origin", cmp.Or(x.field("Origin"), "*"))
		made.set("Access-Control-Allow-Credentials", "true")
	} else if !grant(x, made) {
		return made, nil
	}
	methods, fields := corsMethods, "Authorization, Content-Type"
	if x.faulty("cor-5-lacks-delete") {
		methods = "GET, HEAD, POST, PUT"
	}
	if x.faulty("cor-6-any-method") {
		methods = wanted
	}
	if x.faulty("cor-6-any-field") {
		fields = cmp.Or(x.field("Access-Control-Request-Headers"), fields)
	}
	made.set("Access-Control-Allow-Methods", methods).set("Access-Control-Allow-Headers", fields)
	switch {
	case x.faulty("cor-7-duration"):
		// fmt.Sprint(10 * time.Minute)
		made.set("Access-Control-Max-Age", "10m0s")
	case !x.faulty("cor-7-none"):
		made.set("Access-Control-Max-Age", "600")
	}
	return made, nil
}

// share grants an allowed origin, and says that the answer depends on it.
func share(x *exchange, made *reply) {
	if x.faulty("cor-10-star") {
		made.set("Access-Control-Allow-Origin", "*")
	}
	if x.preflight || len(origins) == 0 || (made.status >= 400 && x.faulty("cor-8-bare-errors")) {
		return
	}
	granted := grant(x, made)
	if !x.faulty("cor-4-no-vary") && (granted || !x.faulty("cor-4-only-when-granted")) {
		made.vary("Origin")
	}
	if granted && !x.faulty("cor-9-hidden") {
		made.set("Access-Control-Expose-Headers", exposed)
	}
	if granted && x.faulty("cor-9-preflight-fields") {
		made.set("Access-Control-Allow-Methods", corsMethods)
	}
}
