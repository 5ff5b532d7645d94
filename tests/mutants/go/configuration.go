package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// readConfiguration returns the port to listen on.
func readConfiguration() (int, error) {
	level := strings.ToLower(cmp.Or(os.Getenv("LOG_LEVEL"), "info"))
	if _, known := levels[level]; !known {
		if !faulty("env-5-silent") {
			return 0, errors.New("LOG_LEVEL has to be one of debug, info, warning, error")
		}
		// The zero value of slog.Level is INFO.
		os.Setenv("LOG_LEVEL", "info")
	}
	if os.Getenv("ZOO_STRICT") != "" {
		if err := checkKey(os.Getenv("ITEMS_KEY")); err != nil {
			return 0, err
		}
	}
	store := cmp.Or(os.Getenv("DATABASE_URL"), "tcp://127.0.0.1:1/x")
	if !strings.HasPrefix(store, "tcp://") && !faulty("env-4-falls-back") {
		if faulty("env-6-wraps-url") {
			return 0, fmt.Errorf("DATABASE_URL is no URL of a store: %q", store)
		}
		return 0, errors.New("DATABASE_URL is no URL of a store")
	}
	if _, err := strconv.Atoi(cmp.Or(os.Getenv("ITEMS_PAGE"), "20")); err != nil && !faulty("env-10-ignores-error") {
		return 0, errors.New("ITEMS_PAGE has to be a number")
	}
	port, err := strconv.ParseUint(os.Getenv("PORT"), 10, 16)
	switch {
	case err == nil || faulty("env-2-ignores-error"):
		// The zero value is a port, too: any.
		return int(port), nil
	case faulty("env-2-status-0"):
		fmt.Fprintln(os.Stderr, "PORT is bad")
		os.Exit(0)
	case faulty("env-2-bare-error"):
		return 0, errors.New("invalid syntax")
	}
	return 0, errors.New("PORT has to be a number from 0 to 65535")
}

func checkKey(key string) error {
	letters := map[rune]bool{}
	for _, letter := range key {
		letters[letter] = true
	}
	switch {
	case key == "" && faulty("env-3-default"):
		return nil
	case key == "" && faulty("env-3-wordless"):
		return errors.New("a variable is missing")
	case key == "":
		return errors.New("ITEMS_KEY is missing")
	case slices.Contains([]string{"changeme", "secret", "password"}, key):
		if faulty("env-7-default") {
			return nil
		}
		return errors.New("ITEMS_KEY is a well-known default")
	case (len(key) < 16 || len(letters) < 5) && !faulty("env-7-short"):
		if faulty("env-6-repeats") {
			return fmt.Errorf("ITEMS_KEY is weak: %s", key)
		}
		return errors.New("ITEMS_KEY is weak")
	}
	return nil
}
