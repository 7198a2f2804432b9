package realparts

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// givenPorts are those that this process was given. None is given twice.
var givenPorts sync.Map

// FreePort returns a port for what cannot be given a listener: a program, or a
// configuration with a fixed port.
//
// It is free on both loopback addresses, and lies below the range from which
// systems assign ports. A port out of that range is lost as soon as it is
// closed: the next connection of any other test may be given it.
func FreePort(tb testing.TB) uint16 {
	tb.Helper()
	for range 100 {
		port := uint16(20000 + rand.N(12000))
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		if free("127.0.0.1", port) && free("::1", port) {
			return port
		}
	}
	tb.Fatal("no port is free")
	return 0
}

// free reports whether port can be listened on. A machine without host's family
// has nobody there to take it.
func free(host string, port uint16) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return host == "::1" && !errors.Is(err, syscall.EADDRINUSE)
	}
	return l.Close() == nil
}
