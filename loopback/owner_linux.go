package loopback

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
)

// owner asks the kernel about the connection's other end.
//
// A socket that its process has closed is shown as root's, or not at all, and an attacker can send a request and close at
// once: so an end without an inode is a stranger's, and so is one that is gone while our listener is found. An end that is not
// found while ours stays established lives in another network namespace or outside a virtual machine (WSL's mirrored network):
// unknown. A table may miss a row while it changes, hence the repetition.
func owner(local, remote netip.AddrPort) whose { return ownerBy(find, local, remote) }

func ownerBy(find func(local, remote netip.AddrPort) (row, bool), local, remote netip.AddrPort) whose {
	if !remote.Addr().Unmap().IsLoopback() && remote.Addr().Unmap() != local.Addr().Unmap() {
		return unknown
	}
	for range 3 {
		if row, ok := find(remote, local); ok {
			if row.inode == 0 {
				return stranger
			}
			return user(row.uid)
		}
		if row, ok := find(local, remote); !ok || row.state != established {
			if _, ok := find(local, netip.AddrPort{}); !ok {
				return unknown // not our network namespace
			}
			return stranger
		}
	}
	return unknown
}

func user(uid uint64) whose {
	if uid == 0 || uid == uint64(os.Getuid()) || uid == uint64(os.Geteuid()) {
		return friend
	}
	if sudo, err := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 32); err == nil && sudo == uid {
		return friend
	}
	return stranger
}

const established = 1

type row struct {
	state      uint64
	uid, inode uint64
}

// find returns what is known of the socket at local that is connected to remote; of the one that listens at local, for the zero remote.
func find(local, remote netip.AddrPort) (row, bool) {
	if r, ok, err := diagnose(local, remote); err == nil {
		return r, ok
	}
	return findInTables(local, remote)
}

// findInTables is for where the kernel is not asked directly. An IPv4 socket may also stand in the IPv6 table, by its mapped address.
func findInTables(local, remote netip.AddrPort) (row, bool) {
	v4 := local.Addr().Unmap().Is4()
	if v4 {
		if r, ok := search("/proc/net/tcp", needle(local, remote, false)); ok {
			return r, true
		}
	}
	return search("/proc/net/tcp6", needle(local, remote, true))
}

func search(table string, needle []byte) (row, bool) {
	f, err := os.Open(table)
	if err != nil {
		return row{}, false
	}
	defer f.Close()
	lines := bufio.NewScanner(bufio.NewReaderSize(f, 64<<10))
	for lines.Scan() {
		if bytes.Contains(lines.Bytes(), needle) {
			return parseRow(lines.Bytes())
		}
	}
	return row{}, false
}

// parseRow reads a line of proc_net_tcp(5): sl local rem st tx:rx tr:when retrnsmt uid timeout inode …
func parseRow(line []byte) (row, bool) {
	fields := bytes.Fields(line)
	if len(fields) < 10 {
		return row{}, false
	}
	state, err1 := strconv.ParseUint(string(fields[3]), 16, 8)
	uid, err2 := strconv.ParseUint(string(fields[7]), 10, 32)
	inode, err3 := strconv.ParseUint(string(fields[9]), 10, 64)
	return row{state, uid, inode}, err1 == nil && err2 == nil && err3 == nil
}

// needle is "local remote " as the table writes them: addresses as words in the machine's byte order.
func needle(local, remote netip.AddrPort, v6 bool) []byte {
	if !remote.Addr().IsValid() {
		remote = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
		if v6 && !local.Addr().Is4() {
			remote = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
		}
	}
	return fmt.Appendf(nil, " %s:%04X %s:%04X ", words(local.Addr(), v6), local.Port(), words(remote.Addr(), v6), remote.Port())
}

func words(a netip.Addr, v6 bool) []byte {
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
