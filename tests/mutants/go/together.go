package main

import (
	"encoding/json"
	"fmt"
	"time"
)

// The contract's routes that read or change several things.

func idList(x *exchange, raw json.RawMessage, name string) ([]int64, error) {
	var values []json.RawMessage
	if json.Unmarshal(raw, &values) != nil || values == nil || len(values) > 1000 {
		return nil, refuse(x, map[string]string{"/" + name: "has to be a list of at most 1000 ids"})
	}
	ids, wrong := make([]int64, len(values)), map[string]string{}
	for at, value := range values {
		var id *int64
		if json.Unmarshal(value, &id) != nil || id == nil {
			wrong[fmt.Sprintf("/%s/%d", name, at)] = "has to be a whole number"
			continue
		}
		ids[at] = *id
	}
	if len(wrong) > 0 {
		return nil, refuse(x, wrong)
	}
	return ids, nil
}

// all returns the rows of ids in their order, with nil for what is not there.
func all(x *exchange, prefix string, ids []int64) ([]any, error) {
	rows := make([]any, len(ids))
	err := x.service.together(x, len(ids), func(at int) (err error) {
		rows[at], err = x.service.get(x, fmt.Sprintf("%s:%d", prefix, ids[at]))
		return err
	})
	return rows, err
}

func batch(x *exchange, _ []string) (*reply, error) {
	fields, err := x.readObject()
	if err != nil {
		return nil, err
	}
	ids, err := idList(x, fields["ids"], "ids")
	if err != nil {
		return nil, err
	}
	users, err := all(x, "user", ids)
	if err != nil {
		return nil, err
	}
	items := []any{}
	skips := x.faulty("fan-3-skips-nil")
	for _, user := range users {
		if user != nil || !skips {
			items = append(items, user)
		}
	}
	return asJSON(200, row{"items": items}), nil
}

func transfers(x *exchange, _ []string) (*reply, error) {
	fields, err := x.readObject()
	if err != nil {
		return nil, err
	}
	wrong, users := map[string]string{}, map[string]int64{}
	for _, name := range []string{"from_user", "to_user"} {
		var id *int64
		if json.Unmarshal(fields[name], &id) != nil || id == nil {
			wrong["/"+name] = "has to be an id"
			continue
		}
		users[name] = *id
	}
	if len(wrong) > 0 {
		return nil, refuse(x, wrong)
	}
	ids, err := idList(x, fields["post_ids"], "post_ids")
	if err != nil {
		return nil, err
	}
	unlocked := x.faulty("txn-4-unlocked")
	if !unlocked {
		x.service.writing.Lock()
		defer x.service.writing.Unlock()
	}
	for _, id := range users {
		if _, err := findUser(x, fmt.Sprint(id)); err != nil {
			return nil, err
		}
	}
	posts, err := all(x, "post", ids)
	if err != nil {
		return nil, err
	}
	if unlocked {
		time.Sleep(200 * time.Millisecond)
	}
	var changes []change
	for at, post := range posts {
		if post == nil {
			return nil, newProblem(404, "there is no such post")
		}
		if numberOf(post, "user_id") != users["from_user"] {
			return nil, newProblem(409, "a post belongs to another user").code("NOT_OWNER")
		}
		post.(row)["user_id"] = users["to_user"]
		moved := change{"put", fmt.Sprintf("post:%d", ids[at]), post}
		if x.faulty("txn-1-no-transaction") {
			// db.Exec in the loop.
			if err := x.service.commit(x, moved); err != nil {
				return nil, err
			}
		}
		changes = append(changes, moved)
	}
	if err := x.service.commit(x, changes...); err != nil {
		return nil, err
	}
	return asJSON(200, row{"moved": len(changes)}), nil
}
