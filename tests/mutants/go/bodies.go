package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"
)

const bodyLimit = 1 << 20

func tooLarge() *problem {
	refused := newProblem(413, fmt.Sprintf("the body is limited to %d bytes", bodyLimit))
	refused.close = true
	return refused
}

// readBody reads a body, however it is framed.
func (x *exchange) readBody() error {
	limit := int64(bodyLimit)
	switch {
	case x.faulty("val-8-unlimited"):
		limit = 1 << 40
	case x.request.ContentLength > bodyLimit:
		return tooLarge()
	case x.faulty("val-8-declared-only"):
		limit = 1 << 40
	}
	body := x.request.Body
	if x.faulty("val-0-one-read") && x.request.ContentLength > 0 {
		// Read may return less than all.
		buffer := make([]byte, x.request.ContentLength)
		count, _ := body.Read(buffer)
		x.body = buffer[:count]
		return nil
	}
	var err error
	x.body, err = io.ReadAll(io.LimitReader(body, limit+1))
	switch {
	case int64(len(x.body)) > limit:
		return tooLarge()
	case err != nil:
		return newProblem(400, "the body cannot be read")
	}
	return nil
}

// readObject returns the object in a body.
func (x *exchange) readObject() (map[string]json.RawMessage, error) {
	mediaType, _, err := mime.ParseMediaType(x.field("Content-Type"))
	if (err != nil || mediaType != "application/json") && !x.faulty("val-2-any-type") {
		return nil, newProblem(415, "the body has to be JSON")
	}
	// encoding/json puts U+FFFD in place of what is no Unicode, and what is stored is not what was sent.
	if (!utf8.Valid(x.body) || hasLoneSurrogate(string(x.body))) && !x.faulty("val-6-replaces") {
		return nil, newProblem(400, "the body is not Unicode")
	}
	var fields map[string]json.RawMessage
	if x.faulty("val-1-decoder") {
		// A Decoder reads one value of a stream, and is content with what comes behind it.
		err = json.NewDecoder(bytes.NewReader(x.body)).Decode(&fields)
	} else {
		err = json.Unmarshal(x.body, &fields)
	}
	if err != nil && x.faulty("ctl-4-ignores-error") {
		// err is assigned and never looked at.
		err = nil
	}
	var syntax *json.SyntaxError
	deep := err != nil && strings.Contains(err.Error(), "max depth")
	switch {
	case err != nil && x.faulty("val-1-500"), deep && x.faulty("val-7-unmapped"):
		return nil, err
	case errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		if x.faulty("ctl-4-one-status") {
			return nil, newProblem(422, "the body is not JSON")
		}
		return nil, newProblem(400, "the body is not JSON")
	case err != nil, fields == nil:
		return nil, newProblem(422, "the body has to be an object")
	}
	return fields, nil
}

// hasLoneSurrogate tells whether an escape in JSON text stands for half of a character.
func hasLoneSurrogate(text string) bool {
	for at := 0; at+1 < len(text); at++ {
		if text[at] != '\\' {
			continue
		}
		at++
		unit, found := escaped(text, at-1)
		if !found || unit < 0xD800 || unit > 0xDFFF {
			continue
		}
		second, _ := escaped(text, at+5)
		if unit > 0xDBFF || second < 0xDC00 || second > 0xDFFF {
			return true
		}
		at += 10
	}
	return false
}

// escaped returns the code unit of the escape at a place.
func escaped(text string, at int) (uint64, bool) {
	if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(text[at+2:at+6], 16, 16)
	return unit, err == nil
}
