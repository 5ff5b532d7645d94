// net/http with nothing for signals, and handlers written as a first example is.
package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

type item struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Qty  int    `json:"qty"`
}

var (
	lock  sync.Mutex
	items = map[int]item{}
)

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func create(w http.ResponseWriter, r *http.Request) {
	var new item
	if err := json.NewDecoder(r.Body).Decode(&new); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	lock.Lock()
	defer lock.Unlock()
	new.ID = len(items) + 1
	items[new.ID] = new
	answer(w, http.StatusCreated, new)
}

func read(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	lock.Lock()
	defer lock.Unlock()
	found, ok := items[id]
	if !ok {
		http.Error(w, "Not found", http.StatusNotFound)
		return
	}
	answer(w, http.StatusOK, found)
}

func main() {
	ok := map[string]bool{"ok": true}
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { answer(w, 200, ok) })
	http.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(2 * time.Second)
		answer(w, 200, ok)
	})
	http.HandleFunc("GET /fail", func(http.ResponseWriter, *http.Request) { panic("the item could not be counted") })
	http.HandleFunc("POST /items", create)
	http.HandleFunc("GET /items/{id}", read)
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
}
