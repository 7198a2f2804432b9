// Package peer finds out which local user owns the other end of a TCP
// connection (S90 of docs/security.md).
//
// Every user of a computer can connect to a listener on 127.0.0.1. Neither
// HTTP nor TCP says which of them did, but the operating system knows. The
// loopback listener asks it before it accepts an authorization response, so
// that another user of the same machine cannot take the ticket or send a
// response of their own.
//
// # How each system is asked
//
//   - Linux: the kernel's sock_diag interface reports the socket's user and
//     inode. If a sandbox forbids it, /proc/net/tcp and /proc/net/tcp6 are read.
//   - Windows: GetExtendedTcpTable reports the process that has the socket, and
//     that process's token or logon session identifies its user.
//   - Other systems: nothing is asked. [Owner] returns [Unknown].
//
// # What it cannot see
//
// A connection from another machine has no local owner. The other end may also
// be in another network namespace (a container, or a port forwarded by ssh -R
// or docker) or outside the virtual machine (WSL). On Windows, the token of a
// process can be unreadable.
//
// These cases are [Unknown], and a caller should accept them. Refusing them
// would break logins on macOS and in containers, and this check is not the only
// one: a response still needs the state of the authorization request. The check
// makes it harder for another local user to interfere with a login; it does not
// replace the state or PKCE.
//
// The functions of this package keep no state and are safe for concurrent use.
package peer

import "net/netip"

// User says which user owns the other end of a connection.
type User int

const (
	// Unknown means that the system does not say. It is the zero value.
	Unknown User = iota
	// SameUser is the user of this process. It includes the users that can act
	// for that user anyway: root, the services of Windows, and the user that
	// called sudo.
	SameUser
	// OtherUser is any other user. It is also the result for a peer that has
	// closed its socket, because a process can do that to hide its owner.
	OtherUser
)

// Owner reports which user owns the other end of an accepted TCP connection.
// local and remote are the addresses of the connection as the accepting side
// sees them. Owner never fails: it returns [Unknown] if the system does not
// say, or if remote is not an address of this machine.
func Owner(local, remote netip.AddrPort) User {
	// A machine also reaches itself by its other addresses. Both ends then have
	// the same one.
	if !remote.Addr().Unmap().IsLoopback() && remote.Addr().Unmap() != local.Addr().Unmap() {
		return Unknown
	}
	return owner(local, remote)
}
