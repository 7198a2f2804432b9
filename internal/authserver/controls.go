package authserver

import (
	"sync"
	"time"
)

// This file has what tests do to a running server, and what they ask it. A real
// provider's administrator can do some of it.

// Stats counts what happened since the start.
type Stats struct {
	Logins          int // sign-ins, by page or without
	CodesExchanged  int
	CodesReused     int
	Refreshes       int // refresh tokens presented, whatever the answer was
	Reuses          int // of these, the tokens that were consumed
	FamiliesRevoked int // because a consumed code or refresh token was presented
}

// Requests returns the number of requests to an endpoint, whatever the answer
// was. It is 0 if there is no such endpoint.
func (s *Server) Requests(endpoint string) int {
	if e := s.endpoints[endpoint]; e != nil {
		return int(e.requests.Load())
	}
	return 0
}

// Delay makes every further request to an endpoint wait before it is handled. 0
// ends the delay.
func (s *Server) Delay(endpoint string, d time.Duration) {
	if e := s.endpoints[endpoint]; e != nil {
		e.delay.Store(int64(d))
	}
}

// Hold makes every further request to an endpoint wait until release is called.
// release may be called more than once.
func (s *Server) Hold(endpoint string) (release func()) {
	e := s.endpoints[endpoint]
	if e == nil {
		return func() {}
	}
	held := make(chan struct{})
	e.held.Store(&held)
	return sync.OnceFunc(func() {
		e.held.CompareAndSwap(&held, nil)
		close(held)
	})
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Active reports whether an access token or a refresh token would be accepted
// now.
func (s *Server) Active(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.find(token)
	return t != nil && s.good(t)
}

// Alive returns the number of grants that have a token, access or refresh, that
// would be accepted now.
func (s *Server) Alive() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	grants := map[*grant]bool{}
	for t := range s.tokens.all() {
		if s.good(t) {
			grants[t.grant] = true
		}
	}
	return len(grants)
}

// Deny makes AutoUser say no at the next sign-in, once.
func (s *Server) Deny() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denyNext = true
}

// SetAutoUser changes [Config].AutoUser.
func (s *Server) SetAutoUser(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.autoUser = name
}

// Expire ends all access tokens issued so far. Their refresh tokens stay good.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired++
}

// Revoke ends all grants made so far, with all of their tokens.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
}
