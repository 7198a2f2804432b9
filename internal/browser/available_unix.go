//go:build linux || freebsd || netbsd || openbsd

package browser

import (
	"os"
	"runtime"
)

// available refuses where xdg-open would start a text browser in the person's terminal: without a display, and
// without BROWSER, with which the person has chosen.
func available() error {
	display := env("DISPLAY") || env("WAYLAND_DISPLAY")
	chosen := env("BROWSER") && os.Getenv("BROWSER") != "xdg-open" // xdg-open drops its own name
	switch {
	case !display && !chosen:
		return none("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); open the URL by hand, or set BROWSER to a browser's command")
	case lookPath("xdg-open"):
		return nil
	case runtime.GOOS == "linux" && display && lookPath("x-www-browser"): // pkg/browser's next choice there; it does not know BROWSER
		return nil
	}
	return none("xdg-open is not on the PATH; install xdg-utils, or open the URL by hand")
}
