package main

import (
	"os"
	"strings"
	"sync"
)

// ZOO_FAULT names what is wrong with this process, joined by commas; behind "@" stands when it shows.

var (
	switches = map[string]string{}
	fired    = os.Getenv("ZOO_FIRED")
	trace    = os.Getenv("ZOO_TRACE")
	tracing  sync.Mutex
	known    = map[string]bool{}
)

func init() {
	for _, text := range strings.Split(os.Getenv("ZOO_FAULT"), ",") {
		name, when, _ := strings.Cut(text, "@")
		switches[name] = when
	}
}

// faulty tells whether this process has a fault at any time.
func faulty(name string) bool {
	when, found := switches[name]
	if found && when == "" {
		touch()
	}
	return found && when == ""
}

// faulty tells whether this process has a fault, here and now.
func (x *exchange) faulty(name string) bool {
	when, found := switches[name]
	switch {
	case !found:
		x.traced(name)
		return false
	case when != "" && !conditions[when](x):
		return false
	}
	touch()
	return true
}

func touch() {
	if fired != "" {
		if file, err := os.Create(fired); err == nil {
			file.Close()
		}
	}
}

// traced writes down under which conditions a fault could show here.
func (x *exchange) traced(name string) {
	if trace == "" {
		return
	}
	tracing.Lock()
	defer tracing.Unlock()
	var fresh strings.Builder
	for key, holds := range conditions {
		line := name + " " + key + "\n"
		if !known[line] && holds(x) {
			known[line] = true
			fresh.WriteString(line)
		}
	}
	if fresh.Len() == 0 {
		return
	}
	if file, err := os.OpenFile(trace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		file.WriteString(fresh.String())
		file.Close()
	}
}
