// Package wire holds what every package here reads and writes with: URLs that
// are safe to open, JSON that is read strictly, secrets that do not print, text
// that is safe to show, and the one error for an invalid answer. It does not
// import net/http.
package wire

import (
	"errors"
	"fmt"
)

// ErrInvalidResponse means that what a server sent failed a check. Every refusal
// of a server's answer matches it; the message names the check.
// oauthclient.ErrInvalidResponse is this value.
var ErrInvalidResponse = errors.New("invalid response")

// Invalid returns an error that matches ErrInvalidResponse. The arguments are
// those of fmt.Errorf.
func Invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalidResponse, fmt.Errorf(format, args...))
}
