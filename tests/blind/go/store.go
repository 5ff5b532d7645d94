package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"sort"
	"strings"
	"sync"
)

var errConflict = errors.New("another item has this sku")
var errMissing = errors.New("there is no such item")

// Item is what is stored under an id.
type Item struct {
	Name     string `json:"name"`
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// Shown is an item with its id, as clients see it.
type Shown struct {
	ID int64 `json:"id"`
	Item
}

type line struct {
	ID   int64 `json:"id"`
	Item *Item `json:"item"`
}

// Inventory is a map in memory, and a journal from which it is made again after any death.
type Inventory struct {
	mu      sync.RWMutex
	items   map[int64]Item
	last    int64
	journal *os.File
	listed  []Shown // for the fault go-svc-list-cache
}

func openInventory(path string) (*Inventory, error) {
	inventory := &Inventory{items: map[int64]Item{}}
	if old, err := os.Open(path); err == nil {
		reader := bufio.NewScanner(old)
		reader.Buffer(nil, 1<<20)
		for reader.Scan() {
			var entry line
			if json.Unmarshal(reader.Bytes(), &entry) != nil {
				continue // the last line of a process that was killed while writing it
			}
			inventory.last = max(inventory.last, entry.ID)
			if entry.Item == nil {
				delete(inventory.items, entry.ID)
			} else {
				inventory.items[entry.ID] = *entry.Item
			}
		}
		old.Close()
	}
	var err error
	inventory.journal, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return inventory, err
}

func (inventory *Inventory) write(id int64, item *Item) error {
	data, err := json.Marshal(line{id, item})
	if err != nil {
		return err
	}
	if _, err = inventory.journal.Write(append(data, '\n')); err != nil {
		return err
	}
	return inventory.journal.Sync()
}

func (inventory *Inventory) taken(sku string, except int64) bool {
	for id, item := range inventory.items {
		if id != except && item.SKU == sku {
			return true
		}
	}
	return false
}

func (inventory *Inventory) create(item Item) (int64, error) {
	inventory.mu.Lock()
	defer inventory.mu.Unlock()
	if inventory.taken(item.SKU, 0) {
		return 0, errConflict
	}
	inventory.last++
	if err := inventory.write(inventory.last, &item); err != nil {
		return 0, err
	}
	inventory.items[inventory.last] = item
	inventory.listed = nil
	return inventory.last, nil
}

func (inventory *Inventory) read(id int64) (Item, error) {
	inventory.mu.RLock()
	defer inventory.mu.RUnlock()
	item, ok := inventory.items[id]
	if !ok {
		return item, errMissing
	}
	return item, nil
}

func (inventory *Inventory) update(id int64, item Item) error {
	inventory.mu.Lock()
	defer inventory.mu.Unlock()
	_, ok := inventory.items[id]
	if !ok && !faulty("go-ctl-put-creates") {
		return errMissing
	}
	if inventory.taken(item.SKU, id) && !faulty("go-ctl-put-conflict") {
		return errConflict
	}
	if err := inventory.write(id, &item); err != nil {
		return err
	}
	inventory.items[id] = item
	return nil
}

func (inventory *Inventory) delete(id int64) error {
	inventory.mu.Lock()
	defer inventory.mu.Unlock()
	if _, ok := inventory.items[id]; !ok {
		return errMissing
	}
	if err := inventory.write(id, nil); err != nil {
		return err
	}
	delete(inventory.items, id)
	inventory.listed = nil
	return nil
}

func (inventory *Inventory) page(after int64, size int) ([]Shown, bool) {
	inventory.mu.Lock()
	defer inventory.mu.Unlock()
	rows := inventory.listed
	if rows == nil || !faulty("go-svc-list-cache") {
		rows = make([]Shown, 0, len(inventory.items))
		for id, item := range inventory.items {
			rows = append(rows, Shown{id, item})
		}
		sort.Slice(rows, func(a, b int) bool { return rows[a].ID < rows[b].ID })
		inventory.listed = rows
	}
	from := sort.Search(len(rows), func(at int) bool { return rows[at].ID > after })
	to := min(from+size, len(rows))
	return rows[from:to], to < len(rows)
}

// allowed lists the methods of a resource for the field Allow.
func allowed(methods []string, route string) string {
	all := append([]string{"OPTIONS"}, methods...)
	for _, method := range methods {
		if method == "GET" && !(faulty("go-err-allow-head") && route == "/api/items") {
			all = append(all, "HEAD")
		}
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}
