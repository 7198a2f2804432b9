//go:build !unix && !windows

package browser

import "errors"

// find fails: this system has no known launcher.
func find() (*launcher, error) {
	return nil, none("this operating system has no known launcher; open the URL by hand")
}

type launcher struct{}

func (*launcher) run(string) error { return errors.ErrUnsupported }
