package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// inMemory answers requests without a network. It calls the handler directly.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	r = r.Clone(r.Context())
	r.RequestURI, r.RemoteAddr, r.Host = r.URL.RequestURI(), "127.0.0.1:1", r.URL.Host
	m.ServeHTTP(rec, r)
	return rec.Result(), r.Context().Err()
}

// tokenBytes is about the size of a session's access, refresh and ID token.
const tokenBytes = 900 + 60 + 900

// fill stores n sessions in the form that logins store them, with tokens of an
// ordinary size.
func fill(ctx context.Context, store tokenstore.Store, issuer string, from, n int, life time.Duration) error {
	k := &session.Keeper{Store: store, LockWait: time.Minute}
	for i := from; i < from+n; i++ {
		name := fmt.Sprintf("account-%d", i)
		now := time.Now()
		g := &session.Grant{
			Realm: issuer, Party: clientID, Account: name, Issuer: issuer, ClientID: clientID, Subject: name, Username: name, Scopes: []string{"openid", "offline_access"},
			RefreshToken: wire.NewSecret(fmt.Sprintf("%060d", i)), IDToken: wire.NewSecret(fmt.Sprintf("%0900d", i)),
			Tokens: []session.Token{{AccessToken: wire.NewSecret(fmt.Sprintf("%0900d", i)), Type: "Bearer", Obtained: now, Expiry: now.Add(life)}},
		}
		if _, err := k.Save(ctx, session.Key(issuer, clientID, name), g, func(*session.Grant) error { return nil }, func() {}); err != nil {
			return err
		}
	}
	return nil
}

// heap returns the size of the live heap, after a collection.
func heap() float64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// idle is the memory of n sessions while nobody uses them.
type idle struct {
	goroutines int
	bytes      float64 // of each, with its tokens
}

// measureIdle loads n sessions from store.
func measureIdle(ctx context.Context, store tokenstore.Store, issuer string, n int) (idle, []*oauthclient.Session, *oauthclient.Client, error) {
	client, err := oauthclient.New(oauthclient.Config{Issuer: issuer, ClientID: clientID, Scopes: []string{"openid", "offline_access"}, Store: store})
	if err != nil {
		return idle{}, nil, nil, err
	}
	list := make([]*oauthclient.Session, n)
	goroutines, before := settled(), heap()
	for i := range list {
		if list[i], err = client.Session(ctx, fmt.Sprintf("account-%d", i)); err != nil {
			return idle{}, nil, nil, err
		}
		if _, err = list[i].Token(ctx); err != nil {
			return idle{}, nil, nil, err
		}
	}
	after := heap()
	r := idle{settled() - goroutines, (after - before) / float64(n)}
	runtime.KeepAlive(list)
	return r, list, client, nil
}

// settled returns the number of goroutines, after those that were about to end
// have ended.
func settled() int {
	n := runtime.NumGoroutine()
	for quiet := 0; quiet < 10; quiet++ {
		time.Sleep(10 * time.Millisecond)
		if now := runtime.NumGoroutine(); now != n {
			n, quiet = now, 0
		}
	}
	return n
}

// sessions measures many sessions in one process.
func sessions(b *bench) (section, error) {
	ctx := context.Background()
	s := section{
		title: "7. Many sessions in one process",
		about: fmt.Sprintf("What a session holds while nobody uses it: goroutines, and bytes of heap, its tokens (here about %d bytes) among them. Then every session is refreshed, 32 at a time, "+
			"against a provider in the same process with a store in memory: the refreshes a second are those of client and provider together.", tokenBytes),
	}
	t := table{head: []string{"Sessions", "goroutines more", "bytes a session", "of x/oauth2 (token and ReuseTokenSource)", "refreshes a second"}}
	var worst idle
	for _, n := range []int{1, 100, 1000} {
		store := new(tokenstore.Memory)
		const issuer = "https://login.example.com"
		if err := fill(ctx, store, issuer, 0, n, time.Hour); err != nil {
			return s, err
		}
		i, list, client, err := measureIdle(ctx, store, issuer, n)
		if err != nil {
			return s, err
		}
		runtime.KeepAlive(list)
		client.Close()

		sources := make([]oauth2.TokenSource, n)
		before := heap()
		for j := range sources {
			conf := &oauth2.Config{ClientID: clientID}
			t := &oauth2.Token{AccessToken: fmt.Sprintf("%0900d", j), RefreshToken: fmt.Sprintf("%060d", j), Expiry: time.Now().Add(time.Hour)}
			sources[j] = conf.TokenSource(ctx, t.WithExtra(map[string]any{"id_token": fmt.Sprintf("%0900d", j)}))
		}
		peer := (heap() - before) / float64(n)
		runtime.KeepAlive(sources)

		rate, err := b.refreshRate(ctx, n)
		if err != nil {
			return s, err
		}
		t.add(fmt.Sprint(n), fmt.Sprint(i.goroutines), number(i.bytes), number(peer), number(rate))
		if n > 1 {
			worst.goroutines, worst.bytes = max(worst.goroutines, i.goroutines), max(worst.bytes, i.bytes)
		}
	}
	s.tables = []table{t}
	s.notes = []string{"For one session the heap's own bookkeeping is more than the session: the row says little. The counts of the others are asserted in `TestIdleSessions`."}
	s.reaches = []reach{
		{"7 Goroutines per idle session", "0", fmt.Sprint(worst.goroutines), worst.goroutines == 0, ""},
		{"7 Bytes a session beyond its tokens", "≤ 4096", number(worst.bytes - tokenBytes), worst.bytes-tokenBytes <= 4096, ""},
	}
	return s, nil
}

// refreshRate signs n accounts in at a provider without a network, and
// refreshes all of them.
func (b *bench) refreshRate(ctx context.Context, n int) (float64, error) {
	p, err := startProvider(b.dir, terms{Lifetime: time.Hour})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	cfg := p.config(new(tokenstore.Memory))
	cfg.Transport = inMemory{p.Server}
	client, err := oauthclient.New(cfg)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	list := make([]*oauthclient.Session, n)
	for i := range list {
		if list[i], err = client.Login(ctx, &oauthclient.LoginOptions{Account: fmt.Sprint(i), Flow: oauthclient.FlowBrowser}); err != nil {
			return 0, err
		}
	}
	rounds := 1
	if n < 100 {
		rounds = 200
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failure error
	work := make(chan *oauthclient.Session)
	before := p.Requests(authserver.Token)
	began := time.Now()
	for range 32 {
		wg.Go(func() {
			for s := range work {
				if err := s.Refresh(ctx); err != nil {
					mu.Lock()
					failure = err
					mu.Unlock()
				}
			}
		})
	}
	for range rounds {
		for _, s := range list {
			work <- s
		}
	}
	close(work)
	wg.Wait()
	return float64(p.Requests(authserver.Token)-before) / time.Since(began).Seconds(), failure // requests and not calls, because calls that overlap share one
}
