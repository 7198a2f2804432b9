// Reads the audience of a JWT (RFC 7519 §4.1.3).

package jose

import (
	"errors"

	"github.com/go-jose/go-jose/v4/json"
)

// Audience returns the audiences in raw, the value of an aud claim: a string or a list
// of strings. It is an error if raw is neither, and if it is nil or null. The error
// repeats nothing of raw.
func Audience(raw []byte) ([]string, error) {
	var one string
	if raw == nil || string(raw) == "null" {
		return nil, errors.New("aud is missing")
	}
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []*string
	if json.Unmarshal(raw, &many) != nil {
		return nil, errors.New("aud is neither a string nor a list of strings")
	}
	out := make([]string, len(many))
	for i, s := range many {
		if s == nil {
			return nil, errors.New("aud is neither a string nor a list of strings")
		}
		out[i] = *s
	}
	return out, nil
}
