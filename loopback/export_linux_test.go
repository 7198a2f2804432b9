package loopback

import (
	"net"
	"net/netip"
)

var ways = map[string]func(local, remote netip.AddrPort) (row, bool){
	"owner":  find,
	"tables": findInTables,
	"diag": func(local, remote netip.AddrPort) (row, bool) {
		r, ok, err := diagnose(local, remote)
		return r, ok && err == nil
	},
}

// Owners names whose the other end of an accepted connection is, by each of the ways to know it.
func Owners(c net.Conn) map[string]string {
	all := map[string]string{}
	for way := range ways {
		if _, _, err := diagnose(ends(c)); way != "diag" || err == nil { // else a kernel without tcp_diag, or a sandbox
			all[way] = OwnerBy(way, c)
		}
	}
	return all
}

// OwnerBy names it by one way.
func OwnerBy(way string, c net.Conn) string {
	local, remote := ends(c)
	return [...]string{unknown: "unknown", friend: "friend", stranger: "stranger"}[ownerBy(ways[way], local, remote)]
}

func ends(c net.Conn) (local, remote netip.AddrPort) {
	return c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
}
