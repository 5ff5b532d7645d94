package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError,
}

var (
	writing sync.Mutex
	opening sync.Once
	file    *os.File
	// Where records go by mistake; the folder is the one that a mutant is tried in.
	filePath = filepath.Join(filepath.Dir(cmp.Or(os.Getenv("ZOO_FIRED"), os.TempDir()+"/x")), fmt.Sprintf("zoo-%d.log", os.Getpid()))
)

// record writes one line. Without a request there is no exchange.
func record(x *exchange, level slog.Level, message string, pairs ...any) {
	is := faulty
	if x != nil {
		is = x.faulty
	}
	least := levels[strings.ToLower(os.Getenv("LOG_LEVEL"))]
	if level < least && !is("log-7-ignored") {
		return
	}
	layout := time.RFC3339Nano
	if is("log-3-no-zone") {
		layout = time.DateTime
	}
	replace := func(_ []string, one slog.Attr) slog.Attr {
		switch one.Key {
		case slog.TimeKey:
			return slog.String("time", one.Value.Time().UTC().Format(layout))
		case slog.MessageKey:
			one.Key = "message"
		case slog.LevelKey:
			return slog.String("level", strings.ToLower(one.Value.String()))
		}
		return one
	}
	writing.Lock()
	defer writing.Unlock()
	switch {
	case is("log-2-text-handler"):
		slog.New(slog.NewTextHandler(os.Stdout, nil)).Log(context.Background(), level, message, pairs...)
		return
	case is("log-6-printf"):
		printed(level, message, pairs)
		return
	}
	var out io.Writer = os.Stdout
	if is("log-9-file") {
		opening.Do(func() { file, _ = os.OpenFile(filePath, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) })
		out = io.MultiWriter(os.Stdout, file)
	}
	options := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: replace}
	slog.New(slog.NewJSONHandler(out, options)).Log(context.Background(), level, message, pairs...)
}

// printed puts values between quotes without a look at them.
func printed(level slog.Level, message string, pairs []any) {
	line := fmt.Sprintf(`{"time":"%s","level":"%s","message":"%s"`,
		time.Now().UTC().Format(time.RFC3339Nano), strings.ToLower(level.String()), message)
	for at := 0; at < len(pairs); at += 2 {
		if text, isText := pairs[at+1].(string); isText {
			line += fmt.Sprintf(`,"%v":"%s"`, pairs[at], text)
		} else {
			line += fmt.Sprintf(`,"%v":%v`, pairs[at], pairs[at+1])
		}
	}
	fmt.Println(line + "}")
}

func (x *exchange) log(level slog.Level, message string, pairs ...any) {
	record(x, level, message, pairs...)
}

// access writes the record of a request.
func (x *exchange) access() {
	if x.path == "/livez" || x.path == "/readyz" || x.path == "/metrics" || x.faulty("log-1-none") {
		return
	}
	path, id := x.path, x.id
	if x.faulty("log-5-uri") {
		path = x.request.RequestURI
	}
	if x.faulty("log-6-printf") {
		// r.URL.Path is decoded.
		path, _ = url.PathUnescape(path)
	}
	if x.faulty("log-4-other") {
		id = newID()
	}
	pairs := []any{"method", x.request.Method, "path", path, "status", x.reply.status, "request_id", id}
	if !x.faulty("log-3-no-duration") {
		pairs = append(pairs, "duration_ms", float64(time.Since(x.began).Microseconds())/1000)
	}
	if x.faulty("log-5-headers") {
		pairs = append(pairs, "headers", fmt.Sprint(x.request.Header))
	}
	if x.reply.status >= 400 && len(x.body) > 0 && x.faulty("log-5-body") {
		pairs = append(pairs, "body", string(x.body))
	}
	level := slog.LevelInfo
	if x.reply.status >= 400 && x.faulty("log-8-404-error") {
		level = slog.LevelError
	}
	x.log(level, "request", pairs...)
	if x.faulty("log-1-two-middlewares") {
		x.log(level, "request", pairs...)
	}
}
