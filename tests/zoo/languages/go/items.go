package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

const (
	bodyLimit = 1 << 20
	page      = 20
	// Above it a reader that uses doubles sees another number.
	maxQty = 1 << 53
)

type item struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Qty  int64  `json:"qty"`
}

// items is the resource, kept in memory.
type items struct {
	lock   sync.RWMutex
	latest uint64
	byID   map[uint64]item
}

func newItems() *items {
	first, _ := strconv.ParseUint(fmt.Sprintf("%d000000", os.Getpid()), 10, 64)
	return &items{latest: first, byID: map[uint64]item{}}
}

func (s *items) list(w http.ResponseWriter, _ *http.Request) error {
	s.lock.RLock()
	ids := make([]uint64, 0, len(s.byID))
	for id := range s.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	found := []item{}
	for _, id := range ids[max(len(ids)-page, 0):] {
		found = append(found, s.byID[id])
	}
	s.lock.RUnlock()
	write(w, http.StatusOK, "application/json", map[string][]item{"items": found})
	return nil
}

func (s *items) create(w http.ResponseWriter, r *http.Request) error {
	made, err := readItem(w, r)
	if err != nil {
		return err
	}
	s.lock.Lock()
	s.latest++
	made.ID = strconv.FormatUint(s.latest, 10)
	s.byID[s.latest] = made
	s.lock.Unlock()
	w.Header().Set("Location", "/api/items/"+made.ID)
	write(w, http.StatusCreated, "application/json", made)
	return nil
}

func (s *items) read(w http.ResponseWriter, r *http.Request) error {
	id, err := idOf(r)
	if err != nil {
		return err
	}
	s.lock.RLock()
	found, exists := s.byID[id]
	s.lock.RUnlock()
	if !exists {
		return newProblem(http.StatusNotFound, "there is no such item")
	}
	write(w, http.StatusOK, "application/json", found)
	return nil
}

func (s *items) update(w http.ResponseWriter, r *http.Request) error {
	id, err := idOf(r)
	if err != nil {
		return err
	}
	changed, err := readItem(w, r)
	if err != nil {
		return err
	}
	s.lock.Lock()
	found, exists := s.byID[id]
	changed.ID = found.ID
	if exists {
		s.byID[id] = changed
	}
	s.lock.Unlock()
	if !exists {
		return newProblem(http.StatusNotFound, "there is no such item")
	}
	write(w, http.StatusOK, "application/json", changed)
	return nil
}

func (s *items) remove(w http.ResponseWriter, r *http.Request) error {
	id, err := idOf(r)
	if err != nil {
		return err
	}
	s.lock.Lock()
	_, exists := s.byID[id]
	delete(s.byID, id)
	s.lock.Unlock()
	if !exists {
		return newProblem(http.StatusNotFound, "there is no such item")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func idOf(r *http.Request) (uint64, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, newProblem(http.StatusUnprocessableEntity, "the id has to be a number")
	}
	return id, nil
}

// readItem returns the item in a request's body, or a problem with one entry for each field that is wrong.
func readItem(w http.ResponseWriter, r *http.Request) (item, error) {
	body, err := readJSON(w, r)
	if err != nil {
		return item{}, err
	}
	if faulty("val-3-zero-values") {
		return decodeIntoStruct(body)
	}
	// A map of raw values tells what is missing from what is zero, and its keys are not matched regardless of
	// case as the names of a struct's fields are.
	var fields map[string]json.RawMessage
	if faulty("val-1-trailing") {
		// A Decoder reads one value of a stream, and is content with what comes behind it.
		err = json.NewDecoder(bytes.NewReader(body)).Decode(&fields)
	} else {
		err = json.Unmarshal(body, &fields)
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return item{}, newProblem(http.StatusBadRequest, "the body is not JSON")
	case err != nil || fields == nil:
		return item{}, newProblem(http.StatusUnprocessableEntity, "the body has to be an object")
	}
	var errs []fieldError
	name, valid := readName(fields["name"])
	if !valid {
		errs = append(errs, fieldError{"/name", "has to be a text of 1 to 100 characters"})
	}
	qty, valid := readQty(fields["qty"])
	if !valid {
		errs = append(errs, fieldError{"/qty", "has to be a whole number from 0 to 2^53"})
	}
	delete(fields, "name")
	delete(fields, "qty")
	if len(fields) > 0 {
		// The name of an unknown field was sent by the client, too, and may be anything.
		errs = append(errs, fieldError{"", "has fields that are unknown"})
	}
	if len(errs) > 0 {
		return item{}, newProblem(http.StatusUnprocessableEntity, "the item is not valid", errs...)
	}
	return item{Name: name, Qty: qty}, nil
}

// readName and readQty decode into pointers, because null leaves anything else as it is.
func readName(raw json.RawMessage) (string, bool) {
	var name *string
	if json.Unmarshal(raw, &name) != nil || name == nil {
		return "", false
	}
	length := utf8.RuneCountInString(*name)
	return *name, 1 <= length && length <= 100
}

func readQty(raw json.RawMessage) (int64, bool) {
	if faulty("val-5-float64") {
		// What a number becomes in a map[string]any.
		var value *float64
		if json.Unmarshal(raw, &value) != nil || value == nil {
			return 0, false
		}
		return int64(*value), true
	}
	var qty *int64
	if json.Unmarshal(raw, &qty) != nil || qty == nil {
		return 0, false
	}
	if faulty("val-5-wraps") {
		return int64(int32(*qty)), true
	}
	return *qty, 0 <= *qty && *qty <= maxQty
}

// decodeIntoStruct does what most first programs do.
func decodeIntoStruct(body []byte) (item, error) {
	var sent struct {
		Name string `json:"name"`
		Qty  int64  `json:"qty"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&sent); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			told := fieldError{"/" + wrong.Field, "has the wrong type"}
			return item{}, newProblem(http.StatusUnprocessableEntity, "the item is not valid", told)
		}
		return item{}, newProblem(http.StatusBadRequest, "the body is not an item")
	}
	if utf8.RuneCountInString(sent.Name) > 100 || sent.Qty < 0 || sent.Qty > maxQty {
		return item{}, newProblem(http.StatusUnprocessableEntity, "the item is not valid")
	}
	return item{Name: sent.Name, Qty: sent.Qty}, nil
}

// readJSON returns a body that is said to be JSON, and is text that Go can hold.
func readJSON(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "the body has to be JSON")
	}
	detail := fmt.Sprintf("the body is limited to %d bytes", bodyLimit)
	tooLarge := newProblem(http.StatusRequestEntityTooLarge, detail)
	reader := r.Body
	if !faulty("val-8-unlimited") {
		// Whoever asks before sending a body is told so before the first read, which says 100 Continue.
		if r.ContentLength > bodyLimit {
			return nil, tooLarge
		}
		reader = http.MaxBytesReader(w, r.Body, bodyLimit)
	}
	body, err := io.ReadAll(reader)
	var larger *http.MaxBytesError
	switch {
	case errors.As(err, &larger):
		return nil, tooLarge
	case err != nil:
		return nil, newProblem(http.StatusBadRequest, "the body cannot be read")
	}
	// encoding/json puts U+FFFD in place of both, and what is stored is not what was sent.
	if (!utf8.Valid(body) || hasLoneSurrogate(body)) && !faulty("val-6-replaces") {
		return nil, newProblem(http.StatusBadRequest, "the body is not Unicode")
	}
	return body, nil
}

var (
	escapes = regexp.MustCompile(`(?i)\\(?:ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|u[0-9a-f]{4}|.)`)
	lone    = regexp.MustCompile(`(?i)^\\ud[89a-f][0-9a-f]{2}$`)
)

// hasLoneSurrogate tells whether an escape in JSON text stands for half of a character.
func hasLoneSurrogate(text []byte) bool {
	for _, escape := range escapes.FindAll(text, -1) {
		if lone.Match(escape) {
			return true
		}
	}
	return false
}
