//go:build !unix

package loopback

import "net"

// unread is not implemented for this system. A new connection is then protected
// for the time of settling only.
func unread(net.Conn) bool { return false }
