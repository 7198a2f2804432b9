package loopback

import "net"

// Owner names whose the other end of an accepted connection is.
func Owner(c net.Conn) string {
	return [...]string{unknown: "unknown", friend: "friend", stranger: "stranger"}[owner(c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort())]
}
