package main

import (
	"strings"
	"sync"
	"time"
)

const atOnce = 4

// A backing is what the service keeps its data with: a pool, or its own memory.
type backing struct {
	pool       *pool
	lock       sync.Mutex
	memory     map[string]any
	remembered sync.Map
	writing    sync.Mutex
	keyed      sync.Map
}

type change [3]any

func (b *backing) ask(x *exchange, do, key string, value any, timeout time.Duration) (any, error) {
	if b.pool == nil || faulty("wir-3-other-store") || faulty("env-4-falls-back") {
		b.lock.Lock()
		defer b.lock.Unlock()
		return b.remember(do, key, value), nil
	}
	return b.pool.call(x, do, key, value, timeout)
}

func (b *backing) remember(do, key string, value any) any {
	switch do {
	case "put":
		b.memory[key] = value
	case "delete":
		delete(b.memory, key)
	case "next":
		count, _ := b.memory[key].(int)
		b.memory[key] = count + 1
	case "commit":
		for _, one := range value.([]change) {
			b.remember(one[0].(string), one[1].(string), one[2])
		}
	case "list", "scan":
		found := []any{}
		for name, one := range b.memory {
			if strings.HasPrefix(name, key) {
				found = append(found, one)
			}
		}
		return found
	}
	return b.memory[key]
}

func (b *backing) get(x *exchange, key string) (any, error) {
	if found, late := b.remembered.Load(key); late && x.faulty("txn-3-late") {
		return found, nil
	}
	return b.ask(x, "get", key, nil, 0)
}

// commit carries out all changes or none.
func (b *backing) commit(x *exchange, changes ...change) error {
	later := time.Duration(0)
	switch {
	case x.faulty("txn-3-late"):
		later = 300 * time.Millisecond
		for _, one := range changes {
			b.remembered.Store(one[1], one[2])
		}
		fallthrough
	case x.faulty("txn-2-goroutine"):
		// Whether it succeeds is nobody's business.
		go func() {
			time.Sleep(later)
			_, _ = b.ask(x, "commit", "", changes, 0)
		}()
		return nil
	}
	_, err := b.ask(x, "commit", "", changes, 0)
	if x.faulty("txn-2-ignores-error") {
		// _ = tx.Commit()
		return nil
	}
	return err
}

// once runs work alone among those of the same name.
func (b *backing) once(name string, work func() error) error {
	lock, _ := b.keyed.LoadOrStore(name, &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	return work()
}

// together runs calls at the same time; when one fails, no further ones begin, and its error is returned.
func (b *backing) together(x *exchange, count int, call func(at int) error) error {
	places := make(chan struct{}, atOnce)
	if x.faulty("fan-1-in-a-row") {
		places = make(chan struct{}, 1)
	}
	if x.faulty("fan-2-goroutine-each") {
		places = make(chan struct{}, count+1)
	}
	goesOn := x.faulty("fan-4-goes-on")
	var group sync.WaitGroup
	var lock sync.Mutex
	var first error
	for at := range count {
		places <- struct{}{}
		lock.Lock()
		failed := first != nil
		lock.Unlock()
		if failed && !goesOn {
			break
		}
		group.Add(1)
		go func() {
			defer group.Done()
			defer func() { <-places }()
			if err := call(at); err != nil {
				lock.Lock()
				if first == nil {
					first = err
				}
				lock.Unlock()
			}
		}()
	}
	group.Wait()
	return first
}
