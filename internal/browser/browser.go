package browser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrNone means that there is nothing to open a URL with. The message of an
// error that matches it says what is missing and what to do.
var ErrNone = errors.New("no browser to open")

// ErrLauncher means that the system's launcher was started and failed.
var ErrLauncher = errors.New("the browser could not be started")

// notice is how long Open watches a launcher for an immediate failure. xdg-open
// takes tens of milliseconds to fail on an idle machine. The listener serves
// meanwhile, so a browser that did start loses nothing.
const notice = 2 * time.Second

// launcher opens a URL. It returns when what it started has ended.
type launcher func(url string) error

// Available reports whether [Open] has something to open a URL with: nil, or an
// error that matches [ErrNone]. It looks at the environment and the PATH, and
// starts nothing.
func Available() error {
	_, err := find()
	return err
}

// Open opens rawURL in the system's browser. It returns when the launcher has
// ended, or after two seconds if the launcher goes on running, as a browser in
// the foreground does. Open does not know what happens in the browser.
//
// rawURL must be https, or http on a loopback address. An error matches
// wire.ErrUnsafeURL or [ErrNone], and nothing was started, or [ErrLauncher], or
// it is ctx's own. It never contains the URL.
func Open(ctx context.Context, rawURL string) error { return open(ctx, rawURL, notice, nil) }

// Watch is like [Open], but goes on watching the launcher: a large browser takes
// seconds to find out that it has no display. If the launcher fails after Watch
// has returned, Watch calls failed once, from another goroutine, with an error
// that matches [ErrLauncher]. A nil failed is not called.
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
	open, err := find()
	if err != nil {
		return err
	}
	// The goroutine lasts as long as the launcher, which may be the browser itself. The
	// end of ctx must not end that.
	ended := make(chan error, 1)
	go func() { ended <- open(encode(u)) }()
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
	return fmt.Errorf("browser: %w (%s); "+
		"open the URL by hand, or set BROWSER to a browser's command", ErrLauncher, reason(err))
}

// reason says why a launcher failed. It leaves out the launcher's arguments and
// output, which can contain the URL.
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

// encode returns u without any character on which a shell, or a launcher written
// in shell, would act. url.URL alone leaves $, (, ), backtick and others. An &
// stays, because it separates the parameters, and the URL is one argument.
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

// lookPath reports whether a launcher is on the PATH. One that is found in the
// working directory does not count (exec.ErrDot): anyone with write access
// could have put it there.
func lookPath(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

func none(why string) error { return fmt.Errorf("browser: %w: %s", ErrNone, why) }

func isSet(name string) bool { return os.Getenv(name) != "" }
