package main

import (
	"os"
	"slices"
	"strings"
)

var faults = strings.Split(os.Getenv("ZOO_FAULT"), ",")

// faulty tells whether this process has the fault of this name: ZOO_FAULT names them, joined by commas.
func faulty(name string) bool { return slices.Contains(faults, name) }
