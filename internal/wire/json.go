// Decodes JSON that came from others, or from disk (RFC 8259).
//
// encoding/json ignores the case of names, keeps the last of two equal names,
// and replaces bad UTF-8. Each of these lets a sender show one reader another
// message than the next reader sees. Here names are exact, duplicates are
// refused (S51, S77), and text must be valid UTF-8. What this program has written
// itself may have duplicates in members that it does not read: see UnmarshalOwn.

package wire

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// maxDepth is far beyond what any OAuth document nests. It keeps a hostile one
// from deep recursion.
const maxDepth = 64

// Errors of UnmarshalJSON. They say what is wrong, never what the text was.
// They do not match ErrInvalidResponse, because not all JSON here comes from a
// server.
var (
	ErrUTF8  = errors.New("not valid UTF-8")
	ErrDepth = errors.New("JSON is nested too deeply")
	ErrJSON  = errors.New("not the JSON that was expected " +
		"(malformed, a duplicate name, or a value of another type)")
)

// UnmarshalJSON decodes data, which must hold one JSON value and nothing else,
// into v. Its errors carry no part of data, and wrap no error that does.
func UnmarshalJSON(data []byte, v any) error {
	if !utf8.Valid(data) {
		return ErrUTF8
	}
	if jsonDepth(data) > maxDepth {
		return ErrDepth
	}
	// A struct skips members that it does not name, and duplicates inside them.
	// So all of it is decoded first.
	var all any
	if json.Unmarshal(data, &all) != nil || json.Unmarshal(data, v) != nil {
		return mistyped(data, all, v)
	}
	return nil
}

// UnmarshalOwn decodes data that this program has written itself. It decodes once, and
// not twice as [UnmarshalJSON]: nobody else reads it, so it does not matter what another
// reader would see. Names are exact all the same, and the text is valid UTF-8. The
// error carries no part of data.
func UnmarshalOwn(data []byte, v any) error {
	if !utf8.Valid(data) || json.Unmarshal(data, v) != nil {
		return ErrJSON
	}
	return nil
}

// mistyped returns ErrJSON for data that cannot be decoded into v. If one member
// of a struct is at fault, the error names it and the type of its value.
func mistyped(data []byte, all, v any) error {
	object, isObject := all.(map[string]any)
	var raw map[string]json.RawMessage
	t := reflect.TypeOf(v).Elem()
	if !isObject || t.Kind() != reflect.Struct || json.Unmarshal(data, &raw) != nil {
		return ErrJSON
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		value, sent := raw[name]
		if sent && json.Unmarshal(value, reflect.New(t.Field(i).Type).Interface()) != nil {
			return fmt.Errorf("%w: %s is %s", ErrJSON, name, JSONKind(object[name]))
		}
	}
	return ErrJSON
}

// JSONKind names the type of a decoded JSON value, for an error's text.
func JSONKind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case float64, json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	}
	return "an object"
}

// jsonDepth returns how deeply data nests. It only counts brackets, so it is
// right for valid JSON and harmless for the rest.
func jsonDepth(data []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}
