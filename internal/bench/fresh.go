package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// client returns an HTTP client that trusts p and follows no redirect.
func (p *provider) client() (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if p.Roots != "" {
		roots, err := os.ReadFile(p.Roots)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(roots)
		t.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	stop := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: t, CheckRedirect: stop}, nil
}

// contestant is a program with what it has stored.
type contestant struct {
	name, program string
	args, env     []string
	ours          bool
}

// signedIn signs in with programs/sdk into a sealed file of its own, and returns the
// environment in which the next process finds the session.
func (b *bench) signedIn(p *provider, shim string, env ...string) ([]string, error) {
	dir, keyFile, _, err := sealedDir(b.dir)
	if err != nil {
		return nil, err
	}
	env = append(env, "BENCH_STORE=file", "BENCH_FILE="+dir, "BENCH_KEY="+keyFile)
	_, err = b.signIn(p, "sdk", shim, env...)
	return env, err
}

// fresh measures what the user of a program that lives for a second waits for.
func fresh(b *bench) (section, error) {
	s := section{
		title: "10. A fresh process",
		about: fmt.Sprintf("TLS 1.3 to a provider behind a proxy that adds %v of round-trip time, as in measure 3. Each run is a process of its own, with a session in a sealed file "+
			"that an earlier process has stored. The peer is x/oauth2 by hand: its token URL is written down, its token lies in a plain file, and it verifies no ID token when it refreshes.", rtt),
	}
	for _, part := range []func(*bench, *section) error{freshRefresh, freshBrowser, freshCallback} {
		if err := part(b, &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

// freshRefresh measures a refresh from exec to exit.
func freshRefresh(b *bench, s *section) error {
	p, err := startProvider(b.dir, terms{RTT: rtt, Basic: true})
	if err != nil {
		return err
	}
	defer p.Close()
	shim, err := b.shim("")
	if err != nil {
		return err
	}
	p.shorten.Store(1) // every token has expired when the next process starts
	contestants := []contestant{{name: "x/oauth2 by hand", program: "storm", args: []string{"plain"}}}
	token, err := p.tokens(context.Background())
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "fresh-token.json")
	if err := os.WriteFile(file, []byte(tokenFile(token)), 0o600); err != nil {
		return err
	}
	contestants[0].env = []string{"BENCH_TOKEN=" + file}
	for _, dpop := range []string{"", "1"} {
		env, err := b.signedIn(p, shim, "BENCH_DPOP="+dpop)
		if err != nil {
			return err
		}
		name := "this SDK" + map[string]string{"1": ", DPoP"}[dpop]
		contestants = append(contestants, contestant{name, "storm", []string{"sdk"}, env, true})
	}
	took := make([]sample, len(contestants))
	for range b.pick(15, 3) {
		time.Sleep(1100 * time.Millisecond)
		for i, c := range contestants {
			cmd := exec.Command(b.program(c.program), c.args...)
			cmd.Env = append(append(os.Environ(), "SSL_CERT_FILE="+p.Roots, "BENCH_ISSUER="+p.Issuer(), "BENCH_CLIENT="+clientID), c.env...)
			before := p.Requests(authserver.Token)
			began := time.Now()
			if text, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w %s", c.name, err, text)
			}
			took[i] = append(took[i], float64(time.Since(began))/float64(rtt))
			if n := p.Requests(authserver.Token) - before; n != 1 {
				return fmt.Errorf("%s: %d token requests", c.name, n)
			}
		}
	}
	t := table{head: []string{"A refresh, from exec to exit", "round trips", "× x/oauth2 by hand"}}
	for i, c := range contestants {
		ratio := took[i].median() / took[0].median()
		t.add(c.name, took[i].text(), number(ratio))
		if c.ours {
			s.reaches = append(s.reaches, reach{"10 Refresh in a fresh process, " + c.name, "≤ 1.05 × x/oauth2 by hand", number(ratio) + " ×", ratio <= 1.05,
				fmt.Sprintf("%s round trips against %s: both dial, and send one request; the rest is the work of the process: what it loads, and three files that it flushes to the disk before anybody gets the token", took[i].text(), took[0].text())})
		}
	}
	s.tables = append(s.tables, t)
	return nil
}

// startAlone returns how long a process that does nothing and a launcher take to
// start, in round trips.
func (b *bench) startAlone(shim string) (float64, error) {
	began := time.Now()
	if err := exec.Command(b.program("hello")).Run(); err != nil {
		return 0, err
	}
	if err := exec.Command(filepath.Join(shim, "xdg-open"), "http://127.0.0.1:1/").Run(); err != nil {
		return 0, err
	}
	return float64(time.Unix(0, openedAt(shim)).Sub(began)) / float64(rtt), nil
}

// freshBrowser measures a second login from exec to the start of the browser.
func freshBrowser(b *bench, s *section) error {
	p, err := startProvider(b.dir, terms{RTT: rtt, Basic: true})
	if err != nil {
		return err
	}
	defer p.Close()
	shim, err := b.shim("")
	if err != nil {
		return err
	}
	env, err := b.signedIn(p, shim)
	if err != nil {
		return err
	}
	contestants := []contestant{
		{name: "this SDK, second login", program: "sdk", env: append(env, "BENCH_LOGIN=1"), ours: true},
		{name: "this SDK, first login", program: "sdk"},
		{name: "x/oauth2 + go-oidc", program: "xoauth2"},
	}
	opened, over := make([]sample, len(contestants)), make([]sample, len(contestants))
	for range b.pick(9, 2) {
		floor, err := b.startAlone(shim)
		if err != nil {
			return err
		}
		for i, c := range contestants {
			one, err := b.signIn(p, c.program, shim, c.env...)
			if err != nil {
				return err
			}
			opened[i], over[i] = append(opened[i], one.opened), append(over[i], one.opened-floor)
		}
	}
	t := table{head: []string{"From exec to the start of the browser", "round trips", "over the start of a hello-world and of the launcher"}}
	for i, c := range contestants {
		t.add(c.name, opened[i].text(), over[i].text())
	}
	s.tables = append(s.tables, t)
	got := over[0].median()
	s.reaches = append(s.reaches, reach{"10 Exec to the browser, second login", "≤ 0.3 round trips over its own start", over[0].text(), got <= 0.3,
		fmt.Sprintf("nothing is asked before; %s ms are the program's own work: it reads the session and the cache, and binds the listener", number(got*ms(rtt)))})
	return nil
}

// freshCallback measures from the callback to the token, at a second login.
func freshCallback(b *bench, s *section) error {
	t := table{head: []string{"From the callback to the token, second login", "this SDK", "x/oauth2 + go-oidc"}}
	for _, kind := range []kindOfLogin{
		{"connection kept", terms{RTT: rtt, Basic: true}, "", 1.2},
		{"idle connection dropped", terms{RTT: rtt, Basic: true, Idle: 300 * time.Millisecond}, "", 3.2},
	} {
		p, err := startProvider(b.dir, kind.terms)
		if err != nil {
			return err
		}
		p.Delay(authserver.Authorize, userTime)
		shim, err := b.shim("")
		if err != nil {
			return err
		}
		env, err := b.signedIn(p, shim)
		if err != nil {
			return err
		}
		var ours, peer sample
		for range b.pick(7, 2) {
			one, err := b.signIn(p, "sdk", shim, append(env, "BENCH_LOGIN=1")...)
			if err != nil {
				return err
			}
			ours = append(ours, one.wait)
			if one, err = b.signIn(p, "xoauth2", shim); err != nil {
				return err
			}
			peer = append(peer, one.wait)
		}
		p.Close()
		t.add(kind.name, ours.text(), peer.text())
		s.reaches = append(s.reaches, reach{"10 Callback to token from a cache, " + kind.name, fmt.Sprintf("≤ %.1f round trips", kind.goal), ours.text(), ours.median() <= kind.goal,
			fmt.Sprintf("%d round trips, the work of browser, provider and program on %s, and the session on its way to the disk, which measure 3 has not", int(ours.median()), cores())})
	}
	s.tables = append(s.tables, t)
	return nil
}

// openedAt reads when the launcher was started, in Unix nanoseconds; 0: it was not.
func openedAt(shim string) int64 {
	text, err := os.ReadFile(filepath.Join(shim, "opened"))
	if err != nil {
		return 0
	}
	at, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return at
}
