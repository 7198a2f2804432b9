package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

const (
	rtt      = 50 * time.Millisecond
	userTime = time.Second // how long the user takes in the browser
)

// signIn is one login of one program.
type signIn struct {
	wait                               float64 // round trips from the callback to the verified token
	opened                             float64 // round trips from exec to the start of the launcher
	metadata, keys, token, connections int
}

// kindOfLogin describes the provider and the browser.
type kindOfLogin struct {
	name     string
	terms    terms
	chromium string // its path; "" means the stand-in
	goal     float64
}

// shim makes a directory with an xdg-open that leads to browser. Programs that
// open a page through the desktop find it.
func (b *bench) shim(chromium string) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "shim-")
	if err != nil {
		return "", err
	}
	line := fmt.Sprintf("'%s' \"$1\"", b.program("visit"))
	if chromium != "" {
		line = fmt.Sprintf(`profile=$(mktemp -d '%s/profile-XXXXXX')
'%s' --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-background-networking \
	--disable-component-update --disable-sync --disable-extensions --ignore-certificate-errors --password-store=basic \
	--remote-debugging-port=0 --user-data-dir="$profile" "$1"`, dir, chromium)
	}
	// The launcher returns at once, as a desktop's does.
	script := "#!/bin/sh\ndate +%s%N >'" + dir + "/opened'\n(" + line + ") >/dev/null 2>&1 </dev/null &\nexit 0\n"
	return dir, os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o700)
}

// freePort returns a port below the range from which the system assigns ports,
// so that no connection of the run is given it.
func freePort() string {
	for {
		port := strconv.Itoa(20000 + rand.N(12000))
		if ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			_ = ln.Close()
			return port
		}
	}
}

// signIn runs one login of a program.
func (b *bench) signIn(p *provider, program, shim string, env ...string) (signIn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m0, k0, t0 := p.requests()
	p.connections()
	p.answered.Store(0)
	defer endBrowser(shim)
	cmd := exec.CommandContext(ctx, b.program(program))
	cmd.Env = append(os.Environ(), "PATH="+shim+":"+os.Getenv("PATH"), "BROWSER="+filepath.Join(shim, "xdg-open"), "DISPLAY=:99", "SSL_CERT_FILE="+p.Roots,
		"BENCH_ISSUER="+p.Issuer(), "BENCH_CLIENT="+clientID, "BENCH_STORE=memory", "BENCH_PORT="+freePort(), "SSH_CONNECTION=")
	cmd.Env = append(cmd.Env, env...)
	out := &watched{want: []byte("verified "), seen: make(chan int64, 1)}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return signIn{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var at int64
	select {
	case at = <-out.seen:
		// A program may stay for its browser, or for idle connections. Its time
		// does not count.
		select {
		case <-ended:
		case <-time.After(3 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	case err := <-ended:
		select {
		case at = <-out.seen:
		default:
			return signIn{}, fmt.Errorf("%s: %v: %s", program, err, out.text())
		}
	}
	// The redirect reaches the browser half a round trip after the provider
	// sent it.
	callback := time.Unix(0, p.answered.Load()).Add(rtt / 2)
	m, k, t := p.requests()
	opened := float64(time.Unix(0, openedAt(shim)).Sub(began)) / float64(rtt)
	return signIn{float64(time.Unix(0, at).Sub(callback)) / float64(rtt), opened, m - m0, k - k0, t - t0, p.connections()}, nil
}

// endBrowser kills all processes of the browser that was started with a profile
// below dir, and waits for their end. The next login must not share the machine
// with them.
func endBrowser(dir string) {
	for range 200 {
		left := 0
		names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range names {
			line, _ := os.ReadFile(name)
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if err != nil || !bytes.Contains(line, []byte(dir+"/profile-")) {
				continue
			}
			left++
			if process, err := os.FindProcess(pid); err == nil {
				_ = process.Kill()
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// watched keeps the output of a program. It notices when the output has a
// wanted text, and reads the number after it.
type watched struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	want []byte
	seen chan int64
	done bool
}

func (w *watched) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(data)
	if i := bytes.Index(w.buf.Bytes(), w.want); !w.done && i >= 0 {
		rest := w.buf.Bytes()[i+len(w.want):]
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			n, _ := strconv.ParseInt(string(rest[:end]), 10, 64)
			w.done = true
			w.seen <- n
		}
	}
	return len(data), nil
}

func (w *watched) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// logins measures from the browser's callback to the verified token.
func logins(b *bench) (section, error) {
	programs := []struct {
		name, program string
		ours          bool
	}{
		{"this SDK", "sdk", true},
		{"x/oauth2 + go-oidc", "xoauth2", false},
		{"oauth2cli + go-oidc", "oauth2cli", false},
		{"zitadel rp/cli", "zitadel", false},
		{"hashicorp/cap", "cap", false},
		{"MSAL (no signature check)", "msal", false},
	}
	kinds := []kindOfLogin{
		{"connection kept", terms{RTT: rtt, Basic: true}, "", 1.2},
		{"strict about Basic", terms{RTT: rtt}, "", 1.2},
		{"idle connection dropped", terms{RTT: rtt, Basic: true, Idle: 300 * time.Millisecond}, "", 3.2},
	}
	s := section{
		title: "3. From the callback to the verified token",
		about: fmt.Sprintf("TLS 1.3 to a provider behind a proxy that adds %v of round-trip time, the TCP handshake's included; the user takes %v in the browser. "+
			"What is counted is from the moment that the browser has the redirect to the callback, to the verified token in the program's hands, in round trips of %v: "+
			"the least is one, the exchange. Each login is a process of its own. HTTP/2 where the program speaks it.", rtt, userTime, rtt),
	}
	if path, err := exec.LookPath("chromium"); err == nil {
		kinds = append(kinds, kindOfLogin{"a real Chromium", terms{RTT: rtt, Basic: true}, path, 1.2})
	} else {
		s.notes = append(s.notes, "There was no Chromium on this machine, so it was not measured.")
	}
	t := table{head: []string{"Round trips"}}
	counts := table{head: []string{"Requests of the program, strict about Basic", "metadata", "keys", "token", "connections"}}
	pl := plot{file: "bench-login.svg", title: "From the callback to the verified token, a real Chromium", unit: "round trips"}
	if len(kinds) == 3 {
		pl.title = "From the callback to the verified token, connection kept"
	}
	cells := make([][]string, len(programs))
	for k, kind := range kinds {
		t.head = append(t.head, kind.name)
		p, err := startProvider(b.dir, kind.terms)
		if err != nil {
			return s, err
		}
		p.Delay(authserver.Authorize, userTime)
		shim, err := b.shim(kind.chromium)
		if err != nil {
			return s, err
		}
		rounds := b.pick(7, 1)
		if kind.chromium != "" {
			rounds = b.pick(3, 1)
		}
		waits, last := make([]sample, len(programs)), make([]signIn, len(programs))
		failures := make([]error, len(programs))
		for range rounds {
			for i, program := range programs {
				if program.program == "msal" && kind.chromium == "" {
					continue // its response_mode=form_post needs a browser that runs scripts
				}
				one, err := b.signIn(p, program.program, shim)
				if err != nil && program.ours {
					return s, err
				}
				if err != nil {
					failures[i] = err
					continue
				}
				waits[i], last[i] = append(waits[i], one.wait), one
			}
		}
		p.Close()
		for i, program := range programs {
			cell := waits[i].text()
			if failures[i] != nil {
				cell += fmt.Sprintf(" (%d of %d failed)", rounds-len(waits[i]), rounds)
				if b.quick {
					fmt.Println(kind.name, failures[i])
				}
			}
			cells[i] = append(cells[i], cell)
			if k == 1 && waits[i] != nil {
				l := last[i]
				counts.add(program.name, fmt.Sprint(l.metadata), fmt.Sprint(l.keys), fmt.Sprint(l.token), fmt.Sprint(l.connections))
			}
			if k == len(kinds)-1 || len(kinds) == 3 && k == 0 {
				if len(pl.bars) < len(programs) {
					pl.bars = append(pl.bars, bar{program.name, waits[i].median(), program.ours})
				}
			}
			if program.ours {
				s.reaches = append(s.reaches, reach{"3 Callback to token, " + kind.name, fmt.Sprintf("≤ %.1f round trips", kind.goal), waits[i].text(), waits[i].median() <= kind.goal,
					fmt.Sprintf("%d round trips, and %s ms in which browser, provider and program work on %s, shared with whatever the load average shows (%d key and %d token requests in the whole login)",
						int(waits[i].median()), number((waits[i].median()-math.Floor(waits[i].median()))*ms(rtt)), cores(), last[i].keys, last[i].token)})
			}
		}
	}
	for i, program := range programs {
		t.add(append([]string{program.name}, cells[i]...)...)
	}
	s.tables, s.plots = []table{t, counts}, []plot{pl}
	s.notes = append(s.notes, "MSAL asks for response_mode=form_post, which takes a browser that runs scripts; the first three columns have a stand-in for the browser.")
	return s, nil
}
