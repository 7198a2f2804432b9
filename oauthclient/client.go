package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Client signs users in at one provider and hands out their sessions. One Client
// serves a whole program; call [Client.Close] before the program ends. It is safe
// for concurrent use. The zero Client is not usable: see [New].
type Client struct {
	cfg       Config
	issuer    string // "": the resource names it
	log       *slog.Logger
	store     tokenstore.Store
	keeper    *session.Keeper
	accounts  *session.Accounts
	providers *providers
	origins   []string   // where tokens go; nil: wherever the program itself calls
	rejected  rejections // tokens that an API rejected when they were new

	mu        sync.Mutex
	listeners []chan struct{}                      // see release
	leaving   map[*session.Account][]chan struct{} // see logoutEnded
	closed    bool
	targets   map[string]*target // by account: what the tokens of a session without a user are for

	life      context.Context // ends a while after Close, with whatever still waits
	end       context.CancelFunc
	prompting context.Context // ends with Close: nobody is prompted any more
	stop      context.CancelFunc
	working   sync.WaitGroup // refreshes under way, pages being delivered
}

const (
	// closeWait bounds Close.
	closeWait = 10 * time.Second
	// lockWait is longer than two calls of the token endpoint and a keychain that is
	// slow to answer, so that nobody gives up on a holder that works.
	lockWait = 2*fetch.Timeout + time.Minute
)

// New returns a Client for cfg, which it copies. It validates cfg and does no I/O: a
// provider that cannot be reached is an error of Login.
func New(cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("oauthclient: %w", err)
	}
	c := &Client{cfg: cfg.clone(), log: cfg.Logger, store: cfg.Store}
	c.issuer = c.cfg.issuer()
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if !c.cfg.keeps() { // a job must not inherit a user's session
		c.store = new(tokenstore.Memory)
	}
	if c.store == nil {
		c.store = &tokenstore.Keyring{}
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.prompting, c.stop = context.WithCancel(context.Background())
	c.origins = tokenOrigins(&c.cfg)
	c.providers = newProviders(&c.cfg, c.log, c.prompting)
	c.keeper = &session.Keeper{
		Store: c.store, Logger: c.log, LockWait: lockWait, Queue: session.KeepsFiles(c.store),
		Verify: c.providers.verifyRefreshed, Revoke: c.providers.revoke, Clock: &c.providers.nonces.Clock,
	}
	c.providers.keeper, c.providers.begin, c.providers.done = c.keeper, c.begin, c.done
	c.accounts = &session.Accounts{
		Keeper: c.keeper, Send: c.providers.refresh, Settled: c.providers.settled, RefreshBefore: c.cfg.RefreshBefore,
		Life: c.life, Starting: c.prompting, Begin: c.begin, Done: c.done, Logger: c.log,
	}
	if !c.cfg.keeps() {
		c.accounts.Obtain = c.obtain
		c.accounts.Discard = func(g *session.Grant) {
			c.working.Go(func() { c.providers.discard(c.life, g) })
		}
	}
	return c, nil
}

// Format implements [fmt.Formatter]. Every verb names the client and shows nothing
// of what it holds.
func (c *Client) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "oauthclient.Client(%s)", c.cfg.realm())
}

// Close ends the client. It waits, for at most 10 seconds, until a refresh under way
// is stored and the browser has loaded its last page. Afterwards tokens that are
// still valid are returned, and what would need the provider fails with
// [os.ErrClosed]. Close returns nil if nothing was cut short. Later calls do nothing.
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
		err = errors.New("oauthclient: something was still under way at Close, as a refresh that cannot be stored; " +
			"the next process to use the session will finish it")
	}
	c.accounts.EndTurns()
	c.providers.closeIdle()
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

// account returns the state that all Sessions of one account share. A name that is
// no UTF-8 could not be stored and found again.
func (c *Client) account(name string) (*session.Account, error) {
	if !utf8.ValidString(name) {
		return nil, errors.New("the account's name is not valid UTF-8; choose another")
	}
	return c.accounts.Account(name, session.Key(c.cfg.realm(), c.cfg.party(), name)), nil
}

// Session returns the stored session of account; "" is the default account. It fails
// with [ErrLoginRequired] if there is none; the message then names the accounts that
// have one, if the store can list them. It reads the store only. If a process
// died in a refresh, that refresh is finished first, since the grace that providers
// give is short. All Sessions of one account share what they know, so a Login is
// seen by all of them.
//
// With [Config].Workload it returns the program's own session, and does no I/O. With
// [Config].IdentityProvider it returns the user's at this server, likewise.
func (c *Client) Session(ctx context.Context, account string) (*Session, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.done()
	if !c.cfg.keeps() {
		return c.workloadSession(account)
	}
	a, err := c.account(account)
	if err != nil {
		return nil, err
	}
	if err := loadAccount(ctx, a); err != nil {
		return nil, c.nameOthers(ctx, err)
	}
	return c.session(a), nil
}

// nameOthers adds the accounts that have a session to an error that says that
// none is stored: the program's user may have meant one of them. An error of the
// list is not shown, because err is what happened.
func (c *Client) nameOthers(ctx context.Context, err error) error {
	absent, ok := err.(*loginRequired)
	if !ok || !errors.Is(absent.cause, session.ErrAbsent) {
		return err
	}
	rows, listErr := c.keeper.Rows(ctx, c.cfg.realm(), c.cfg.party())
	if listErr != nil || len(rows) == 0 {
		return err
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = strconv.Quote(r.Account)
		if r.Account == "" {
			names[i] = "the default account"
		}
	}
	slices.Sort(names)
	if more := len(names) - namedAccounts; more > 0 {
		names = append(names[:namedAccounts], fmt.Sprintf("%d more", more))
	}
	named := *absent
	named.why += "; there is one for " + strings.Join(names, ", ")
	return &named
}

// namedAccounts is how many accounts an error names. More would hide what it
// says.
const namedAccounts = 8

// loadAccount reads a's stored session into memory.
func loadAccount(ctx context.Context, a *session.Account) error {
	err := a.Load(ctx)
	switch {
	case errors.Is(err, session.ErrSignedOut):
		return &loginRequired{why: "the session was signed out" + forAccount(a.Name), kind: ErrSignedOut, cause: err}
	case errors.Is(err, session.ErrAbsent):
		return &loginRequired{why: "no session is stored" + forAccount(a.Name), kind: ErrNoSession, cause: err}
	}
	return failure(err)
}

func forAccount(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" for account %q", name)
}

// Accounts lists the stored sessions of this issuer and client, by name. It reads the
// store's journal and no secret. A store that cannot list is [errors.ErrUnsupported].
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.done()
	rows, err := c.keeper.Rows(ctx, c.cfg.realm(), c.cfg.party())
	if err != nil {
		return nil, err
	}
	accounts := make([]Account, len(rows))
	for i, r := range rows {
		accounts[i] = c.describe(r)
	}
	// Not slices.SortFunc, which is compiled anew for each type: for one of this size
	// 30 kB in every program.
	sort.Slice(accounts, func(i, j int) bool { return accounts[i].Name < accounts[j].Name })
	return accounts, nil
}

func (c *Client) describe(r session.Row) Account {
	return Account{
		Name: r.Account, Issuer: r.Issuer, Subject: r.Subject, Username: r.Username, Scopes: slices.Clone(r.Scopes),
		Expiry: r.Expiry, Refreshable: r.Refreshable, SessionExpiry: r.SessionExpiry, Store: c.storeName(),
		LoginRequired: r.Ended || !r.Refreshable && !time.Now().Before(r.Until),
	}
}

// storeName names the store for a user.
func (c *Client) storeName() string {
	if s, ok := c.store.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", c.store)
}

// failure turns what internal/session reports into what a program decides on.
func failure(err error) error {
	var pause *session.PauseError
	var narrow *session.NarrowError
	var identity *identityError
	var own *workloadError
	switch {
	case errors.As(err, &own):
		return &functionError{own}
	case errors.As(err, &identity): // it is about another session, and says all
		return identity
	case errors.As(err, &narrow): // first: the session itself goes on
		return &narrowRefused{narrow}
	case errors.Is(err, session.ErrSignedOut):
		return &loginRequired{why: "the session was signed out", kind: ErrSignedOut, cause: err}
	case errors.Is(err, session.ErrAbsent):
		return &loginRequired{why: "the session is gone", kind: ErrNoSession, cause: err}
	case errors.Is(err, session.ErrDead):
		return &loginRequired{why: "the provider has ended the session", kind: ErrSessionRefused, cause: err}
	case errors.Is(err, session.ErrDoubted):
		return &loginRequired{why: "the provider refuses to renew the session", kind: ErrSessionRefused, cause: err}
	case errors.Is(err, session.ErrMismatch):
		return &loginRequired{why: "the provider's answer does not prove whose session it renewed", kind: ErrSessionRefused, cause: err}
	case errors.Is(err, session.ErrNoRefreshToken):
		return &loginRequired{why: "the access token has expired, and the provider gave no refresh token " +
			"(the scope offline_access, or a login with prompt=consent, may bring one)", kind: ErrSessionExpired, cause: err}
	case errors.Is(err, session.ErrProofKey):
		return &loginRequired{why: err.Error(), kind: ErrNoSession, cause: err}
	case errors.Is(err, session.ErrOtherUser):
		return fmt.Errorf("%w: this session's account now belongs to another user; use the one that Client.Session returns",
			ErrAccountMismatch)
	case errors.As(err, &pause):
		return &Error{Endpoint: "token", Status: pause.Status, RetryAfter: pause.After}
	}
	return err
}
