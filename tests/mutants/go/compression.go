package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// gzip for every text that is worth it, and what stops being true by it.

const smallest = 500

var weightPattern = regexp.MustCompile(`(?i)^\s*q=([\d.]+)\s*$`)

func wantsGzip(x *exchange) bool {
	accepted := x.field("Accept-Encoding")
	if x.faulty("cmp-3-contains") {
		return strings.Contains(accepted, "gzip")
	}
	if accepted == "" && x.faulty("cmp-5-unasked") {
		return true
	}
	weights := map[string]float64{}
	for _, word := range strings.Split(accepted, ",") {
		name, parameter, _ := strings.Cut(word, ";")
		if !x.faulty("cmp-5-case") {
			name = strings.ToLower(name)
		}
		weight := 1.0
		if found := weightPattern.FindStringSubmatch(parameter); found != nil {
			weight, _ = strconv.ParseFloat(found[1], 64)
		}
		weights[strings.TrimSpace(name)] = weight
	}
	weight, named := weights["gzip"]
	if !named {
		weight = weights["*"]
	}
	return weight > 0
}

func worthIt(x *exchange, made *reply) bool {
	if made.status == 204 || made.status == 206 || made.status == 304 {
		return false
	}
	mediaType := made.get("Content-Type")
	text := strings.HasPrefix(mediaType, "text/") || strings.Contains(mediaType, "json")
	text = text || (mediaType == "image/png" && x.faulty("cmp-8-images"))
	return text && (made.stream != nil || len(made.body) >= smallest || (len(made.body) > 0 && x.faulty("cmp-6-tiny")))
}

func compress(x *exchange, made *reply) error {
	defer revalidate(x, made)
	if !worthIt(x, made) {
		return nil
	}
	if strings.Contains(x.field("Accept-Encoding"), "roadworthy-none") && x.faulty("cmp-4-unknown") {
		return errors.New("no such coding")
	}
	wants := wantsGzip(x)
	if !x.faulty("cmp-2-none") && (wants || !x.faulty("cmp-2-coded-only")) {
		made.vary("Accept-Encoding")
	}
	if !wants || x.faulty("cmp-1-none") {
		return nil
	}
	made.set("Content-Encoding", "gzip")
	if tag := made.get("ETag"); tag != "" && !x.faulty("cmp-7-same-tag") {
		made.set("ETag", strings.TrimSuffix(tag, `"`)+`-gzip"`)
	}
	if made.stream != nil {
		made.stream = zipped(x, made.stream)
		return nil
	}
	plain := made.body
	made.body = zip(plain, !x.faulty("cmp-1-no-close"))
	if x.faulty("cmp-8-twice") {
		made.body = zip(made.body, true)
	}
	if x.request.Method == "HEAD" && x.faulty("cmp-8-plain-length") {
		made.set("Content-Length", strconv.Itoa(len(plain)))
	}
	return nil
}

// zip codes bytes; without Close the end is missing.
func zip(plain []byte, whole bool) []byte {
	var coded bytes.Buffer
	coder := gzip.NewWriter(&coded)
	_, _ = coder.Write(plain)
	if whole {
		_ = coder.Close()
	}
	return coded.Bytes()
}

func zipped(x *exchange, stream func(func([]byte) error) error) func(func([]byte) error) error {
	return func(write func([]byte) error) error {
		var coded bytes.Buffer
		coder := gzip.NewWriter(&coded)
		send := func() error {
			defer coded.Reset()
			return write(coded.Bytes())
		}
		err := stream(func(piece []byte) error {
			_, _ = coder.Write(piece)
			// Without it the bytes stay in the coder's own buffer.
			if x.faulty("cmp-9-no-flush") {
				return nil
			}
			_ = coder.Flush()
			return send()
		})
		if err != nil {
			return err
		}
		_ = coder.Close()
		return send()
	}
}

func revalidate(x *exchange, made *reply) {
	tag := made.get("ETag")
	if tag == "" || x.field("If-None-Match") != tag || x.faulty("cmp-7-no-304") {
		return
	}
	varies := made.get("Vary")
	*made = reply{status: 304}
	made.set("ETag", tag)
	if varies != "" {
		made.set("Vary", varies)
	}
}
