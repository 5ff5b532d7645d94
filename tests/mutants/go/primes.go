package main

import (
	"strconv"
	"sync/atomic"
)

const (
	largest = 5_000_000
	rounds  = 12
)

var (
	inside  atomic.Int64
	working = make(chan struct{}, 2)
)

// primes counts primes: two computations at a time, and eight more wait.
func primes(x *exchange, ids []string) (*reply, error) {
	n, err := strconv.Atoi(ids[0])
	if err != nil || n < 0 || n > largest {
		return nil, refuse(x, map[string]string{"path/n": "has to be between 0 and 5000000"})
	}
	defer inside.Add(-1)
	if inside.Add(1) > 10 && !x.faulty("cpu-2-no-bound") {
		refused := newProblem(503, "there is too much to compute")
		if !x.faulty("cpu-2-no-retry-after") {
			refused.with("Retry-After", "1")
		}
		return nil, refused
	}
	working <- struct{}{}
	defer func() { <-working }()
	if x.faulty("cpu-1-under-the-lock") {
		// The lock that every request takes to be counted.
		x.service.numbers.lock.Lock()
		defer x.service.numbers.lock.Unlock()
	}
	if x.faulty("cpu-4-one-at-a-time") {
		x.service.computing.Lock()
		defer x.service.computing.Unlock()
	}
	return asJSON(200, row{"n": n, "count": count(n)}), nil
}

func count(n int) int {
	found := 0
	for range rounds {
		composite := make([]bool, n+1)
		found = 0
		for number := 2; number <= n; number++ {
			if composite[number] {
				continue
			}
			found++
			for multiple := number * number; multiple <= n; multiple += number {
				composite[multiple] = true
			}
		}
	}
	return found
}
