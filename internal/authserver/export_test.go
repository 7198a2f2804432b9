package authserver

import "errors"

// This file has what only the tests of this package do to a server and ask it.

// Presented returns how often a refresh token was presented at the token
// endpoint.
func (s *Server) Presented(refreshToken string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.find(refreshToken); t != nil {
		return t.presented
	}
	return 0
}

// Sessions returns the number of browsers in which a user is signed in.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for range s.sessions.all() {
		n++
	}
	return n
}

// EndSessions signs every browser out. The grants stay.
func (s *Server) EndSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions = newTable[*session](manySmall, s.now)
}

// RemoveClient removes a client, as a provider does with registrations that it
// no longer wants.
func (s *Server) RemoveClient(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, id)
}

// RotateNonces makes every DPoP nonce handed out so far unknown.
func (s *Server) RotateNonces() { s.nonceKey = []byte(newToken("")) }

// DenyDevice denies the device that shows userCode. It fails if no device waits
// under this code.
func (s *Server) DenyDevice(userCode string) error {
	if d := s.findDevice(userCode); d == nil || !s.resolveDevice(d, nil, false) {
		return errors.New("no device waits under this code")
	}
	return nil
}
