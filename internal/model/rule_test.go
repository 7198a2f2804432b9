package model

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// judge decides whether an error of a session's call is one that may be. h is
// nil for Client.Session.
func (w *world) judge(p *process, o op, h *handle, err error) *violation {
	a := w.account(o.Account)
	switch {
	case err == nil, errors.Is(err, errKilled):
		return nil
	case errors.Is(err, oauthclient.ErrAccountMismatch):
		if h == nil || h.user == a.user && !a.unknown {
			return broken("no reason", "ErrAccountMismatch although the account is still %s's: %v", a.user, err)
		}
		delete(p.handles, o.Account)
		return nil
	case !errors.Is(err, oauthclient.ErrLoginRequired):
		return nil // it must pass when all is healthy
	}
	if o.Do == "narrow" && w.seq.Provider.Narrow {
		return nil
	}
	p.told[o.Account] = true
	p.lacking[o.Account] = p.lacking[o.Account] || o.Do == "id token"
	var said *oauthclient.Error
	if errors.As(err, &said) && said.Code == "invalid_grant" && o.Do != "narrow" {
		p.refused[o.Account] = true
	}
	reason := !a.in || a.unknown || w.cause != "" || h != nil && h.user != a.user
	if o.Do == "id token" && w.seq.Provider.Refreshed != "" {
		reason = true
	}
	if !reason {
		return broken("no reason", "ErrLoginRequired although nothing ended the session: %v", err)
	}
	return nil
}

// handedOut checks an access token that a Session returned.
func (w *world) handedOut(p *process, account string, h *handle, token string) *violation {
	if user := w.provider.user(token); user != h.user {
		return broken("user", "the session of %s returned a token of %s", h.user, user)
	}
	if w.provider.stranger(token) {
		return broken("user", "a refresh brought another identity, and its token was handed out")
	}
	works := w.provider.works(token)
	if p.refused[account] && !works {
		return broken("dead end", "the session was refused with invalid_grant, and its token is handed out again")
	}
	if works {
		delete(p.told, account)
		delete(p.refused, account)
	}
	return nil
}

// nobodyRevoked checks that nothing but Logout revoked a stored session, and
// that no spent refresh token was sent without need.
func (w *world) nobodyRevoked(o op) *violation {
	w.provider.mu.Lock()
	defer w.provider.mu.Unlock()
	for name, a := range w.accounts {
		if a.in && !a.excused && !a.unknown && a.grant != nil && a.grant.revoked {
			return broken("revoked", "%s revoked the stored session of account %q", o.Do, name)
		}
	}
	if w.provider.reused > 0 && !w.lossy {
		return broken("spent", "a spent refresh token was sent although no answer was lost")
	}
	return nil
}

// pauses are between the tries of a call that must work in the end. The longest way
// is that of a new ID token after an outage of the keys: a minute until they are
// fetched again, a minute in which a token that they do not verify is checked again,
// and two refusals of the refresh that follows.
var pauses = []time.Duration{
	0, 2 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute,
	10 * time.Second, 30 * time.Second,
}

// settle checks the rule: everything is healthy, so everything works, or works
// after a prompt.
func (w *world) settle() *violation {
	w.heal()
	if v := w.signedOut(); v != nil {
		return v
	}
	var names []string
	for name, a := range w.accounts {
		if name != notUTF8 || a.in { // else such a name was refused
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		names = []string{""}
	}
	for round := range 2 {
		for on := range w.procs {
			for _, name := range names {
				for _, what := range []string{"token", "id token"} {
					if v := w.heals(w.procs[on], op{Do: what, On: on, Account: name}); v != nil {
						if round > 0 {
							v.text += " (after the access token has expired)"
						}
						return v
					}
				}
			}
		}
		time.Sleep(life + time.Minute)
	}
	return nil
}

// signedOut checks that what was signed out is gone, here and in the store.
func (w *world) signedOut() *violation {
	checked := false
	for name, a := range w.accounts {
		if !a.out || a.unknown {
			continue
		}
		if !checked {
			time.Sleep(3 * time.Minute)
			checked = true
		}
		for on, p := range w.procs {
			h := p.handles[name]
			if h == nil {
				continue
			}
			_, _ = w.token(p, h.session) // it may notice a logout elsewhere only now
			time.Sleep(10 * time.Second)
			if token, err := w.token(p, h.session); err == nil {
				return broken("logout", "Token of process %d returns a token after Logout (it works: %t)",
					on, w.provider.works(token))
			}
		}
	}
	if !checked {
		return nil
	}
	for _, a := range w.accounts {
		if a.in || a.unknown {
			return nil
		}
	}
	keys, err := w.store.List(context.Background(), "")
	for _, key := range keys {
		if !w.seq.Provider.Registers && !strings.Contains(key, ".login") && !strings.Contains(key, ".journal") {
			return broken("logout", "the store still holds the session that was signed out (%v)", err)
		}
	}
	return nil
}

// heals checks that a call works within a few tries, or says ErrLoginRequired,
// and works after the user was prompted.
func (w *world) heals(p *process, o op) *violation {
	var last error
	for _, pause := range pauses {
		time.Sleep(pause)
		v, err := w.attempt(p, o)
		if v == nil {
			v = w.nobodyRevoked(o)
		}
		switch {
		case v != nil:
			return v
		case err == nil:
			return nil
		case errors.Is(err, oauthclient.ErrLoginRequired):
			return w.healsBySignIn(p, o)
		}
		last = err
	}
	return broken("dead end", "%s fails for ever without ErrLoginRequired: %v", o.Do, last)
}

// attempt is one try of a call, and what a program does with the token.
func (w *world) attempt(p *process, o op) (*violation, error) {
	h, v, err := w.handle(p, o)
	if v != nil || h == nil && err != nil {
		return v, err
	}
	v, err = w.call(p, o, func(ctx context.Context) error {
		if o.Do == "id token" {
			_, _, err := h.session.IDToken(ctx)
			return err
		}
		tok, err := h.session.Token(ctx)
		if err != nil {
			return err
		}
		if v := w.handedOut(p, o.Account, h, tok.AccessToken); v != nil {
			return &violationError{v}
		}
		if w.provider.works(tok.AccessToken) {
			return nil
		}
		if err = h.session.Refresh(ctx); err != nil { // for the API refused it
			return err
		}
		if tok, err = h.session.Token(ctx); err == nil && !w.provider.works(tok.AccessToken) {
			err = errors.New("the API refuses the token")
		}
		return err
	})
	var wrong *violationError
	if errors.As(err, &wrong) {
		return wrong.violation, nil
	}
	if v == nil {
		v = w.judge(p, o, h, err)
	}
	return v, err
}

// healsBySignIn checks that the next sign-in prompts, and that the session
// works then.
func (w *world) healsBySignIn(p *process, o op) *violation {
	signIn := op{Do: "session or login", On: o.On, Account: o.Account}
	var last error
	for _, pause := range pauses {
		time.Sleep(pause)
		p.told[o.Account] = true
		v, err := w.signIn(p, signIn)
		if v == nil {
			v = w.nobodyRevoked(signIn)
		}
		if v != nil {
			return v
		}
		if last = err; err == nil {
			break
		}
	}
	if last != nil {
		return broken("dead end", "the sign-in fails for ever: %v", last)
	}
	for _, pause := range pauses {
		time.Sleep(pause)
		v, err := w.attempt(p, o)
		if v != nil {
			return v
		}
		if last = err; err == nil {
			return nil
		}
	}
	return broken("dead end", "%s does not work after the sign-in: %v", o.Do, last)
}
