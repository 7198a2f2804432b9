//go:build linux || freebsd || netbsd || openbsd

package browser

import (
	"os"
	"runtime"
)

// available fails if xdg-open would start a text browser in the user's terminal:
// if there is no display, and the user has not chosen a browser with BROWSER.
func available() error {
	display := isSet("DISPLAY") || isSet("WAYLAND_DISPLAY")
	// xdg-open ignores BROWSER=xdg-open, which would be a loop.
	chosen := isSet("BROWSER") && os.Getenv("BROWSER") != "xdg-open"
	switch {
	case !display && !chosen:
		return none("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); " +
			"open the URL by hand, or set BROWSER to a browser's command")
	case lookPath("xdg-open"):
		return nil
	// On Linux, pkg/browser tries this next. It does not read BROWSER.
	case runtime.GOOS == "linux" && display && lookPath("x-www-browser"):
		return nil
	}
	return none("xdg-open is not on the PATH; install xdg-utils, or open the URL by hand")
}
