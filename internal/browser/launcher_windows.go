package browser

import (
	"sync"

	pkgbrowser "github.com/pkg/browser"
)

// find returns the system call that opens a URL, which is always there.
func find() (launcher, error) { return desktop, nil }

// desktop opens url with the system's own launcher. The browser that this starts
// belongs to the system, and not to the terminal.
func desktop(url string) error {
	quiet()
	return pkgbrowser.OpenURL(url)
}

// quiet keeps launchers off the program's terminal. The writers are global
// variables of pkg/browser, which each call reads in its goroutine without a
// lock. So they are set once, before the first call.
//
// With nil, os/exec opens the null device for each launcher. With io.Discard it
// would make a pipe, and wait for the browser to close it.
var quiet = sync.OnceFunc(func() { pkgbrowser.Stdout, pkgbrowser.Stderr = nil, nil })
