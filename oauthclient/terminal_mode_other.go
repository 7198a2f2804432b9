//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package oauthclient

import (
	"context"
	"io"
)

// longLines does nothing: no limit of a terminal's line is known for this system.
func longLines(context.Context, io.Reader) (e *lineEditor, restore func()) {
	return nil, func() {}
}
