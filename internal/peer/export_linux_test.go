package peer

import (
	"net"
	"net/netip"
)

var finders = map[string]finder{
	"find":   find,
	"tables": findInTables,
	"diag": func(local, remote netip.AddrPort) (socket, bool) {
		s, ok, err := findByDiag(local, remote)
		return s, ok && err == nil
	},
}

// Owners returns the owner of the other end of c, by each finder. It leaves out
// sock_diag if the kernel has no tcp_diag, or a sandbox forbids it.
func Owners(c net.Conn) map[string]User {
	all := map[string]User{}
	for name := range finders {
		if _, _, err := findByDiag(ends(c)); name != "diag" || err == nil {
			all[name] = OwnerBy(name, c)
		}
	}
	return all
}

// OwnerBy returns the owner of the other end of c, by one finder.
func OwnerBy(finder string, c net.Conn) User {
	local, remote := ends(c)
	return ownerBy(finders[finder], local, remote)
}

func ends(c net.Conn) (local, remote netip.AddrPort) {
	return c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
}
