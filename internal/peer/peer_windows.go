package peer

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// servicesSession is the logon session of the services of Windows. They run
// with the system's rights and can act for every user.
const servicesSession = 0

// patience bounds a lookup. The table of connections takes long to make if there
// are many, and a browser waits for its page meanwhile.
const patience = time.Second

// looking holds a value during a lookup: others wait, so that many requests at once
// do not make as many tables.
var looking = make(chan struct{}, 1)

// owner is [lookUp] within a bounded time. After that, the owner is [Unknown].
func owner(local, remote netip.AddrPort) User {
	enough := time.NewTimer(patience)
	defer enough.Stop()
	select {
	case looking <- struct{}{}:
	case <-enough.C:
		return Unknown
	}
	found := make(chan User, 1)
	go func() {
		defer func() { <-looking }()
		found <- lookUp(local, remote)
	}()
	select {
	case user := <-found:
		return user
	case <-enough.C:
		return Unknown
	}
}

// lookUp finds the process of the peer and compares its user with ours.
//
// The token of another user's process cannot be opened without privilege. Its
// logon session can be read by anyone. So if the token is closed to us, a
// session other than ours and other than that of the services means another
// user.
func lookUp(local, remote netip.AddrPort) User {
	pid, ok := processOf(remote, local)
	if !ok || pid == 0 {
		return Unknown
	}
	self := windows.GetCurrentProcessId()
	var theirs, ours uint32
	if windows.ProcessIdToSessionId(pid, &theirs) != nil ||
		windows.ProcessIdToSessionId(self, &ours) != nil {
		return Unknown
	}
	if sid, ok := userSID(pid); ok {
		if own, ok := userSID(self); ok {
			if sid.Equals(own) || theirs == servicesSession {
				return SameUser
			}
			return OtherUser
		}
	}
	if theirs != servicesSession && theirs != ours {
		return OtherUser
	}
	return Unknown
}

// userSID returns the security identifier of the user that runs a process, if
// this process may read it.
func userSID(pid uint32) (*windows.SID, bool) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return nil, false
	}
	defer windows.CloseHandle(h)
	var token windows.Token
	if windows.OpenProcessToken(h, windows.TOKEN_QUERY, &token) != nil {
		return nil, false
	}
	defer token.Close()
	u, err := token.GetTokenUser()
	if err != nil {
		return nil, false
	}
	// The SID points into u's buffer, which is freed with u.
	sid, err := u.User.Sid.Copy()
	return sid, err == nil
}

// processOf returns the process that has the socket at local that is connected
// to remote.
func processOf(local, remote netip.AddrPort) (pid uint32, ok bool) {
	const ownerPIDConnections = 4 // TCP_TABLE_OWNER_PID_CONNECTIONS
	proc := windows.NewLazySystemDLL("iphlpapi.dll").NewProc("GetExtendedTcpTable")
	if proc.Find() != nil {
		return 0, false
	}
	v6 := !local.Addr().Unmap().Is4()
	family, width := uintptr(windows.AF_INET), 24 // MIB_TCPROW_OWNER_PID
	if v6 {
		family, width = windows.AF_INET6, 56 // MIB_TCP6ROW_OWNER_PID
	}
	size := uint32(64 << 10)
	// The call writes the needed size. The table can grow before the next call.
	for range 5 {
		table := make([]byte, size)
		r, _, _ := proc.Call(uintptr(unsafe.Pointer(&table[0])), uintptr(unsafe.Pointer(&size)),
			0, family, ownerPIDConnections, 0)
		if windows.Errno(r) == windows.ERROR_INSUFFICIENT_BUFFER {
			continue
		}
		if r != 0 {
			return 0, false
		}
		n, rows := binary.NativeEndian.Uint32(table), table[4:]
		for ; n > 0 && len(rows) >= width; n, rows = n-1, rows[width:] {
			if pid, ok := matchRow(rows[:width], local, remote, v6); ok {
				return pid, true
			}
		}
		return 0, false
	}
	return 0, false
}

// matchRow returns the process of a row if the row has the given ends. A row
// consists of 32-bit words:
//
//	IPv4: state, local address, port, remote address, port, process
//	IPv6: local address (4), scope, port, remote address (4), scope, port, state, process
//
// A port is in network byte order, in the first half of its word.
func matchRow(row []byte, local, remote netip.AddrPort, v6 bool) (pid uint32, ok bool) {
	end := func(addr, port []byte) netip.AddrPort {
		a, _ := netip.AddrFromSlice(addr)
		return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
	}
	var l, r netip.AddrPort
	if v6 {
		l, r = end(row[0:16], row[20:]), end(row[24:40], row[44:])
		pid = binary.NativeEndian.Uint32(row[52:])
	} else {
		l, r = end(row[4:8], row[8:]), end(row[12:16], row[16:])
		pid = binary.NativeEndian.Uint32(row[20:])
	}
	same := func(a, b netip.AddrPort) bool {
		return a.Port() == b.Port() && a.Addr() == b.Addr().Unmap()
	}
	return pid, same(l, local) && same(r, remote)
}
