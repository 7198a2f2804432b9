package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// sequence is one run: a provider, a store, and what happens.
type sequence struct {
	Provider habits
	File     bool // a sealed file; else memory
	Browser  bool // the user signs in with a browser; else with a device code
	Ops      []op
}

// op is one operation. Fields that it does not need are ignored.
type op struct {
	Do       string
	On       int           // which of two processes
	Account  string        // of the session
	User     string        // that signs in; "": the account's, else alice; "nobody" says no
	Replace  bool          // LoginOptions.ReplaceUser
	Deadline time.Duration // of the call; 0: none
	Kill     int           // the process dies at this step of the call; 0: it lives
	At       string        // the endpoint that is bent
	Answer   answer
	Times    int // how often; 0: until healed
	Wait     time.Duration
}

// world is a sequence under way.
type world struct {
	seq      sequence
	provider *provider
	// transport leads to the provider, and confirm tells it of a device code.
	transport http.RoundTripper
	confirm   func(code string)
	suicide   bool // a process that dies is this one
	dir       string
	key       tokenstore.Key
	store     shared
	procs     [2]*process
	all       []*process // the dead ones too
	over      chan struct{}

	accounts map[string]*account
	cause    string // why a session may have ended, besides Logout; "": nothing
	failed   int    // calls of a session
	lossy    bool   // a refresh token may have been lost on the way
	keysOnly bool   // nothing but the key set was ever out of reach
	backup   map[string][]byte

	prompts atomic.Int32
	mu      sync.Mutex
	signing string          // the user that answers a prompt
	expire  func()          // ends the sign-in under way
	keys    map[string]bool // that were written
}

// account is what should be true of a stored session.
type account struct {
	user    string
	grant   *grant
	in      bool // signed in
	out     bool // Logout came after the last sign-in
	still   bool // and said that the session may still be here
	unknown bool // a process was killed in a sign-in or sign-out
	excused bool // Logout of another account of the user may have ended the grant
	leaving bool // a process was killed in Logout: whoever comes next finishes it
}

// violation is a broken rule.
type violation struct {
	rule string
	text string
}

func (v *violation) String() string { return v.rule + ": " + v.text }

func broken(rule, format string, args ...any) *violation {
	return &violation{rule, fmt.Sprintf(format, args...)}
}

const (
	storeKey = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
	secondOf = "second"
	notUTF8  = "\xff"
)

// run plays seq and returns the first broken rule; nil: none is.
func run(t *testing.T, dir string, seq sequence) (v *violation) {
	p := newProvider(seq.Provider)
	w := &world{
		seq: seq, provider: p, transport: p, dir: dir,
		accounts: map[string]*account{}, keys: map[string]bool{}, keysOnly: true,
	}
	w.confirm = func(code string) { p.confirm(code, w.signing) }
	switch seq.Provider.Refreshed {
	case "sub", "iss":
		w.cause = "another identity"
	}
	if seq.Provider.NoRefresh {
		w.cause = "no refresh token"
	}
	for rest := seq.Ops; ; {
		now := rest
		for i, o := range rest {
			if o.Do == "clock back" {
				now = rest[:i]
				break
			}
		}
		last := len(now) == len(rest)
		synctest.Test(t, func(*testing.T) { v = w.bubble(now, last) })
		if v != nil || last {
			return v
		}
		rest = rest[len(now)+1:]
		w.keysOnly = false
	}
}

// bubble plays operations in one bubble, at the start of which it is always the
// same time: the clock has been set back, and the machine was restarted.
func (w *world) bubble(ops []op, last bool) (v *violation) {
	w.over, w.all = make(chan struct{}), nil
	w.open()
	for i := range w.procs {
		w.procs[i] = w.start()
	}
	defer func() {
		if closed := w.close(); v == nil {
			v = closed
		}
	}()
	for i, o := range ops {
		if v := w.do(o); v != nil {
			v.text = fmt.Sprintf("%s (operation %d, %s)", v.text, i, o.Do)
			return v
		}
	}
	if !last {
		return nil
	}
	if v := w.settle(); v != nil {
		v.text += " (with provider and network healthy)"
		return v
	}
	return nil
}

// open makes the store of this bubble, with what the last one held.
func (w *world) open() {
	if w.seq.File {
		if w.store == nil {
			w.key, _ = tokenstore.ParseKey(storeKey)
		}
		w.store = tokenstore.NewFile(w.dir, w.key)
		return
	}
	before := w.store
	w.store = &tokenstore.Memory{}
	if before == nil {
		return
	}
	ctx := context.Background()
	for key := range w.keys {
		if data, err := before.Get(ctx, key); err == nil {
			_ = w.store.Put(ctx, key, data)
		}
		if data, err := before.ReadJournal(ctx, key); err == nil {
			_ = w.store.WriteJournal(ctx, key, data)
		}
	}
}

// close ends the bubble, and checks that Close is bounded.
func (w *world) close() *violation {
	close(w.over)
	var slow atomic.Pointer[violation]
	var wg sync.WaitGroup
	for _, p := range w.all {
		wg.Go(func() {
			begun := time.Now()
			if p.client.Close() != nil {
				defer time.Sleep(patient) // what was under way goes on, and ends
			}
			if took := time.Since(begun); p.alive() && took > time.Minute {
				slow.Store(broken("bounded", "Close took %v", took))
			}
		})
	}
	wg.Wait()
	w.provider.restart()
	return slow.Load()
}

func (w *world) note(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[key] = true
}

// prompt is the user, with a device code.
func (w *world) prompt(_ context.Context, do oauthclient.Instructions) (string, error) {
	if do.UserCode == "" {
		return "", nil // the browser is at it
	}
	w.prompts.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.confirm(do.UserCode)
	return "", nil
}

func (w *world) account(name string) *account {
	a := w.accounts[name]
	if a == nil {
		a = &account{user: "alice"}
		w.accounts[name] = a
	}
	return a
}

// do plays one operation.
func (w *world) do(o op) *violation {
	switch o.Do {
	case "wait":
		time.Sleep(o.Wait)
		return nil
	case "bend":
		w.bend(o)
		return nil
	case "heal":
		w.heal()
		return nil
	case "revoke", "forget", "new keys", "fast clock", "slow clock":
		w.event(o.Do)
		return nil
	case "alive":
		if a := w.account(o.Account); a.grant == nil || !a.grant.alive {
			return broken("no reason", "the session has ended at the provider")
		}
		return nil
	case "backup", "restore":
		w.copies(o.Do)
		return nil
	}
	p := w.procs[o.On]
	p.mu.Lock()
	if p.fuse = o.Kill; w.seq.Browser && strings.HasSuffix(o.Do, "login") {
		p.fuse = 0 // its listener would stay
	}
	p.mu.Unlock()
	v := w.play(p, o)
	p.mu.Lock()
	p.fuse = 0
	p.mu.Unlock()
	if !p.alive() {
		w.procs[o.On] = w.start()
		if w.seq.Provider.Rotation != "" {
			w.cause, w.lossy = "kill", true
		}
	}
	if v != nil {
		return v
	}
	return w.nobodyRevoked(o)
}

func (w *world) play(p *process, o op) *violation {
	switch o.Do {
	case "login", "session or login":
		v, _ := w.signIn(p, o)
		return v
	case "session":
		delete(p.handles, o.Account)
		_, v, _ := w.handle(p, o)
		return v
	case "logout":
		return w.logout(p, o)
	case "restart":
		v, _ := w.call(p, o, func(context.Context) error { return p.client.Close() })
		if p.alive() {
			w.procs[o.On] = w.start()
		}
		return v
	case "burst":
		return w.burst(p, o)
	case "crowd":
		return w.crowd(o)
	}
	return w.use(p, o)
}

// bend bends the provider, and remembers what that may cost.
func (w *world) bend(o op) {
	w.provider.bendTo(o.At, o.Answer, o.Times)
	if o.At != "keys" || o.Answer.Body == "json" || o.Answer.Body == "truncated" || o.Answer.Status/100 == 2 {
		w.keysOnly = false
	}
	if o.At != "token" && o.At != "all" {
		return
	}
	if o.Answer.counts(w.seq.Provider.Registers) {
		w.cause = "refused"
	}
	if o.Answer.loses() && w.seq.Provider.Rotation != "" {
		w.cause, w.lossy = "lost", true
	}
}

// heal makes everything right again, the clock of this machine too.
func (w *world) heal() { time.Sleep(w.provider.heal()) }

func (w *world) event(name string) {
	w.provider.event(name)
	switch name {
	case "fast clock", "slow clock":
		w.keysOnly = false
	case "new keys":
	case "forget":
		if w.seq.Provider.Registers {
			w.cause = name
		}
	default:
		w.cause = name
	}
}

// copies keeps the stored values, or puts them back over newer ones. The
// records stay, as after a partial restore.
func (w *world) copies(what string) {
	ctx := context.Background()
	keys, err := w.store.List(ctx, "")
	if err != nil {
		return
	}
	if what == "backup" {
		w.backup = map[string][]byte{}
		for _, key := range keys {
			if data, err := w.store.Get(ctx, key); err == nil {
				w.backup[key] = data
			}
		}
		return
	}
	for _, key := range keys {
		if data, ok := w.backup[key]; ok {
			_ = w.store.Put(ctx, key, data)
			w.cause = "restore"
		}
	}
}

// call plays one call of p. It returns errKilled if p dies meanwhile, and a
// violation if the call is not bounded.
func (w *world) call(p *process, o op, f func(context.Context) error) (*violation, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if o.Deadline > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.Deadline)
		defer cancel()
	}
	if a := w.accounts[o.Account]; a != nil && a.leaving {
		w.excuse(a)
	}
	refreshes, others := p.sent()
	begun := time.Now()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	timeout := time.NewTimer(10 * time.Minute)
	defer timeout.Stop()
	select {
	case err := <-done:
		after, rest := p.sent()
		signsIn := o.Do == "login" || o.Do == "session or login"
		if n := after - refreshes; n > 6 && !signsIn {
			return broken("bounded", "one call sent %d refresh requests", n), err
		}
		if n := rest - others; n > 20 {
			return broken("bounded", "one call sent %d requests", n), err
		}
		if o.Deadline > 0 && time.Since(begun) > o.Deadline+30*time.Second {
			return broken("bounded", "a call with a deadline of %v took %v", o.Deadline, time.Since(begun)), err
		}
		return w.judgeWording(err), err
	case <-p.dead:
		return nil, errKilled
	case <-timeout.C:
		return broken("bounded", "the call does not end"), nil
	}
}

// judgeWording checks what an error must not say.
func (w *world) judgeWording(err error) *violation {
	if w.keysOnly && errors.Is(err, oauthclient.ErrInvalidResponse) && w.seq.Provider.Refreshed == "" {
		return broken("truth", "keys that cannot be had are called an invalid response: %v", err)
	}
	return nil
}

// signIn plays Login and SessionOrLogin.
func (w *world) signIn(p *process, o op) (*violation, error) {
	a := w.account(o.Account)
	user := o.User
	if user == "" {
		user = a.user
	}
	w.mu.Lock()
	w.signing = user
	w.mu.Unlock()
	before := w.prompts.Load()
	s, v, err := w.signInOnce(p, o)
	prompted := w.prompts.Load() > before
	if errors.Is(err, errKilled) {
		a.unknown = true
	}
	if v != nil {
		return v, err
	}
	// After IDToken has said ErrLoginRequired, the next SessionOrLogin prompts.
	noIDToken := (p.told[o.Account] || p.lacking[o.Account]) && (w.seq.Provider.Refreshed != "" || w.seq.Provider.NoRefresh)
	if prompted && o.Do != "login" && a.in && !a.unknown && w.cause == "" && !noIDToken {
		return broken("no reason", "SessionOrLogin prompted although nothing ended the session (%v)", err), err
	}
	if errors.Is(err, oauthclient.ErrAccountMismatch) && a.unknown {
		w.learn(p, o.Account)
	}
	if err != nil {
		return nil, err
	}
	p.handles[o.Account] = &handle{s, s.Account().Subject}
	if !prompted {
		return w.unprompted(p, o.Account, s), nil
	}
	*a = account{user: user, in: true, grant: w.provider.newest(user)}
	for _, p := range w.procs {
		delete(p.told, o.Account)
		delete(p.lacking, o.Account)
		delete(p.refused, o.Account)
	}
	time.Sleep(time.Second) // for what is done in the background
	return nil, nil
}

func (w *world) signInOnce(p *process, o op) (s *oauthclient.Session, v *violation, err error) {
	opts := &oauthclient.LoginOptions{Account: o.Account, ReplaceUser: o.Replace, Flow: oauthclient.FlowDevice}
	if w.seq.Browser {
		opts.Flow = oauthclient.FlowBrowser
		time.Sleep(3 * time.Minute) // until nobody waits for the clock
		w.provider.hurry(true)
		defer w.provider.hurry(false)
	}
	v, err = w.call(p, o, func(ctx context.Context) (err error) {
		if w.seq.Browser {
			ctx = w.expiring(ctx)
		}
		if o.Do == "login" {
			s, err = p.client.Login(ctx, opts)
		} else {
			s, err = p.client.SessionOrLogin(ctx, opts)
		}
		return err
	})
	return s, v, err
}

// learn finds out which user an account has after a process was killed.
func (w *world) learn(p *process, name string) {
	_, _ = w.call(p, op{}, func(ctx context.Context) error {
		accounts, err := p.client.Accounts(ctx)
		for _, a := range accounts {
			if a.Name == name && a.Subject != "" {
				w.account(name).user = a.Subject
			}
		}
		return err
	})
}

// unprompted checks a session that SessionOrLogin returned without a prompt.
func (w *world) unprompted(p *process, account string, s *oauthclient.Session) *violation {
	if a := w.account(account); a.out && !a.still && !a.unknown {
		return broken("logout", "SessionOrLogin returned a session that was signed out")
	}
	if !p.told[account] {
		return nil
	}
	token, err := w.token(p, s)
	if errors.Is(err, oauthclient.ErrLoginRequired) || err == nil && !w.provider.works(token) {
		return broken("dead end",
			"after ErrLoginRequired, SessionOrLogin returned the same dead session without a prompt")
	}
	return nil
}

// handle returns the process's Session of an account, as a program does that
// keeps it. nil, nil, nil: there is none.
func (w *world) handle(p *process, o op) (*handle, *violation, error) {
	if h := p.handles[o.Account]; h != nil {
		return h, nil, nil
	}
	begun := time.Now()
	var s *oauthclient.Session
	v, err := w.call(p, o, func(ctx context.Context) (err error) {
		s, err = p.client.Session(ctx, o.Account)
		return err
	})
	if v != nil {
		return nil, v, err
	}
	if err != nil {
		return nil, w.judge(p, o, nil, err), err
	}
	if took := time.Since(begun); took > 3*time.Second && time.Until(s.Account().Expiry) > time.Minute {
		return nil, broken("bounded", "Session took %v although a valid token is stored", took), nil
	}
	h := &handle{s, s.Account().Subject}
	if a := w.account(o.Account); a.unknown && h.user != "" {
		a.user = h.user
	}
	p.handles[o.Account] = h
	return h, nil, nil
}

// use plays a call of a Session.
func (w *world) use(p *process, o op) *violation {
	h, v, _ := w.handle(p, o)
	if h == nil || v != nil {
		return v
	}
	v, err := w.call(p, o, func(ctx context.Context) error { return w.useOnce(ctx, p, o, h) })
	if v != nil {
		return v
	}
	var wrong *violationError
	if errors.As(err, &wrong) {
		return wrong.violation
	}
	if err != nil {
		w.failed++
	}
	return w.judge(p, o, h, err)
}

// violationError carries a violation through a call.
type violationError struct{ violation *violation }

func (e *violationError) Error() string { return e.violation.String() }

func (w *world) useOnce(ctx context.Context, p *process, o op, h *handle) error {
	s := h.session
	switch o.Do {
	case "refresh":
		return s.Refresh(ctx)
	case "id token":
		_, _, err := s.IDToken(ctx)
		return err
	case "call":
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/", nil)
		if err != nil {
			return err
		}
		resp, err := s.HTTPClient().Do(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.Body.Close()
	case "narrow":
		s = s.For("", "read")
	}
	tok, err := s.Token(ctx)
	if err != nil {
		return err
	}
	if v := w.handedOut(p, o.Account, h, tok.AccessToken); v != nil {
		return &violationError{v}
	}
	return nil
}

// token calls Token once.
func (w *world) token(p *process, s *oauthclient.Session) (token string, err error) {
	_, err = w.call(p, op{}, func(ctx context.Context) error {
		tok, err := s.Token(ctx)
		if err == nil {
			token = tok.AccessToken
		}
		return err
	})
	return token, err
}

// burst plays many calls in a short time.
func (w *world) burst(p *process, o op) *violation {
	h, v, _ := w.handle(p, o)
	if h == nil || v != nil {
		return v
	}
	const calls = 20
	refreshes, others := p.sent()
	one := o
	one.Do = o.At
	allowed := 8
	for range calls {
		failed := w.failed
		if v := w.use(p, one); v != nil || !p.alive() {
			return v
		}
		if p.handles[o.Account] == nil {
			return nil
		}
		if w.failed == failed && (one.Do == "refresh" || w.short()) {
			allowed++ // it is what the call is for
		}
		time.Sleep(3 * time.Millisecond)
	}
	after, rest := p.sent()
	if n := after - refreshes; n > allowed {
		return broken("bounded", "%d calls in a row sent %d refresh requests", calls, n)
	}
	if n := rest - others; n > 20 {
		return broken("bounded", "%d calls in a row sent %d requests", calls, n)
	}
	return nil
}

// short reports whether the provider issues tokens without life.
func (w *world) short() bool {
	w.provider.mu.Lock()
	defer w.provider.mu.Unlock()
	return w.provider.bends["token"].answer.Life != "" || w.provider.bends["all"].answer.Life != ""
}

// crowd has both processes call Token at once.
func (w *world) crowd(o op) *violation {
	type result struct {
		process *process
		handle  *handle
		token   string
	}
	results := make(chan result, 10)
	var wg sync.WaitGroup
	for i, p := range w.procs {
		o.On = i
		h, v, _ := w.handle(p, o)
		if v != nil {
			return v
		}
		for range 5 {
			wg.Go(func() {
				if h == nil {
					return
				}
				if tok, err := h.session.Token(context.Background()); err == nil {
					results <- result{p, h, tok.AccessToken}
				}
			})
		}
	}
	wg.Wait()
	close(results)
	for r := range results {
		if v := w.handedOut(r.process, o.Account, r.handle, r.token); v != nil {
			return v
		}
	}
	return nil
}

// excuse notes that a logout of a may end the grants of other accounts too.
func (w *world) excuse(a *account) {
	for _, other := range w.accounts {
		if other.user == a.user {
			other.excused = other.excused || other == a || w.seq.Provider.RevokesUser
		}
	}
}

// logout plays Logout.
func (w *world) logout(p *process, o op) *violation {
	a := w.account(o.Account)
	w.excuse(a)
	if w.seq.Provider.RevokesUser {
		w.cause = "logout"
	}
	healthy := w.healthy()
	v, err := w.call(p, o, func(ctx context.Context) error { return p.client.Logout(ctx, o.Account, nil) })
	if v != nil {
		return v
	}
	if errors.Is(err, errKilled) {
		a.unknown, a.leaving = true, true
		return nil
	}
	if a.in {
		a.out = true
	}
	a.in = false
	switch {
	case o.Deadline > 0 && errors.Is(err, context.Canceled):
		return broken("truth", "a passed deadline is called Canceled: %v", err)
	case errors.Is(err, oauthclient.ErrNotRevoked) && healthy && a.grant != nil && a.grant.revoked:
		return broken("truth", "ErrNotRevoked although the refresh token was revoked: %v", err)
	case err != nil && !errors.Is(err, oauthclient.ErrNotRevoked):
		a.still = true // but not for ever: see signedOut
		return nil
	}
	if h := p.handles[o.Account]; h != nil && a.out {
		if _, err := w.token(p, h.session); !errors.Is(err, oauthclient.ErrLoginRequired) && p.alive() {
			return broken("logout", "after Logout, Token says %v", err)
		}
	}
	return nil
}

func (w *world) healthy() bool {
	w.provider.mu.Lock()
	defer w.provider.mu.Unlock()
	return len(w.provider.bends) == 0
}
