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

// Tap lies between a process and the session bus, and hands on what they say to each other. A test that arms it has something
// happen at one message, such as the end of the process, which then did so much and no more of its call to the secret service.
type Tap struct {
	Env string // "NAME=value" after Session.Env, for the process

	bus   string
	conns sync.WaitGroup

	mu    sync.Mutex
	open  []net.Conn
	steps []string
	do    func() (handOn bool)
}

// Tap returns a tap on the session's bus, which ends with the test.
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
	p := &Tap{Env: "DBUS_SESSION_BUS_ADDRESS=unix:path=" + path, bus: strings.TrimPrefix(s.Address, "unix:path=")}
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

// Arm has do run when the last of steps comes, after the others in this order. A step is "call Member" or "reply Member", as in
// "call CreateItem". What do returns is whether this message is handed on; if not, nothing after it is either.
func (p *Tap) Arm(do func() (handOn bool), steps ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.do, p.steps = do, steps
}

// pass reports whether a message is handed on.
func (p *Tap) pass(step string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.steps) == 0 || p.steps[0] != step {
		return true
	}
	p.steps = p.steps[1:]
	return len(p.steps) > 0 || p.do()
}

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
	for { // authentication: the bus answers each line but the last with one
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
	var calls sync.Map // the member by the serial
	p.conns.Go(func() {
		defer conn.Close()
		hand(down, conn, func(m *dbus.Message) bool {
			member, _ := calls.Load(m.Headers[dbus.FieldReplySerial].Value())
			name, _ := member.(string)
			return m.Type != dbus.TypeMethodReply || p.pass("reply "+name)
		})
	})
	hand(up, bus, func(m *dbus.Message) bool {
		name, _ := m.Headers[dbus.FieldMember].Value().(string)
		calls.Store(m.Serial(), name)
		return m.Type != dbus.TypeMethodCall || p.pass("call "+name)
	})
}

// hand hands messages on, as long as they pass.
func hand(from io.Reader, to io.Writer, pass func(*dbus.Message) bool) {
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
