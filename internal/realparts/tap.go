//go:build linux

package realparts

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"
)

// Tap lies between a process and the session bus, and passes on their messages.
// A test arms it to make something happen at one message. If it kills the
// process there, the process has done exactly this part of its call to the
// secret service.
type Tap struct {
	Env string // "NAME=value" after Session.Env, for the process

	bus   string
	conns sync.WaitGroup

	mu    sync.Mutex
	open  []net.Conn
	steps []string
	do    func() (pass bool)
}

// Tap returns a tap on the session's bus. It ends with the test.
func (s *Session) Tap() *Tap {
	s.tb.Helper()
	dir, err := os.MkdirTemp("", "tap")
	if err != nil {
		s.tb.Fatal(err)
	}
	path := filepath.Join(dir, "bus")
	ln, err := net.Listen("unix", path)
	if err != nil {
		s.tb.Fatal(err)
	}
	p := &Tap{
		Env: "DBUS_SESSION_BUS_ADDRESS=unix:path=" + path,
		bus: strings.TrimPrefix(s.Address, "unix:path="),
	}
	p.conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { p.serve(conn) })
		}
	})
	s.tb.Cleanup(func() {
		_ = ln.Close()
		p.mu.Lock()
		for _, conn := range p.open {
			_ = conn.Close()
		}
		p.mu.Unlock()
		p.conns.Wait()
		_ = os.RemoveAll(dir)
	})
	return p
}

// Arm makes the tap call do at the last of steps, after the others have passed
// in this order. A step is "call Member" or "reply Member", as in "call
// CreateItem". do returns whether the message is passed on. If it is not, no
// message after it is either.
func (p *Tap) Arm(do func() (pass bool), steps ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.do, p.steps = do, steps
}

// pass reports whether a message is passed on.
func (p *Tap) pass(step string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.steps) == 0 || p.steps[0] != step {
		return true
	}
	p.steps = p.steps[1:]
	return len(p.steps) > 0 || p.do()
}

// serve passes on the messages of one connection to the bus.
func (p *Tap) serve(conn net.Conn) {
	defer conn.Close()
	bus, err := net.Dial("unix", p.bus)
	if err != nil {
		return
	}
	defer bus.Close()
	p.mu.Lock()
	p.open = append(p.open, conn, bus)
	p.mu.Unlock()
	up, down := bufio.NewReader(conn), bufio.NewReader(bus)
	// The connection begins with the lines of the authentication. The bus
	// answers each of them except the last.
	for {
		line, err := up.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(bus, line)
		if line == "BEGIN\r\n" {
			break
		}
		if line, err = down.ReadString('\n'); err != nil {
			return
		}
		_, _ = io.WriteString(conn, line)
	}
	var calls sync.Map // the member of each call, by its serial
	p.conns.Go(func() {
		defer conn.Close()
		forward(down, conn, func(m *dbus.Message) bool {
			member, _ := calls.Load(m.Headers[dbus.FieldReplySerial].Value())
			name, _ := member.(string)
			return m.Type != dbus.TypeMethodReply || p.pass("reply "+name)
		})
	})
	forward(up, bus, func(m *dbus.Message) bool {
		name, _ := m.Headers[dbus.FieldMember].Value().(string)
		calls.Store(m.Serial(), name)
		return m.Type != dbus.TypeMethodCall || p.pass("call "+name)
	})
}

// forward copies messages until one does not pass.
func forward(from io.Reader, to io.Writer, pass func(*dbus.Message) bool) {
	for {
		var raw bytes.Buffer
		m, err := dbus.DecodeMessage(io.TeeReader(from, &raw))
		if err != nil || !pass(m) {
			return
		}
		if _, err := to.Write(raw.Bytes()); err != nil {
			return
		}
	}
}
