package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const pageSize = 20

var latest atomic.Int64

func askItems(x *exchange, do, key string, value any) (any, error) {
	found, err := x.service.ask(x, do, key, value, 0)
	var failed *storeError
	if errors.As(err, &failed) && !x.faulty("err-7-leaks") {
		x.log(slog.LevelError, "the store failed", "request_id", x.id, "error", err.Error())
		return nil, newProblem(503, "try again later").with("Retry-After", "1")
	}
	return found, err
}

func listItems(x *exchange, _ []string) (*reply, error) {
	found, err := askItems(x, "list", "", nil)
	if err != nil {
		return nil, err
	}
	all, _ := found.([]any)
	slices.SortFunc(all, func(one, other any) int { return int(numberOf(one, "id") - numberOf(other, "id")) })
	most := pageSize
	if wanted, err := strconv.Atoi(x.request.URL.Query().Get("limit")); err == nil && wanted > 0 && x.faulty("val-9-unbounded") {
		most = wanted
	}
	return asJSON(200, map[string]any{"items": slices.Concat([]any{}, all[max(len(all)-most, 0):])}), nil
}

// numberOf returns a number of a row, which may be a text.
func numberOf(row any, name string) int64 {
	fields, _ := row.(map[string]any)
	number, _ := strconv.ParseInt(fmt.Sprint(fields[name]), 10, 64)
	return number
}

func createItem(x *exchange, _ []string) (*reply, error) {
	item, err := readItem(x)
	if err != nil {
		return nil, err
	}
	if _, given := item["id"]; !given {
		item["id"] = fmt.Sprintf("%d%06d", os.Getpid(), latest.Add(1))
	}
	id := fmt.Sprint(item["id"])
	if x.faulty("shut-9-loses-writes") {
		// A goroutine that nothing waits for.
		go func() {
			time.Sleep(500 * time.Millisecond)
			_, _ = askItems(x, "put", id, item)
		}()
	} else if _, err := askItems(x, "put", id, item); err != nil {
		return nil, err
	}
	return asJSON(201, item).set("Location", "/api/items/"+id), nil
}

func findItem(x *exchange, id string) (map[string]any, error) {
	if _, err := strconv.ParseUint(id, 10, 64); err != nil {
		if x.faulty("val-9-500") {
			return nil, err
		}
		return nil, newProblem(422, "the id has to be a number")
	}
	found, err := askItems(x, "get", id, nil)
	if err != nil {
		return nil, err
	}
	item, isItem := found.(map[string]any)
	if !isItem {
		return nil, newProblem(404, "there is no such item")
	}
	return item, nil
}

func readOneItem(x *exchange, ids []string) (*reply, error) {
	item, err := findItem(x, ids[0])
	if err != nil {
		return nil, err
	}
	return asJSON(200, item), nil
}

func updateItem(x *exchange, ids []string) (*reply, error) {
	if _, err := findItem(x, ids[0]); err != nil {
		return nil, err
	}
	item, err := readItem(x)
	if err != nil {
		return nil, err
	}
	item["id"] = ids[0]
	if _, err := askItems(x, "put", ids[0], item); err != nil {
		return nil, err
	}
	return asJSON(200, item), nil
}

func removeItem(x *exchange, ids []string) (*reply, error) {
	if _, err := findItem(x, ids[0]); err != nil {
		return nil, err
	}
	if _, err := askItems(x, "delete", ids[0], nil); err != nil {
		return nil, err
	}
	return newReply(204, "", nil), nil
}

// readItem returns the item in a request's body.
func readItem(x *exchange) (map[string]any, error) {
	fields, err := x.readObject()
	if err != nil {
		return nil, err
	}
	var errs []entry
	name, valid := readName(x, fields["name"])
	if !valid {
		errs = append(errs, wrongField(x, "/name", fields["name"], "has to be a text of 1 to 100 characters"))
	}
	qty, valid := readQty(x, fields["qty"])
	if !valid {
		errs = append(errs, wrongField(x, "/qty", fields["qty"], "has to be a whole number"))
	}
	item := map[string]any{}
	keeps := x.faulty("val-4-map")
	for key, value := range fields {
		switch {
		case keeps:
			// Decoded into a map, and stored as it is.
			item[key] = value
		case key != "name" && key != "qty":
			errs = append(errs, entry{"", "has fields that are unknown", ""})
		}
	}
	if len(errs) > 0 {
		refused := newProblem(422, "the item is not valid")
		if !x.faulty("val-10-unnamed") {
			refused.more = map[string]any{"errors": errs}
		}
		return nil, refused
	}
	if x.faulty("val-0-title") {
		name = strings.ToUpper(name)
	}
	if x.faulty("val-6-strips-nul") {
		name = strings.ReplaceAll(name, "\x00", "")
	}
	item["name"], item["qty"] = name, qty
	return item, nil
}

func wrongField(x *exchange, pointer string, value json.RawMessage, message string) entry {
	if x.faulty("val-10-echoes") {
		message += ", not " + string(value)
	}
	return entry{Pointer: pointer, Message: message}
}

// readName and readQty decode into pointers, because null leaves anything else as it is.
func readName(x *exchange, raw json.RawMessage) (string, bool) {
	var name *string
	zero := x.faulty("val-3-zero-values")
	if json.Unmarshal(raw, &name) != nil || name == nil {
		return "", zero && (raw == nil || string(raw) == "null")
	}
	length := utf8.RuneCountInString(*name)
	return *name, 1 <= length && length <= 100
}

func readQty(x *exchange, raw json.RawMessage) (any, bool) {
	if x.faulty("val-5-float64") {
		// What a number becomes in a map[string]any.
		var value *float64
		if json.Unmarshal(raw, &value) != nil || value == nil {
			return 0, false
		}
		return int64(*value), true
	}
	var qty *int64
	if json.Unmarshal(raw, &qty) != nil || qty == nil {
		return 0, raw == nil && x.faulty("val-3-zero-values")
	}
	if x.faulty("val-5-int32") {
		return int32(*qty), true
	}
	return *qty, 0 <= *qty && *qty <= 1<<53
}
