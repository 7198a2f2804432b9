package session

import "errors"

// A session without a user is not stored: its tokens are had again, at any time, with
// what the program is configured with. So there is no refresh token that could be used
// twice, no lock and no journal. The tokens in memory, the flight that all callers
// share and the pauses after a failure are those of a stored session.

// Start makes g, which has no token yet, the session of an account that is not
// stored. It does nothing, and returns false, if the account has one.
func (a *Account) Start(g *Grant) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.grant.Load() != nil {
		return false
	}
	a.set(g, g.Generation)
	return true
}

// Forget drops the tokens of a session that is not stored, and returns the grant that
// had them. The next Token obtains others. nil: the account has no session.
func (a *Account) Forget() *Grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.grant.Load()
	if g == nil {
		return nil
	}
	bare := *g
	bare.Tokens = []Token{{}}
	bare.Generation = a.newest + 1
	a.forgetFailures()
	a.set(&bare, bare.Generation)
	return g
}

// obtain is one refresh of a session that is not stored.
func (a *Account) obtain(f *flight) error {
	as := a.accounts
	before := a.grant.Load()
	g, err := as.Obtain(as.Life, before, f.slot)
	if err != nil {
		as.Logger.Info("no token was obtained", "event", "refresh_failed", "account", a.Name, "err", err)
		var se *SendError
		if errors.As(err, &se) && (se.Failure == Dead || se.Failure == Doubtful) {
			se.Failure = Refused // nothing has ended: the next request has a new assertion
		}
		return err
	}
	if !a.replace(before, g) {
		f.dropped = true
		as.Discard(g.without(before))
		return nil
	}
	as.Logger.Info("a token was obtained", "event", "refresh", "account", a.Name)
	return nil
}

// replace makes g the grant, if that is still before. Forget may have come between:
// the other tokens of g are revoked then.
func (a *Account) replace(before, g *Grant) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.grant.Load() != before {
		return false
	}
	g.Generation = a.newest + 1
	a.set(g, g.Generation)
	return true
}
