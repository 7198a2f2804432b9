package model

import (
	"context"
	"net/http"
	"os"
	"sync"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// process is a Client with a store and a network of its own, so that it can be
// killed. Every request and every call of the store is two steps: before it has
// an effect, and after. At the step at which the process dies, that call and
// all later ones return only when the sequence is over.
type process struct {
	world   *world
	client  *oauthclient.Client
	handles map[string]*handle
	told    map[string]bool // accounts for which ErrLoginRequired was said
	lacking map[string]bool // and those for which IDToken did
	refused map[string]bool // accounts: invalid_grant was said to the session

	dead chan struct{}

	mu        sync.Mutex
	fuse      int // steps to live; 0: no end
	locks     map[int]func() error
	lastLock  int
	refreshes int // requests sent
	others    int
}

// handle is a Session as a program keeps it, and its user at first.
type handle struct {
	session *oauthclient.Session
	user    string
}

func (w *world) start() *process {
	p := &process{
		world: w, handles: map[string]*handle{},
		told: map[string]bool{}, lacking: map[string]bool{}, refused: map[string]bool{},
		dead: make(chan struct{}), locks: map[int]func() error{},
	}
	cfg := oauthclient.Config{
		Issuer: issuer, ClientID: "cli", Origins: []string{api},
		Scopes: []string{"openid", "offline_access", "read"},
		Store:  store{p, w.store}, Transport: network{p},
		UI: oauthclient.UI{Instruct: w.prompt, OpenURL: w.openURL},
	}
	if w.seq.Provider.Registers {
		cfg.ClientID, cfg.Registration = "", &oauthclient.Registration{ClientName: "model", SoftwareID: "model"}
	}
	client, err := oauthclient.New(cfg)
	if err != nil {
		panic(err)
	}
	p.client = client
	w.all = append(w.all, p)
	return p
}

// step lets the process go on, or ends it here.
func (p *process) step() error {
	p.mu.Lock()
	if p.fuse > 0 {
		if p.fuse--; p.fuse == 0 {
			p.die()
		}
	}
	p.mu.Unlock()
	if p.alive() {
		return nil
	}
	<-p.world.over
	return errKilled
}

func (p *process) alive() bool {
	select {
	case <-p.dead:
		return false
	default:
		return true
	}
}

// die gives back the locks, as the kernel does. p.mu is held.
func (p *process) die() {
	if p.world.suicide {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {}
	}
	close(p.dead)
	for _, unlock := range p.locks {
		_ = unlock()
	}
}

func (p *process) sent() (refreshes, others int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refreshes, p.others
}

// network is the process's way to the provider.
type network struct{ process *process }

func (n network) RoundTrip(req *http.Request) (*http.Response, error) {
	p := n.process
	if err := p.step(); err != nil {
		return nil, err
	}
	resp, err := p.world.transport.RoundTrip(req)
	p.mu.Lock()
	switch at := endpointOf(req.URL); {
	case at == "token":
		p.refreshes++ // the polling of a sign-in is left out by the rule
	case at == "api", req.Response != nil: // the program's own request, or where it was redirected to
	default:
		p.others++
	}
	p.mu.Unlock()
	if err := p.step(); err != nil {
		return nil, err
	}
	return resp, err
}

// shared is what File and Memory both are.
type shared interface {
	tokenstore.Store
	tokenstore.Lister
	tokenstore.Shared
	tokenstore.Prober
}

// store is the process's way to the store.
type store struct {
	process *process
	inner   shared
}

func (s store) Get(ctx context.Context, key string) (data []byte, err error) {
	if err := s.process.step(); err != nil {
		return nil, err
	}
	return s.inner.Get(ctx, key)
}

func (s store) Put(ctx context.Context, key string, data []byte) error {
	return s.around(key, func() error { return s.inner.Put(ctx, key, data) })
}

func (s store) Delete(ctx context.Context, key string) error {
	return s.around(key, func() error { return s.inner.Delete(ctx, key) })
}

func (s store) WriteJournal(ctx context.Context, key string, data []byte) error {
	return s.around(key, func() error { return s.inner.WriteJournal(ctx, key, data) })
}

func (s store) around(key string, change func() error) error {
	s.process.world.note(key)
	if err := s.process.step(); err != nil {
		return err
	}
	err := change()
	if killed := s.process.step(); killed != nil {
		return killed
	}
	return err
}

func (s store) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	if err := s.process.step(); err != nil {
		return nil, err
	}
	return s.inner.ReadJournal(ctx, key)
}

func (s store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := s.process.step(); err != nil {
		return nil, err
	}
	return s.inner.List(ctx, prefix)
}

func (s store) Probe(ctx context.Context) error {
	if err := s.process.step(); err != nil {
		return err
	}
	return s.inner.Probe(ctx)
}

func (s store) Lock(ctx context.Context, key string) (context.Context, func() error, error) {
	p := s.process
	if err := p.step(); err != nil {
		return nil, nil, err
	}
	held, unlock, err := s.inner.Lock(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	if !p.alive() {
		p.mu.Unlock()
		_ = unlock()
		return nil, nil, p.step()
	}
	p.lastLock++
	name := p.lastLock
	p.locks[name] = unlock
	p.mu.Unlock()
	if err := p.step(); err != nil {
		return nil, nil, err
	}
	return held, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.alive() {
			return errKilled
		}
		delete(p.locks, name)
		return unlock()
	}, nil
}
