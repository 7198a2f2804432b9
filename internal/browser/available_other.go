//go:build !linux && !freebsd && !netbsd && !openbsd && !windows && !darwin

package browser

// available fails: pkg/browser knows no launcher for this system.
func available() error {
	return none("this operating system has no known launcher; open the URL by hand")
}
