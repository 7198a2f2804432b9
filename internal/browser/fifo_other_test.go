//go:build !unix

package browser_test

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
