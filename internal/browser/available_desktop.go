//go:build windows || darwin

package browser

import "runtime"

// available checks for the open command of macOS. Windows opens a URL by a
// system call, which is always there.
func available() error {
	if runtime.GOOS == "darwin" && !lookPath("open") {
		return none("open is not on the PATH; add /usr/bin to it, or open the URL by hand")
	}
	return nil
}
