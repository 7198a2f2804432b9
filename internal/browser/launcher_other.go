//go:build !unix && !windows

package browser

// find fails: this system has no known launcher.
func find() (launcher, error) {
	return nil, none("this operating system has no known launcher; open the URL by hand")
}
