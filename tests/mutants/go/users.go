package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// The contract's users and their posts.

const createdAt = "2026-01-01T00:00:00Z"

var overviews sync.Map

type row = map[string]any

// texts returns the texts of the body.
func texts(x *exchange, most map[string]int) (map[string]string, error) {
	fields, err := x.readObject()
	if err != nil {
		return nil, err
	}
	found, wrong := map[string]string{}, map[string]string{}
	for name, length := range most {
		var text *string
		valid := json.Unmarshal(fields[name], &text) == nil && text != nil
		valid = valid && *text != "" && utf8.RuneCountInString(*text) <= length && !strings.Contains(*text, "\x00")
		if !valid {
			wrong["/"+name] = fmt.Sprintf("has to be a text of 1 to %d characters", length)
			continue
		}
		found[name] = *text
	}
	for name := range fields {
		if most[name] == 0 {
			wrong["/"+name] = "is unknown"
		}
	}
	if len(wrong) == 0 && most["email"] > 0 && !strings.Contains(found["email"], "@") {
		wrong["/email"] = "has to be an address"
	}
	if len(wrong) > 0 {
		return nil, refuse(x, wrong)
	}
	return found, nil
}

func findUser(x *exchange, id string) (row, error) {
	found, err := x.service.get(x, "user:"+id)
	if err != nil {
		return nil, err
	}
	user, isUser := found.(row)
	if !isUser {
		missing := newProblem(404, "there is no such user")
		if x.request.Method == http.MethodPut && x.faulty("ecl-1-by-route") {
			missing.code("USER_GONE")
		}
		return nil, missing
	}
	return user, nil
}

// pageOf returns one page of users, or of a user's posts.
func pageOf(x *exchange, prefix string, owner int64) (*reply, error) {
	query := x.request.URL.Query()
	limit, cursor := 20, int64(0)
	if x.faulty("ctl-6-unbounded") {
		limit = 1_000_000
	}
	var err error
	if query.Has("limit") {
		limit, err = strconv.Atoi(query.Get("limit"))
	}
	if err != nil || limit < 1 || (limit > 100 && !x.faulty("ctl-6-unbounded")) {
		return nil, refuse(x, map[string]string{"query/limit": "has to be between 1 and 100"})
	}
	if query.Has("cursor") {
		cursor, err = strconv.ParseInt(query.Get("cursor"), 10, 64)
	}
	if err != nil || cursor < 0 {
		return nil, refuse(x, map[string]string{"query/cursor": "is none of this list"})
	}
	found, err := x.service.ask(x, "scan", prefix, nil, 0)
	if err != nil {
		return nil, err
	}
	all, _ := found.([]any)
	if owner > 0 {
		all = slices.DeleteFunc(all, func(one any) bool { return numberOf(one, "user_id") != owner })
	}
	slices.SortFunc(all, func(one, other any) int { return int(numberOf(one, "id") - numberOf(other, "id")) })
	offset := x.faulty("ctl-6-offset")
	if offset {
		all = all[min(cursor, int64(len(all))):]
	} else {
		all = slices.DeleteFunc(all, func(one any) bool { return numberOf(one, "id") <= cursor })
	}
	chosen := all[:min(limit, len(all))]
	var next any
	if len(chosen) < len(all) {
		next = strconv.FormatInt(numberOf(chosen[len(chosen)-1], "id"), 10)
		if offset {
			next = strconv.FormatInt(cursor+int64(len(chosen)), 10)
		}
	}
	return asJSON(200, row{"items": slices.Concat([]any{}, chosen), "next_cursor": next}), nil
}

func checkFree(x *exchange, email string, owner any) error {
	taken, err := x.service.get(x, "email:"+email)
	if err != nil || taken == nil || fmt.Sprint(taken) == fmt.Sprint(owner) {
		return err
	}
	switch {
	case x.faulty("ctl-5-500"):
		// The driver's own error.
		return errors.New("UNIQUE constraint failed: users.email")
	case x.request.Method == http.MethodPut && x.faulty("svc-1-own-check"):
		return newProblem(400, "the address is taken")
	}
	return newProblem(409, "the address is taken").code("EMAIL_TAKEN")
}

func createUser(x *exchange, _ []string) (*reply, error) {
	value, err := texts(x, map[string]int{"name": 100, "email": 254})
	if err != nil {
		return nil, err
	}
	x.service.writing.Lock()
	defer x.service.writing.Unlock()
	if err := checkFree(x, value["email"], nil); err != nil {
		return nil, err
	}
	id, err := x.service.ask(x, "next", "users", nil, 0)
	if err != nil {
		return nil, err
	}
	user := row{"id": id, "name": value["name"], "email": value["email"], "created_at": createdAt}
	err = x.service.commit(x,
		change{"put", fmt.Sprintf("user:%v", id), user}, change{"put", "email:" + value["email"], id})
	if err != nil {
		return nil, err
	}
	made := asJSON(201, user)
	if x.faulty("ctl-1-create-200") {
		// WriteHeader was forgotten.
		made.status = 200
	}
	if !x.faulty("ctl-2-no-location") {
		made.set("Location", fmt.Sprintf("/api/users/%v", id))
	}
	return made, nil
}

func readUser(x *exchange, ids []string) (*reply, error) {
	if x.faulty("ctl-3-null") {
		found, err := x.service.get(x, "user:"+ids[0])
		return asJSON(200, found), err
	}
	user, err := findUser(x, ids[0])
	if err != nil {
		return nil, err
	}
	if x.faulty("svc-3-row") {
		user["password_hash"] = "x"
	}
	return asJSON(200, user), nil
}

func replaceUser(x *exchange, ids []string) (*reply, error) {
	value, err := texts(x, map[string]int{"name": 100, "email": 254})
	if err != nil {
		return nil, err
	}
	x.service.writing.Lock()
	defer x.service.writing.Unlock()
	user, err := findUser(x, ids[0])
	if err != nil {
		return nil, err
	}
	before := "email:" + fmt.Sprint(user["email"])
	user["name"] = value["name"]
	if x.faulty("ctl-5-changes") {
		if err := x.service.commit(x, change{"put", "user:" + ids[0], user}); err != nil {
			return nil, err
		}
	}
	if err := checkFree(x, value["email"], user["id"]); err != nil {
		return nil, err
	}
	user["email"] = value["email"]
	err = x.service.commit(x, change{"delete", before, nil},
		change{"put", "user:" + ids[0], user}, change{"put", "email:" + value["email"], user["id"]})
	if err != nil {
		return nil, err
	}
	return asJSON(200, user), nil
}

func removeUser(x *exchange, ids []string) (*reply, error) {
	x.service.writing.Lock()
	defer x.service.writing.Unlock()
	user, err := findUser(x, ids[0])
	if err != nil {
		return nil, err
	}
	posts, err := x.service.ask(x, "scan", "post:", nil, 0)
	if err != nil {
		return nil, err
	}
	var changes []change
	all, _ := posts.([]any)
	for _, post := range all {
		if numberOf(post, "user_id") == numberOf(user, "id") {
			changes = append(changes, change{"delete", fmt.Sprintf("post:%d", numberOf(post, "id")), nil})
		}
	}
	if x.faulty("txn-5-two-units") {
		for _, one := range changes {
			if err := x.service.commit(x, one); err != nil {
				return nil, err
			}
		}
	}
	if x.faulty("txn-5-orphans") {
		changes = nil
	}
	changes = append(changes, change{"delete", "user:" + ids[0], nil}, change{"delete", "email:" + fmt.Sprint(user["email"]), nil})
	if err := x.service.commit(x, changes...); err != nil {
		return nil, err
	}
	if x.faulty("ctl-1-delete-200") {
		return asJSON(200, row{}), nil
	}
	return newReply(204, "", nil), nil
}

func listUsers(x *exchange, _ []string) (*reply, error) { return pageOf(x, "user:", 0) }

func listPosts(x *exchange, ids []string) (*reply, error) {
	user, err := findUser(x, ids[0])
	if err != nil {
		return nil, err
	}
	return pageOf(x, "post:", numberOf(user, "id"))
}

func createPost(x *exchange, ids []string) (*reply, error) {
	value, err := texts(x, map[string]int{"title": 200, "body": 10_000})
	if err != nil {
		return nil, err
	}
	x.service.writing.Lock()
	defer x.service.writing.Unlock()
	user, err := findUser(x, ids[0])
	var missing *problem
	if errors.As(err, &missing) && x.faulty("svc-1-unchecked") {
		return nil, newProblem(422, "the user is wrong")
	}
	if err != nil {
		return nil, err
	}
	id, err := x.service.ask(x, "next", "posts", nil, 0)
	if err != nil {
		return nil, err
	}
	post := row{"id": id, "user_id": user["id"], "title": value["title"], "body": value["body"], "created_at": createdAt}
	if err := x.service.commit(x, change{"put", fmt.Sprintf("post:%v", id), post}); err != nil {
		return nil, err
	}
	return asJSON(201, post).set("Location", fmt.Sprintf("/api/users/%s/posts/%v", ids[0], id)), nil
}

func readPost(x *exchange, ids []string) (*reply, error) {
	post, err := x.service.get(x, "post:"+ids[1])
	if err != nil {
		return nil, err
	}
	if post == nil || strconv.FormatInt(numberOf(post, "user_id"), 10) != ids[0] {
		return nil, newProblem(404, "there is no such post")
	}
	return asJSON(200, post), nil
}

// overview reads both at the same time.
func overview(x *exchange, ids []string) (*reply, error) {
	if found, cached := overviews.Load(ids[0]); cached && x.faulty("svc-2-stale") {
		return asJSON(200, found), nil
	}
	var user row
	posts := []any{}
	err := x.service.together(x, 2, func(at int) (err error) {
		if at == 0 {
			user, err = findUser(x, ids[0])
			return err
		}
		all, err := x.service.ask(x, "scan", "post:", nil, 0)
		every, _ := all.([]any)
		for _, post := range every {
			if strconv.FormatInt(numberOf(post, "user_id"), 10) == ids[0] && len(posts) < 20 {
				posts = append(posts, post)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if x.faulty("svc-3-overview") {
		user["internal_rank"] = 7
	}
	found := row{"user": user, "posts": posts}
	overviews.Store(ids[0], found)
	return asJSON(200, found), nil
}

// once carries out a creation with an idempotency key once, and repeats what was answered.
func once(handle handler) handler {
	return func(x *exchange, ids []string) (*reply, error) {
		key := x.field("Idempotency-Key")
		if key == "" || x.faulty("txn-6-ignores") {
			return handle(x, ids)
		}
		name := "answer:" + x.path + ":" + key
		sum := sha256.Sum256(x.body)
		var known row
		work := func() error {
			old, err := x.service.get(x, name)
			if found, isKnown := old.(row); isKnown || err != nil {
				known = found
				return err
			}
			made, err := handle(x, ids)
			if err != nil {
				return err
			}
			known = row{"digest": hex.EncodeToString(sum[:]), "status": made.status, "body": string(made.body), "location": made.get("Location")}
			return x.service.commit(x, change{"put", name, known})
		}
		alone := func() error { return x.service.once(name, work) }
		if x.faulty("txn-6-check-then-act") {
			alone = work
		}
		if err := alone(); err != nil {
			return nil, err
		}
		if known["digest"] != hex.EncodeToString(sum[:]) {
			return nil, newProblem(422, "the key was used for another request").code("KEY_REUSED")
		}
		again := newReply(int(numberOf(known, "status")), "application/json", []byte(known["body"].(string)))
		if location := known["location"].(string); location != "" {
			again.set("Location", location)
		}
		return again, nil
	}
}
