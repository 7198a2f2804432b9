//go:build !linux

package loopback_test

import (
	"io"
	"net"
	"time"
)

// newJunk returns a function that sends one of eight kinds of junk requests.
func newJunk(host string, request []byte) func(kind int) error {
	return func(kind int) error {
		c, err := net.Dial("tcp", host)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetLinger(0) // or the machine runs out of ports
		if kind == 1 {                    // says nothing
			return nil
		}
		if _, err := c.Write(request); err != nil {
			return err
		}
		if kind == 0 { // waits for the answer
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = io.Copy(io.Discard, c)
		}
		return nil
	}
}

// bindReusing tries to bind addr again. No options are known for this system.
func bindReusing(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		l.Close()
	}
	return err
}
