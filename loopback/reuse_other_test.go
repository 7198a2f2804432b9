//go:build !linux

package loopback_test

import "net"

func bindReusing(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		l.Close()
	}
	return err
}
