package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Routes that exist for the check, and a page and an image.

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

var largeText = func() []byte {
	var text strings.Builder
	for number := range 64 {
		text.WriteString(strings.Repeat(hash(strconv.Itoa(number)), 128))
	}
	return []byte(text.String())
}()

const pageText = "<!doctype html><html lang=en><title>Items</title><script src=/items.js></script><p>Items</p></html>"

func slow(x *exchange, _ []string) (*reply, error) {
	seconds, err := strconv.ParseFloat(cmp.Or(x.request.URL.Query().Get("seconds"), "1"), 64)
	if err != nil || !(seconds >= 0 && seconds <= 60) {
		return nil, newProblem(422, "seconds has to be between 0 and 60")
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	return asJSON(200, row{"slept": true}), nil
}

func fails(x *exchange, _ []string) (*reply, error) {
	const text = "canary-77ab of an unhandled exception"
	if x.faulty("err-5-goroutine") {
		// No recover of this request's goroutine sees what another one panics with.
		go func() { panic(text) }()
		select {}
	}
	panic(text)
}

func events(x *exchange, _ []string) (*reply, error) {
	made := newReply(200, "text/event-stream", nil)
	made.stream = func(write func([]byte) error) error {
		for number := range 8 {
			if x.service.draining.Load() && x.faulty("shut-2-truncates") {
				return errors.New("cut short")
			}
			if err := write(fmt.Appendf(nil, "data: %d\n\n", number)); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	}
	return made, nil
}

func largeRoute(*exchange, []string) (*reply, error) {
	return newReply(200, "text/plain; charset=utf-8", largeText).set("ETag", `"large-1"`), nil
}

func image(*exchange, []string) (*reply, error) {
	return newReply(200, "image/png", []byte("\x89PNG\r\n\x1a\n"+strings.Repeat(hash("image"), 40))), nil
}

func page(x *exchange, _ []string) (*reply, error) {
	mediaType, kept, cookie := "text/html; charset=utf-8", "no-store", "session_id="+x.id+"; Path=/"
	if x.faulty("hdr-2-no-charset") {
		mediaType = "text/html"
	}
	if x.faulty("hdr-6-page") {
		kept = "public, max-age=60"
	}
	if !x.faulty("hdr-8-no-secure") {
		cookie += "; Secure"
	}
	if !x.faulty("hdr-8-no-http-only") {
		cookie += "; HttpOnly"
	}
	if !x.faulty("hdr-8-no-same-site") {
		cookie += "; SameSite=Lax"
	}
	return newReply(200, mediaType, []byte(pageText)).set("Set-Cookie", cookie).set("Cache-Control", kept), nil
}
