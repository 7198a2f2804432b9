package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

const (
	slowToken = 200 * time.Millisecond // the time that the token endpoint takes
	stall     = 5 * time.Millisecond
)

// crowd is what many goroutines saw that request tokens again and again.
type crowd struct {
	calls, stalled, failed int
	unanswered             int    // when the time was over
	waits                  sample // of the slowest hundred thousand at most, in ms
	refreshes              int
}

// crowded lets n goroutines call token for a while. They pause between two
// calls, like a program that does something else too. Then stop makes the calls
// fail that still wait.
func crowded(n int, lasting, pause time.Duration, token func() error, stop func()) crowd {
	var mu sync.Mutex
	var all crowd
	var wg sync.WaitGroup
	until := time.Now().Add(lasting)
	time.AfterFunc(lasting, stop)
	for i := range n {
		wg.Go(func() {
			var own crowd
			time.Sleep(time.Duration(i) * pause / time.Duration(n)) // not all in step
			for {
				before := time.Now()
				if before.After(until) {
					break
				}
				err := token()
				took := time.Since(before)
				own.calls++
				switch {
				case before.Add(took).After(until):
					own.unanswered++
				case err != nil:
					own.failed++
				}
				if took > stall {
					own.stalled++
				}
				if took > 100*time.Microsecond {
					own.waits = append(own.waits, ms(took))
				}
				time.Sleep(pause)
			}
			mu.Lock()
			defer mu.Unlock()
			all.calls += own.calls
			all.stalled += own.stalled
			all.failed += own.failed
			all.unanswered += own.unanswered
			all.waits = append(all.waits, own.waits...)
		})
	}
	wg.Wait()
	return all
}

// worst returns the longest call.
func (c crowd) worst() float64 { return c.waits.at(1) }

// expiry lets tokens expire under a crowd of callers.
func expiry(b *bench) (section, error) {
	const goroutines, pause = 1000, 20 * time.Millisecond
	lasting := time.Duration(b.pick(30, 5)) * time.Second
	type contestant struct {
		name string
		ours bool
		life time.Duration
		make func(p *provider) (func() error, func(), error)
	}
	ctx := context.Background()
	sdk := func(p *provider) (func() error, func(), error) {
		c, s, err := p.session(new(tokenstore.Memory))
		if err != nil {
			return nil, nil, err
		}
		return func() error { _, err := s.Token(ctx); return err }, func() { c.Close() }, nil
	}
	peer := func(early time.Duration) func(p *provider) (func() error, func(), error) {
		return func(p *provider) (func() error, func(), error) {
			c, s, err := p.session(new(tokenstore.Memory))
			if err != nil {
				return nil, nil, err
			}
			defer c.Close()
			// The refresh token of the same login.
			first, err := s.Token(ctx)
			if err != nil {
				return nil, nil, err
			}
			refresh, err := p.refreshToken(ctx)
			if err != nil {
				return nil, nil, err
			}
			conf := &oauth2.Config{ClientID: clientID, Endpoint: oauth2.Endpoint{TokenURL: p.URL("/token"), AuthStyle: oauth2.AuthStyleInParams}}
			start := &oauth2.Token{AccessToken: first.AccessToken, RefreshToken: refresh, Expiry: time.Now().Add(-time.Second)}
			source := conf.TokenSource(ctx, start)
			if early > 0 {
				source = oauth2.ReuseTokenSourceWithExpiry(nil, &always{conf: conf, refresh: refresh}, early)
			}
			return func() error { _, err := source.Token(); return err }, func() {}, nil
		}
	}
	contestants := []contestant{
		{"control: this SDK, no expiry", false, time.Hour, sdk},
		{"this SDK", true, 2 * time.Second, sdk},
		{"x/oauth2, margin of 200 ms", false, 2 * time.Second, peer(200 * time.Millisecond)},
		{"x/oauth2 as it comes", false, 2 * time.Second, peer(0)},
	}
	s := section{
		title: "2. Expiry under load",
		about: fmt.Sprintf("%d goroutines ask for a token every %v for %v; tokens live for 2 s, and the token endpoint takes %v. The control has tokens that do not "+
			"expire: what it shows is the machine. x/oauth2 as it comes refreshes 10 s before the end, so for every call; the other line gives it a margin of 200 ms.", goroutines, pause, lasting, slowToken),
	}
	t := table{head: []string{"", "calls", "> 5 ms", "longest, ms", "99.9 % of the calls, ms", "refreshes", "unanswered at the end", "errors"}}
	pl := plot{file: "bench-expiry.svg", log: true, title: "The longest wait for a token (logarithmic)", unit: "ms"}
	results := make([]crowd, len(contestants))
	for i, c := range contestants {
		p, err := startProvider(b.dir, terms{Lifetime: c.life})
		if err != nil {
			return section{}, err
		}
		call, end, err := c.make(p)
		if err != nil {
			return section{}, fmt.Errorf("%s: %w", c.name, err)
		}
		p.Delay(authserver.Token, slowToken)
		before := p.Requests(authserver.Token)
		r := crowded(goroutines, lasting, pause, call, p.Close)
		r.refreshes = p.Requests(authserver.Token) - before
		end()
		results[i] = r
		tail := 0.0 // calls below 100 µs were not kept
		if rare := 1000 * len(r.waits) / max(r.calls, 1); rare >= 1 {
			tail = r.waits.at(1 - float64(r.calls)/1000/float64(len(r.waits)))
		}
		below := number(tail)
		if tail < 0.1 {
			below = "< 0.1"
		}
		t.add(c.name, fmt.Sprint(r.calls), fmt.Sprint(r.stalled), number(r.worst()), below, fmt.Sprint(r.refreshes), fmt.Sprint(r.unanswered), fmt.Sprint(r.failed))
		pl.bars = append(pl.bars, bar{c.name, r.worst(), c.ours})
	}
	s.tables, s.plots = []table{t}, []plot{pl}
	control, ours := results[0], results[1]
	s.notes = []string{"That no call waits for a refresh is exact, and asserted: `TestNobodyWaitsAtExpiry` runs the same crowd under a clock that only moves while everybody waits, " +
		"where a call that waits for anything takes time and one that does not takes none."}
	s.reaches = []reach{
		{"2 Calls > 5 ms at expiry", fmt.Sprintf("0 (control: %d)", control.stalled), fmt.Sprint(ours.stalled), ours.stalled == 0,
			fmt.Sprintf("the control, which refreshes nothing, had %d (longest %s ms): goroutines that wait for a core. In virtual time, where only waiting counts, there are none", control.stalled, number(control.worst()))},
		{"2 Longest call at expiry (issue: no stall above 5 ms)", fmt.Sprintf("≤ 5 ms (control: %s)", number(control.worst())), number(ours.worst()) + " ms", ours.worst() <= 5,
			fmt.Sprintf("the control, which refreshes nothing, had %s ms: goroutines that wait for a core. In virtual time, where only waiting counts, no call takes any", number(control.worst()))},
		{"2 Errors", "0", fmt.Sprint(ours.failed), ours.failed == 0, ""},
	}
	return s, nil
}

// always refreshes, like the source below ReuseTokenSourceWithExpiry.
type always struct {
	conf    *oauth2.Config
	refresh string
}

func (a *always) Token() (*oauth2.Token, error) {
	t, err := a.conf.TokenSource(context.Background(), &oauth2.Token{RefreshToken: a.refresh}).Token()
	if err == nil && t.RefreshToken != "" {
		a.refresh = t.RefreshToken
	}
	return t, err
}
