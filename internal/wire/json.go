// Decodes JSON that came from the network or from disk.
//
// encoding/json matches field names without regard to case, keeps the last of two equal names, and
// replaces bad UTF-8: each lets a sender show one reader a different message from another's. Here
// names are exact, duplicates are refused (S51, S77), and text is valid UTF-8 or refused.

package wire

import (
	"errors"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// maxDepth is far beyond what any OAuth document nests, and keeps a hostile one from deep recursion.
const maxDepth = 64

// Errors say what is wrong, never what the text was.
var (
	ErrUTF8    = errors.New("not valid UTF-8")
	ErrDepth   = errors.New("JSON is nested too deeply")
	ErrInvalid = errors.New("not the JSON that was expected (malformed, a duplicate name, or a value of another type)")
)

// UnmarshalJSON decodes data, which must hold one JSON value and nothing else, into v.
// Its errors carry no part of data, nor do they wrap one that does.
func UnmarshalJSON(data []byte, v any) error {
	if !utf8.Valid(data) {
		return ErrUTF8
	}
	if jsonDepth(data) > maxDepth {
		return ErrDepth
	}
	var all any // a struct skips what it does not name, and with it the duplicates in there
	if json.Unmarshal(data, &all) != nil || json.Unmarshal(data, v) != nil {
		return ErrInvalid
	}
	return nil
}

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
