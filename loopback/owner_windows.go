package loopback

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

// owner looks the other end's process up in the system's table. The user of another's process cannot be read without privilege, but its
// logon session can: another session than ours, and not that of the services, is another person's.
func owner(local, remote netip.AddrPort) whose {
	if !remote.Addr().Unmap().IsLoopback() && remote.Addr().Unmap() != local.Addr().Unmap() {
		return unknown
	}
	pid, ok := process(remote, local)
	if !ok || pid == 0 {
		return unknown
	}
	var theirs, ours uint32
	if windows.ProcessIdToSessionId(pid, &theirs) != nil || windows.ProcessIdToSessionId(windows.GetCurrentProcessId(), &ours) != nil {
		return unknown
	}
	if sid, ok := processUser(pid); ok {
		if me, ok := processUser(windows.GetCurrentProcessId()); ok {
			if sid.Equals(me) || theirs == 0 {
				return friend
			}
			return stranger
		}
	}
	if theirs != 0 && theirs != ours {
		return stranger
	}
	return unknown
}

func processUser(pid uint32) (*windows.SID, bool) {
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
	sid, err := u.User.Sid.Copy()
	return sid, err == nil
}

// process returns the process that has the socket at local which is connected to remote.
func process(local, remote netip.AddrPort) (uint32, bool) {
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
	for range 5 { // the table may grow between the calls
		table := make([]byte, size)
		r, _, _ := proc.Call(uintptr(unsafe.Pointer(&table[0])), uintptr(unsafe.Pointer(&size)), 0, family, ownerPIDConnections, 0)
		if windows.Errno(r) == windows.ERROR_INSUFFICIENT_BUFFER {
			continue
		}
		if r != 0 {
			return 0, false
		}
		rows := table[4:]
		for n := binary.NativeEndian.Uint32(table); n > 0 && len(rows) >= width; n, rows = n-1, rows[width:] {
			if pid, ok := matchRow(rows[:width], local, remote, v6); ok {
				return pid, true
			}
		}
		return 0, false
	}
	return 0, false
}

// matchRow reads one row; ports are in network order, in the first half of a word.
func matchRow(row []byte, local, remote netip.AddrPort, v6 bool) (pid uint32, ok bool) {
	end := func(addr, port []byte) netip.AddrPort {
		a, _ := netip.AddrFromSlice(addr)
		return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
	}
	var l, r netip.AddrPort
	if v6 { // local[16] scope port remote[16] scope port state pid
		l, r, pid = end(row[0:16], row[20:]), end(row[24:40], row[44:]), binary.NativeEndian.Uint32(row[52:])
	} else { // state local port remote port pid
		l, r, pid = end(row[4:8], row[8:]), end(row[12:16], row[16:]), binary.NativeEndian.Uint32(row[20:])
	}
	same := func(a, b netip.AddrPort) bool { return a.Port() == b.Port() && a.Addr() == b.Addr().Unmap() }
	return pid, same(l, local) && same(r, remote)
}
