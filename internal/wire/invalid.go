// Has the one error for an answer that failed a check.
//
// A caller must be able to tell an invalid answer from a failure of the
// network: the second may pass by itself, the first may be an attack. So every
// refusal of an answer, by any package here, matches the same value.

package wire

import (
	"errors"
	"fmt"
)

// ErrInvalidResponse means that what a server sent failed a check. Every
// refusal of a server's answer matches it; the message names the check.
// oauthclient.ErrInvalidResponse is this value.
var ErrInvalidResponse = errors.New("invalid response")

// Refusal is the text of an error that matches ErrInvalidResponse. It is for
// variables: what Invalid makes would be made in every program before main.
type Refusal string

func (r Refusal) Error() string { return ErrInvalidResponse.Error() + ": " + string(r) }

func (Refusal) Unwrap() error { return ErrInvalidResponse }

// Invalid returns an error that matches ErrInvalidResponse and wraps the
// arguments as fmt.Errorf does. If an argument matches it already, the words
// "invalid response" are not repeated.
func Invalid(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if errors.Is(err, ErrInvalidResponse) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalidResponse, err)
}
