package peer

import (
	"net/netip"
	"os"
	"strconv"
)

// socket is what the kernel reports about one TCP socket.
type socket struct {
	state uint64 // TCP_ESTABLISHED, TCP_LISTEN, …
	uid   uint64 // the user that created it
	inode uint64 // 0: the process has closed it
}

const stateEstablished = 1 // TCP_ESTABLISHED

// finder returns the socket at local that is connected to remote. If remote is
// the zero value, it returns the socket that listens at local.
type finder func(local, remote netip.AddrPort) (socket, bool)

func owner(local, remote netip.AddrPort) User { return ownerBy(find, local, remote) }

// ownerBy looks for the peer's socket. Its local address is our remote one.
//
// A closed socket would be the way around this check. The kernel reports it as
// root's or does not report it at all, and an attacker can send a request and
// close at once. So a socket without an inode counts as another user's. So does
// a socket that is gone while our own end shows that the connection is over.
//
// If the peer's socket is missing and our own end is still established, the
// peer is in another network namespace or outside the virtual machine, as with
// WSL's mirrored network. The result is then Unknown. A table under /proc can
// miss a row while it changes, so that conclusion takes three attempts.
func ownerBy(find finder, local, remote netip.AddrPort) User {
	for range 3 {
		if s, ok := find(remote, local); ok {
			if s.inode == 0 {
				return OtherUser
			}
			return userOf(s.uid)
		}
		if s, ok := find(local, remote); !ok || s.state != stateEstablished {
			if _, ok := find(local, netip.AddrPort{}); !ok {
				return Unknown // our listener is not visible: another network namespace
			}
			return OtherUser
		}
	}
	return Unknown
}

// userOf compares uid with the user of this process. Root can read this
// process's memory, so refusing root would stop nothing. Under sudo the browser
// still runs as the user that called sudo.
func userOf(uid uint64) User {
	if uid == 0 || uid == uint64(os.Getuid()) || uid == uint64(os.Geteuid()) {
		return SameUser
	}
	if sudo, err := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 32); err == nil && sudo == uid {
		return SameUser
	}
	return OtherUser
}

// find asks the kernel directly, and reads its tables if that is not possible.
func find(local, remote netip.AddrPort) (socket, bool) {
	if s, ok, err := findByDiag(local, remote); err == nil {
		return s, ok
	}
	return findInTables(local, remote)
}
