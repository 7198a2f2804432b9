package peer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
)

// findInTables reads the tables of proc_net_tcp(5). It takes milliseconds, and
// is for systems that do not allow sock_diag.
func findInTables(local, remote netip.AddrPort) (socket, bool) {
	if local.Addr().Unmap().Is4() {
		if s, ok := search("/proc/net/tcp", rowKey(local, remote, false)); ok {
			return s, true
		}
	}
	// A dual-stack socket is in the IPv6 table, with IPv4-mapped addresses.
	return search("/proc/net/tcp6", rowKey(local, remote, true))
}

func search(table string, key []byte) (socket, bool) {
	f, err := os.Open(table)
	if err != nil {
		return socket{}, false
	}
	defer f.Close()
	lines := bufio.NewScanner(bufio.NewReaderSize(f, 64<<10))
	for lines.Scan() {
		if bytes.Contains(lines.Bytes(), key) {
			return parseRow(lines.Bytes())
		}
	}
	return socket{}, false
}

// parseRow parses one line of a table. Its columns are
//
//	sl local remote state tx:rx tr:when retransmits uid timeout inode …
func parseRow(line []byte) (socket, bool) {
	fields := bytes.Fields(line)
	if len(fields) < 10 {
		return socket{}, false
	}
	state, err1 := strconv.ParseUint(string(fields[3]), 16, 8)
	uid, err2 := strconv.ParseUint(string(fields[7]), 10, 32)
	inode, err3 := strconv.ParseUint(string(fields[9]), 10, 64)
	return socket{state, uid, inode}, err1 == nil && err2 == nil && err3 == nil
}

// rowKey returns the columns "local remote" as a table writes them. The spaces
// around them keep a port from matching the beginning of a longer field. The
// table has zeros for the remote end of a listening socket.
func rowKey(local, remote netip.AddrPort, v6 bool) []byte {
	if !remote.Addr().IsValid() {
		remote = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
		if v6 && !local.Addr().Is4() {
			remote = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
		}
	}
	return fmt.Appendf(nil, " %s:%04X %s:%04X ",
		hexAddr(local.Addr(), v6), local.Port(), hexAddr(remote.Addr(), v6), remote.Port())
}

// hexAddr writes an address as 32-bit words in the machine's byte order, which
// is how the kernel prints them.
func hexAddr(a netip.Addr, v6 bool) []byte {
	b := a.Unmap().AsSlice()
	if v6 {
		long := a.As16()
		b = long[:]
	}
	var out []byte
	for ; len(b) >= 4; b = b[4:] {
		out = fmt.Appendf(out, "%08X", binary.NativeEndian.Uint32(b))
	}
	return out
}
