package main

import "strings"

const (
	pagePolicy = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
	dataPolicy = "default-src 'none'; frame-ancestors 'none'"
)

// protect adds the fields that a response of its kind has.
func protect(x *exchange, made *reply) {
	isPage, failed := strings.HasPrefix(made.get("Content-Type"), "text/html"), made.status >= 400
	policy := dataPolicy
	if isPage {
		policy = pagePolicy
		protectPage(x, made, &policy)
	}
	if x.faulty("hdr-3-none") {
		policy = strings.Replace(policy, "; frame-ancestors 'none'", "", 1)
	} else {
		made.set("X-Frame-Options", "DENY")
	}
	if (isPage && !x.faulty("hdr-4-page")) || (!isPage && !x.faulty("hdr-4-data")) {
		made.set("Content-Security-Policy", policy)
	}
	secure := x.field("X-Forwarded-Proto") == "https" && !x.faulty("hdr-5-none")
	if secure || x.faulty("hdr-5-plain") {
		age := "31536000"
		if x.faulty("hdr-5-short") {
			age = "3600"
		}
		made.set("Strict-Transport-Security", "max-age="+age+"; includeSubDomains")
	}
	if made.get("Cache-Control") == "" && !x.faulty("hdr-6-unsaid") {
		kept := "no-store"
		if (!failed && x.faulty("hdr-6-public")) || (failed && x.faulty("err-9-cached")) {
			kept = "public, max-age=60"
		}
		made.set("Cache-Control", kept)
	}
	switch {
	case failed && (x.faulty("hdr-1-not-on-errors") || x.faulty("err-9-bare")):
		// The middleware does not see what the outer one answers.
	case x.faulty("hdr-1-misspelt"):
		made.set("X-Content-Type-Options", "no-sniff")
	default:
		made.set("X-Content-Type-Options", "nosniff")
	}
	if failed && x.faulty("hdr-2-guessed") {
		// Header().Set after WriteHeader: net/http has guessed by then, and JSON is text to it.
		made.set("Content-Type", "text/plain; charset=utf-8")
	}
	if failed && x.faulty("hdr-2-none") {
		made.remove("Content-Type")
	}
	if x.faulty("hdr-7-server") {
		made.set("Server", "Go/1.22.1")
	}
	if x.faulty("hdr-10-xss") {
		made.set("X-XSS-Protection", "1; mode=block")
	}
	if x.faulty("hdr-10-add") {
		// Header().Add where Set was meant.
		made.fields = append(made.fields, [2]string{"X-Frame-Options", "SAMEORIGIN"})
	}
}

func protectPage(x *exchange, made *reply, policy *string) {
	if x.faulty("hdr-4-inline") {
		*policy = strings.Replace(*policy, "'self'", "'self'; script-src 'self' 'unsafe-inline'", 1)
	}
	if x.faulty("hdr-4-no-base") {
		*policy = strings.Replace(*policy, "base-uri 'none'; ", "", 1)
	}
	if !x.faulty("hdr-9-none") {
		made.set("Referrer-Policy", "no-referrer").set("Permissions-Policy", "camera=()")
		made.set("Cross-Origin-Opener-Policy", "same-origin")
	}
}
