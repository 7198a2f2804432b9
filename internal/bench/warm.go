package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// config is the configuration of a client of p. Its user signs in at once.
func (p *provider) config(store tokenstore.Store) oauthclient.Config {
	return oauthclient.Config{
		Issuer: p.Issuer(), ClientID: clientID, Scopes: []string{"openid", "offline_access"}, Store: store,
		UI: oauthclient.UI{OpenURL: func(ctx context.Context, url string) error {
			go func() {
				req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, url, nil)
				if err != nil {
					return
				}
				if resp, err := http.DefaultClient.Do(req); err == nil {
					resp.Body.Close()
				}
			}()
			return nil
		}},
	}
}

// session signs in at p.
func (p *provider) session(store tokenstore.Store) (*oauthclient.Client, *oauthclient.Session, error) {
	c, err := oauthclient.New(p.config(store))
	if err != nil {
		return nil, nil, err
	}
	s, err := c.Login(context.Background(), nil)
	return c, s, err
}

// contender is one library's source of valid tokens.
type contender struct {
	name string
	ours bool
	call func()
}

// floor is the least that the question "is it still valid?" can cost: a load,
// and reading the clock.
func floor() func() {
	var current atomic.Pointer[oauth2.Token]
	current.Store(&oauth2.Token{AccessToken: "token", Expiry: time.Now().Add(time.Hour)})
	return func() {
		if t, now := current.Load(), time.Now(); now.IsZero() {
			runtime.KeepAlive(t)
		}
	}
}

func warmContenders(dir string) ([]contender, func(), error) {
	p, err := startProvider(dir, terms{Lifetime: 24 * time.Hour})
	if err != nil {
		return nil, nil, err
	}
	client, session, err := p.session(new(tokenstore.Memory))
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	token, err := session.Token(ctx)
	if err != nil {
		return nil, nil, err
	}
	source := session.TokenSource()
	reuse := (&oauth2.Config{ClientID: clientID}).TokenSource(ctx, token)
	must := func(t *oauth2.Token, err error) {
		if err != nil || t.AccessToken == "" {
			panic(err)
		}
	}
	return []contender{
			{"floor: atomic load + time.Now()", false, floor()},
			{"Session.Token", true, func() { must(session.Token(ctx)) }},
			{"Session.TokenSource", true, func() { must(source.Token()) }},
			{"x/oauth2 ReuseTokenSource", false, func() { must(reuse.Token()) }},
		}, func() {
			client.Close()
			p.Close()
		}, nil
}

// warm measures requests for a valid token, as a program makes them before each
// of its own requests.
func warm(b *bench) (section, error) {
	contenders, end, err := warmContenders(b.dir)
	if err != nil {
		return section{}, err
	}
	defer end()
	rounds := b.pick(15, 3)
	if err := flag.Set("test.benchtime", fmt.Sprintf("%dms", b.pick(300, 50))); err != nil {
		return section{}, err
	}
	alone, contended, allocs := map[string]sample{}, map[string]sample{}, map[string]int64{}
	for range rounds {
		for _, c := range contenders {
			r := testing.Benchmark(func(tb *testing.B) {
				for tb.Loop() {
					c.call()
				}
			})
			alone[c.name] = append(alone[c.name], float64(r.T)/float64(r.N))
			r = testing.Benchmark(func(tb *testing.B) {
				tb.ReportAllocs()
				tb.SetParallelism(16)
				tb.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						c.call()
					}
				})
			})
			contended[c.name] = append(contended[c.name], float64(r.T)/float64(r.N))
			allocs[c.name] = max(allocs[c.name], r.AllocsPerOp())
		}
	}
	s := section{
		title: "1. A token that is valid",
		about: fmt.Sprintf("What a program asks before each of its requests. Nanoseconds a call, one goroutine, and %d of them (16 × GOMAXPROCS) at once. "+
			"Micro-benchmarks for benchstat: `go test -bench . -count 10`.", 16*runtime.GOMAXPROCS(0)),
	}
	t := table{head: []string{"", "ns, alone", "ns, contended", "allocations"}}
	p1 := plot{file: "bench-warm.svg", title: fmt.Sprintf("A valid token, %d goroutines at once", 16*runtime.GOMAXPROCS(0)), unit: "ns"}
	for _, c := range contenders {
		t.add(c.name, alone[c.name].text(), contended[c.name].text(), fmt.Sprint(allocs[c.name]))
		p1.bars = append(p1.bars, bar{c.name, contended[c.name].median(), c.ours})
	}
	s.tables, s.plots = []table{t}, []plot{p1}
	name := func(i int) string { return contenders[i].name }
	// Of the pair of each round, because other load on the machine slows both.
	ratio := func(m map[string]sample, over, under int) sample {
		var out sample
		for i := range m[name(over)] {
			out = append(out, m[name(over)][i]/m[name(under)][i])
		}
		return out
	}
	a, c, faster := ratio(alone, 1, 0), ratio(contended, 1, 0), ratio(contended, 3, 1)
	s.reaches = []reach{
		{"1 Warm Token(), alone", "≤ 1.5 × floor", a.text() + " ×", a.median() <= 1.5, ""},
		{"1 Warm Token(), contended", "≤ 1.5 × floor", c.text() + " ×", c.median() <= 1.5, ""},
		{"1 Contended, against ReuseTokenSource", "≥ 6 × faster", faster.text() + " ×", faster.median() >= 6,
			fmt.Sprintf("ReuseTokenSource costs %s ns alone and %s contended here. Its cost is goroutines that meet at its mutex, which takes cores that run at the same moment: "+
				"where others work on this machine (see the load average), they seldom do", number(alone[name(3)].median()), number(contended[name(3)].median()))},
		{"1 Allocations", "0", fmt.Sprint(allocs[name(1)]), allocs[name(1)] == 0, ""},
	}
	return s, nil
}
