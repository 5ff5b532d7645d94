package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// An exchange is one request, and its reply once there is one.
type exchange struct {
	service   *service
	request   *http.Request
	id        string
	path      string
	route     string
	body      []byte
	number    int64
	time      int
	began     time.Time
	reply     *reply
	preflight bool
	inFlight  bool
	limit     *allowance
}

func (x *exchange) field(name string) string { return x.request.Header.Get(name) }

// A reply is what is answered: a status, fields, and a body or what writes one piece after the other.
type reply struct {
	status int
	body   []byte
	fields [][2]string
	stream func(write func([]byte) error) error
	close  bool
}

func newReply(status int, mediaType string, body []byte) *reply {
	made := &reply{status: status, body: body}
	if mediaType != "" {
		made.set("Content-Type", mediaType)
	}
	return made
}

func asJSON(status int, value any) *reply {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return newReply(status, "application/json", body)
}

func (r *reply) get(name string) string {
	for _, pair := range r.fields {
		if strings.EqualFold(pair[0], name) {
			return pair[1]
		}
	}
	return ""
}

func (r *reply) remove(name string) {
	var kept [][2]string
	for _, pair := range r.fields {
		if !strings.EqualFold(pair[0], name) {
			kept = append(kept, pair)
		}
	}
	r.fields = kept
}

func (r *reply) set(name, value string) *reply {
	r.remove(name)
	r.fields = append(r.fields, [2]string{name, value})
	return r
}

func (r *reply) vary(name string) {
	if old := r.get("Vary"); old != "" {
		name = old + ", " + name
	}
	r.set("Vary", name)
}
