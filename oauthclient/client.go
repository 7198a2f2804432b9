package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Client signs people in at one provider and hands out their sessions. It is safe for concurrent use. One Client serves a
// whole program; [Client.Close] it before the program ends.
type Client struct {
	cfg    Config
	issuer string
	log    *slog.Logger
	store  tokenstore.Store
	keeper *session.Keeper
	nonces oauth.Nonces

	providers    providers
	ownTransport bool
	origins      []string     // where tokens go; nil: wherever the program itself calls
	resources    *fetch.Guard // the way to the metadata of Resources; nil: the plain one
	refusals     sync.Map     // apiSlot → refusedToken: for these a refresh did not help

	mu       sync.Mutex
	accounts map[string]*account // by name
	parting  []chan struct{}     // see part
	closed   bool

	life    context.Context // ends a while after Close, with whatever still waits
	end     context.CancelFunc
	asking  context.Context // ends with Close: nobody is asked any more
	stop    context.CancelFunc
	working sync.WaitGroup // refreshes under way, pages being delivered
}

const (
	closeWait = 10 * time.Second
	// lockWait is longer than two calls of the token endpoint and a keychain that is slow to answer.
	lockWait = 2*fetch.Timeout + time.Minute
)

// New returns a Client for cfg. It validates, and does no I/O: a provider that cannot be reached is an error of Login.
func New(cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("oauthclient: %w", err)
	}
	c := &Client{cfg: cfg.clone(), issuer: cfg.Issuer, log: cfg.Logger, store: cfg.Store, accounts: map[string]*account{}}
	if c.issuer == "" && cfg.Endpoints != nil {
		c.issuer = cfg.Endpoints.Issuer
	}
	c.providers.known = map[string]*lookup{}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.store == nil {
		c.store = &tokenstore.Keyring{}
	}
	if c.cfg.Transport == nil {
		c.cfg.Transport, c.ownTransport = fetch.NewTransport(), true
	}
	c.origins = tokenOrigins(&c.cfg)
	if len(c.cfg.Resources) > 0 && !c.cfg.AllowPrivate {
		c.resources = fetch.NewGuard(c.cfg.Transport, oauth.IssuerHost(c.cfg.Resources[0])) // the program named it; what it names is checked
	}
	c.keeper = &session.Keeper{Store: c.store, Verify: c.verifyRefreshed, Revoke: c.revoke, Logger: c.log, LockWait: lockWait}
	c.life, c.end = context.WithCancel(context.Background())
	c.asking, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Format implements [fmt.Formatter]: every verb names the client and shows nothing of what it holds.
func (c *Client) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "oauthclient.Client(%s)", c.realm()) }

// Close ends the client. It waits, for at most 10 seconds, for a refresh under way to be stored and for the browser to load its last
// page. Afterwards tokens that are still valid are handed out, and what would need the provider is [os.ErrClosed].
// It is nil where nothing was cut short. Later calls do nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if again {
		return nil
	}
	c.stop()
	done := make(chan struct{})
	go func() {
		c.working.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
		c.end()
	case <-time.After(closeWait):
		c.end()
		err = errors.New("oauthclient: something was still under way at Close, as a refresh that cannot be stored; the next process to use the session will finish it")
	}
	c.closeIdle()
	return err
}

// begin reports whether new work may start, and counts it for Close.
func (c *Client) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("oauthclient: the client is closed: %w", os.ErrClosed)
	}
	c.working.Add(1)
	return nil
}

func (c *Client) done() { c.working.Done() }

func (c *Client) openID() bool { return slices.Contains(c.cfg.Scopes, "openid") }

// realm is what the sessions of this client are stored under: the issuer, or the resource where that names the issuer.
func (c *Client) realm() string {
	if c.issuer != "" {
		return c.issuer
	}
	return "resource " + c.cfg.Resources[0]
}

// party is the client that they are stored under: its ID, or how it registers.
func (c *Client) party() string {
	if c.cfg.ClientID != "" {
		return c.cfg.ClientID
	}
	name := c.cfg.Registration.SoftwareID // what stays the same over versions
	if name == "" {
		name = c.cfg.Registration.ClientName
	}
	return "registered " + name
}

func (c *Client) key(account string) string { return session.Key(c.realm(), c.party(), account) }

// Session returns the stored session of account ("" is the default account). It reads the store only, unless a process died in a refresh: that is
// then finished, for the grace that providers give is short. [ErrLoginRequired]: there is none. All Sessions of one account share what they know: a Login is seen by all.
func (c *Client) Session(ctx context.Context, account string) (*Session, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.done()
	a := c.account(account)
	if err := a.load(ctx); err != nil {
		return nil, err
	}
	return a.session("", nil), nil
}

// Accounts lists the sessions of this issuer and client, from the store's index: no secret is read.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.done()
	rows, err := c.keeper.Rows(ctx, c.realm(), c.party())
	if err != nil {
		return nil, err
	}
	accounts := make([]Account, len(rows))
	for i, r := range rows {
		accounts[i] = c.describe(r)
	}
	// Not slices.SortFunc, which is compiled anew for each type: for one of this size 30 kB in every program.
	sort.Slice(accounts, func(i, j int) bool { return accounts[i].Name < accounts[j].Name })
	return accounts, nil
}

func (c *Client) describe(r session.Row) Account {
	return Account{
		Name: r.Account, Issuer: r.Issuer, Subject: r.Subject, Username: r.Username, Scopes: slices.Clone(r.Scopes),
		Expiry: r.Expiry, Refreshable: r.Refreshable, Store: c.where(),
	}
}

// where names the store for a person.
func (c *Client) where() string {
	if s, ok := c.store.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", c.store)
}

// account returns the state that all Sessions of one account share.
func (c *Client) account(name string) *account {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.accounts[name]
	if a == nil {
		a = &account{client: c, name: name, key: c.key(name)}
		c.accounts[name] = a
	}
	return a
}
