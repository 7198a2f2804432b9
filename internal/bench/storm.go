package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// roundTrip is the time that the token endpoint takes in a storm.
const roundTrip = 50 * time.Millisecond

// sealedDir makes the directory and the key of a sealed file store.
func sealedDir(dir string) (store, keyFile string, key tokenstore.Key, err error) {
	if dir, err = os.MkdirTemp(dir, "sealed-"); err != nil {
		return
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	keyFile = filepath.Join(dir, "key")
	if err = os.WriteFile(keyFile, []byte(base64.StdEncoding.EncodeToString(raw)), 0o600); err != nil {
		return
	}
	key, err = tokenstore.ReadKey(keyFile)
	return filepath.Join(dir, "store"), keyFile, key, err
}

// desktop starts a session bus with a real, unlocked gnome-keyring. ok is false
// if this machine has none.
func desktop() (s *realparts.Session, end func(), ok bool) {
	h := &host{}
	defer func() {
		if r := recover(); r != nil {
			if _, mine := r.(failed); !mine {
				panic(r)
			}
			h.end()
			s, end, ok = nil, func() {}, false
		}
	}()
	s = realparts.SecretService(h, realparts.Unlocked)
	return s, h.end, true
}

// inSession runs do with the environment of s in this process. The keychain is
// found through it.
func inSession(s *realparts.Session, do func() error) error {
	for _, pair := range s.Env {
		name, value, _ := strings.Cut(pair, "=")
		old, had := os.LookupEnv(name)
		os.Setenv(name, value)
		defer func() {
			if had {
				os.Setenv(name, old)
			} else {
				os.Unsetenv(name)
			}
		}()
	}
	return do()
}

// tally is what one storm counted.
type tally struct {
	requests, succeeded, alive, revoked int
	last                                float64 // ms from the start to the last token
	cpu                                 float64 // ms that a process computed, its start in it
}

// storm starts n processes, releases all of them at once, and counts.
func (b *bench) storm(p *provider, way string, n int, env []string) (tally, error) {
	type child struct {
		cmd   *exec.Cmd
		start io.Closer
		out   *bufio.Reader
	}
	var children []child
	for range n {
		cmd := exec.Command(b.program("storm"), way)
		cmd.Env = append(append(os.Environ(), "BENCH_ISSUER="+p.Issuer(), "BENCH_CLIENT="+clientID), env...)
		in, err := cmd.StdinPipe()
		if err != nil {
			return tally{}, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return tally{}, err
		}
		if err := cmd.Start(); err != nil {
			return tally{}, err
		}
		children = append(children, child{cmd, in, bufio.NewReader(out)})
	}
	for _, c := range children {
		if _, err := c.out.ReadString('\n'); err != nil {
			return tally{}, err
		}
	}
	p.Delay(authserver.Token, roundTrip)
	defer p.Delay(authserver.Token, 0)
	requests, revoked := p.Requests(authserver.Token), p.Stats().FamiliesRevoked
	began := time.Now()
	for _, c := range children {
		c.start.Close()
	}
	var o tally
	var tokens []string
	for _, c := range children {
		text, _ := io.ReadAll(c.out)
		var at int64
		var token string
		fmt.Sscan(string(text), &at, &token)
		waited := c.cmd.Wait()
		o.cpu += ms(c.cmd.ProcessState.UserTime()+c.cmd.ProcessState.SystemTime()) / float64(n)
		if waited == nil && token != "" {
			o.succeeded++
			tokens = append(tokens, token)
			o.last = max(o.last, ms(time.Unix(0, at).Sub(began)))
		}
	}
	for _, t := range tokens {
		if p.Active(t) {
			o.alive++
		}
	}
	o.requests, o.revoked = p.Requests(authserver.Token)-requests, p.Stats().FamiliesRevoked-revoked
	return o, nil
}

// storms lets many processes find one expired session at once.
func storms(b *bench) (section, error) {
	const n = 50
	p, err := startProvider(b.dir, terms{Lifetime: time.Hour, Rotation: authserver.RotateStrict})
	if err != nil {
		return section{}, err
	}
	defer p.Close()
	ctx := context.Background()
	// expired makes a session with a token that lives for a second, and waits
	// until it has expired.
	expired := func(store tokenstore.Store) error {
		p.shorten.Store(1)
		defer p.shorten.Store(0)
		c, _, err := p.session(store)
		if err != nil {
			return err
		}
		defer c.Close()
		time.Sleep(1100 * time.Millisecond)
		return nil
	}
	file := func(n int, way string) (tally, error) {
		t, err := p.tokens(ctx)
		if err != nil {
			return tally{}, err
		}
		t.Expiry = time.Now().Add(-time.Minute)
		dir, err := os.MkdirTemp(b.dir, "storm-")
		if err != nil {
			return tally{}, err
		}
		path := filepath.Join(dir, "token.json")
		if err := os.WriteFile(path, []byte(tokenFile(t)), 0o600); err != nil {
			return tally{}, err
		}
		return b.storm(p, way, n, []string{"BENCH_TOKEN=" + path})
	}
	sealed := func(n int) (tally, error) {
		dir, keyFile, key, err := sealedDir(b.dir)
		if err != nil {
			return tally{}, err
		}
		if err := expired(tokenstore.NewFile(dir, key)); err != nil {
			return tally{}, err
		}
		return b.storm(p, "sdk", n, []string{"BENCH_FILE=" + dir, "BENCH_KEY=" + keyFile})
	}
	type contestant struct {
		name string
		ours bool
		run  func(n int) (tally, error)
	}
	const ownFile, byHand = 0, 1 // the contestants that others are measured by
	contestants := []contestant{
		{"this SDK, sealed file", true, sealed},
		{"flock and re-read by hand", false, func(n int) (tally, error) { return file(n, "flock") }},
		{"x/oauth2 with a file", false, func(n int) (tally, error) { return file(n, "plain") }},
	}
	if session, end, ok := desktop(); ok {
		defer end()
		contestants = append(contestants, contestant{"this SDK, Secret Service", true, func(n int) (o tally, err error) {
			err = inSession(session, func() error { return expired(&tokenstore.Keyring{}) })
			if err != nil {
				return o, err
			}
			return b.storm(p, "sdk", n, session.Env)
		}})
	}
	s := section{
		title: "4. A storm of processes",
		about: fmt.Sprintf("%d processes, started and waiting, are let go at once on one session whose access token has expired; the refresh token rotates, and a strict server revokes the session "+
			"when a used one is presented. The token endpoint takes %v. \"Alive\" asks the server at the end whether each printed token is still good: exit codes flatter.", n, roundTrip),
	}
	t := table{head: []string{"", "token requests", "succeeded", "tokens alive", "sessions revoked", "last token, ms", "one process alone, ms", "CPU time of each, ms"}}
	pl := plot{file: "bench-storm.svg", title: fmt.Sprintf("Of %d processes: tokens that are alive at the end", n), unit: ""}
	rounds := b.pick(7, 2)
	results, alone, cpu := make([][]tally, len(contestants)), make([]sample, len(contestants)), make([]sample, len(contestants))
	for range rounds {
		for i, c := range contestants {
			one, err := c.run(1)
			if err != nil {
				return s, fmt.Errorf("%s: %w", c.name, err)
			}
			alone[i] = append(alone[i], one.last)
			o, err := c.run(n)
			if err != nil {
				return s, fmt.Errorf("%s: %w", c.name, err)
			}
			results[i], cpu[i] = append(results[i], o), append(cpu[i], o.cpu)
		}
	}
	for i, c := range contestants {
		var requests, succeeded, alive, revoked, last sample
		for _, o := range results[i] {
			requests, succeeded, alive = append(requests, float64(o.requests)), append(succeeded, float64(o.succeeded)), append(alive, float64(o.alive))
			revoked, last = append(revoked, float64(o.revoked)), append(last, o.last)
		}
		t.add(c.name, span(requests), span(succeeded), span(alive), span(revoked), last.text(), alone[i].text(), cpu[i].text())
		pl.bars = append(pl.bars, bar{c.name, alive.at(0), c.ours})
		if !c.ours {
			continue
		}
		times, against, peer := 1.2, byHand, "flock by hand"
		cause := fmt.Sprintf("a process computes for %s ms and one by hand for %s; for %d of them on %s that alone is %s ms, before they wait and after",
			number(cpu[i].median()), number(cpu[byHand].median()), n, cores(), number(n*(cpu[i].median()-cpu[byHand].median())/float64(runtime.NumCPU())))
		if strings.Contains(c.name, "Secret") {
			times, against, peer = 2, ownFile, "the sealed file"
			cause = fmt.Sprintf("each of the %d processes asks one gnome-keyring through one bus, which answer one after the other; one process alone takes %s ms, %s more than with the file",
				n, number(alone[i].median()), number(alone[i].median()-alone[ownFile].median()))
		}
		var ratio sample
		for round, o := range results[i] {
			ratio = append(ratio, o.last/results[against][round].last)
		}
		s.reaches = append(s.reaches,
			reach{"4 Storm, token requests (" + c.name + ")", "exactly 1", span(requests), requests.at(0) == 1 && requests.at(1) == 1, ""},
			reach{"4 Storm, tokens alive at the end (" + c.name + ")", fmt.Sprint(n), span(alive), alive.at(0) == n, ""},
			reach{"4 Storm, sessions revoked (" + c.name + ")", "never", span(revoked), revoked.at(1) == 0, ""},
			reach{"4 Storm, time to the last token (" + c.name + ")", fmt.Sprintf("≤ %.1f × %s", times, peer), ratio.text() + " ×", ratio.median() <= times, cause})
	}
	s.tables, s.plots = []table{t}, []plot{pl}
	if !strings.Contains(contestants[len(contestants)-1].name, "Secret") {
		s.notes = append(s.notes, "There was no gnome-keyring on this machine, so the Secret Service was not measured.")
	}
	return s, nil
}

// span is a count that should be the same in all rounds: the least and the
// most.
func span(s sample) string {
	if s.at(0) == s.at(1) {
		return number(s.at(0))
	}
	return number(s.at(0)) + "–" + number(s.at(1))
}
