package oauthclient

import (
	"errors"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/session"
)

// watchEvery is how often a watched session's journal is read, to notice a logout or a
// login in another process.
const watchEvery = 5 * time.Second

// watch is what Done and Err share.
type watch struct {
	once sync.Once
	done chan struct{}
	err  error // after done
}

// Done returns a channel that is closed when the session has ended: it was signed
// out, here or in another process, the provider refused to renew it, or its account
// now belongs to another user. [Session.Err] then tells why. Watching begins with the
// first call, so that an idle session keeps no goroutine. It ends with
// [Client.Close], which does not close the channel. Another process's change is
// noticed within five seconds. A session without a user
// does not end, and one with Config.IdentityProvider ends with that one.
func (s *Session) Done() <-chan struct{} {
	if idp := s.client.cfg.IdentityProvider; idp != nil {
		return idp.Done()
	}
	s.watch.once.Do(func() {
		s.watch.done = make(chan struct{})
		if s.client.cfg.Workload != nil { // it does not end
			return
		}
		if err := s.client.begin(); err != nil {
			return // the client is closed: nothing is watched
		}
		go func() {
			defer s.client.done()
			s.watchUntilEnd()
		}()
	})
	return s.watch.done
}

// Err returns nil before Done is closed, and why the session has ended after that:
// an error that matches [ErrLoginRequired] or [ErrAccountMismatch].
func (s *Session) Err() error {
	if idp := s.client.cfg.IdentityProvider; idp != nil {
		return idp.atIdentityProvider(idp.Err())
	}
	select {
	case <-s.Done():
		return s.watch.err
	default:
		return nil
	}
}

func (s *Session) watchUntilEnd() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		changed := s.account.Changed()
		if err := s.endedBy(); err != nil {
			s.watch.err = err
			close(s.watch.done)
			return
		}
		select {
		case <-s.client.prompting.Done():
			return
		case <-changed:
		case <-tick.C:
			// A store that cannot be read now says nothing about the session.
			_ = s.account.Look(s.client.prompting)
		}
	}
}

// endedBy returns why the session has ended; nil: it has not.
func (s *Session) endedBy() error {
	switch _, err := s.account.GrantOf(s.slot); {
	case errors.Is(err, session.ErrAbsent):
		return failure(session.ErrSignedOut)
	case err != nil:
		return failure(err)
	case s.account.Ended():
		return failure(session.ErrDead)
	}
	return nil
}
