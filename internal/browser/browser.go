// Package browser opens a URL in the person's own browser, through github.com/pkg/browser, and stands in
// front of what that does on its own: a launcher's chatter on the program's stdout, a call that lasts as long as a
// foreground browser lives, lynx or w3m taking over the terminal where there is no display, and URLs that a
// launcher written in shell could act on (S1–S5).
package browser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	pkgbrowser "github.com/pkg/browser"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrNone is matched where there is nothing to open a URL with. Its message says what is missing and what to do.
var ErrNone = errors.New("no browser to open")

// ErrLauncher is matched where the system's launcher was started and failed at once.
var ErrLauncher = errors.New("the browser could not be started")

// notice is how long Open watches a launcher for an immediate failure. xdg-open takes tens of milliseconds to fail on
// an idle machine; the listener serves meanwhile, so that a browser that did start loses nothing.
const notice = 2 * time.Second

// Available reports whether [Open] has something to open a URL with: nil, or an error that matches [ErrNone].
// It looks at the environment and the PATH, and starts nothing.
func Available() error { return available() }

// Open hands rawURL to the system's browser and returns soon: when the launcher has ended, or after two seconds of a
// launcher that goes on living, as one in the foreground does. What happens in the browser is not known to it.
//
// The URL must be https, or http on a loopback address; it is passed as one argument, with the characters that
// a shell would act on percent-encoded. Errors match wire.ErrUnsafeURL (nothing was started), [ErrNone] (nothing was
// started), [ErrLauncher], or ctx's own, and never hold the URL. It is safe for concurrent use.
func Open(ctx context.Context, rawURL string) error { return open(ctx, rawURL, notice, nil) }

// Watch is [Open], and calls failed, at most once and from a goroutine, with an [ErrLauncher] where the launcher fails only after it has returned: a large browser
// takes seconds to find that it has no display.
func Watch(ctx context.Context, rawURL string, failed func(error)) error {
	return open(ctx, rawURL, notice, failed)
}

func open(ctx context.Context, rawURL string, notice time.Duration, failed func(error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(rawURL)
	if err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	if err := Available(); err != nil {
		return err
	}
	quiet()

	ended := make(chan error, 1)
	go func() { ended <- pkgbrowser.OpenURL(encode(u)) }() // lasts as long as the launcher: nothing can end it
	timer := time.NewTimer(notice)
	defer timer.Stop()
	select {
	case err := <-ended:
		return launched(err)
	case <-timer.C:
		if failed != nil {
			go func() {
				if err := launched(<-ended); err != nil {
					failed(err)
				}
			}()
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func launched(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("browser: %w (%s); open the URL by hand, or set BROWSER to a browser's command", ErrLauncher, reason(err))
}

// quiet keeps launchers off the program's terminal. The writers are globals of pkg/browser, read by each call's goroutine
// without a lock: so they are set once, before the first call. nil makes os/exec open the null device for each launcher;
// any other writer that is not a file would be a pipe, for whose end the call waits until the browser dies.
func quiet() { muted.Do(func() { pkgbrowser.Stdout, pkgbrowser.Stderr = nil, nil }) }

var muted sync.Once

// reason says why a launcher failed without its arguments or output.
func reason(err error) string {
	var exit *exec.ExitError
	var start *exec.Error
	switch {
	case errors.As(err, &exit):
		return exit.ProcessState.String()
	case errors.As(err, &start):
		return start.Err.Error()
	}
	return "the system refused"
}

// encode writes u so that no character is left that a shell, or a launcher written in shell, would act on. url.URL leaves
// $, (, ), backtick and & alone. An & stays: it separates the parameters, and the URL is one argument.
func encode(u *url.URL) string {
	s := u.String()
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("`$()'\";|<>^{}\\*!", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// lookPath reports whether a launcher is on the PATH; one found through the working directory does not count (exec.ErrDot), for
// whoever can write there would be started in the browser's place.
func lookPath(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

func none(why string) error { return fmt.Errorf("browser: %w: %s", ErrNone, why) }

func env(name string) bool { return os.Getenv(name) != "" }
