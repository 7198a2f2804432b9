package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// These tests run on every system, under Wine too: with the sealed file everywhere,
// with the Credential Manager, and with the keychain of internal/macos. The Secret
// Service has tests of its own.

// inEachStore runs a test with each store that the system has for it.
func inEachStore(t *testing.T, test func(t *testing.T, start func(authserver.Config) *place)) {
	stores := map[string][]string{"file": nil}
	if runtime.GOOS == "windows" {
		stores["keychain"] = []string{"NATIVEOAUTH_STORE=keychain", "NATIVEOAUTH_KEY_FILE="}
	}
	if security := os.Getenv("NATIVEOAUTH_SECURITY"); security != "" { // of internal/macos
		stores["keychain"] = []string{"NATIVEOAUTH_STORE=keychain", "NATIVEOAUTH_KEY_FILE=",
			"NATIVEOAUTH_SECURITY=" + security, "NATIVEOAUTH_KEYCHAIN=" + t.TempDir()}
	}
	for name, env := range stores {
		t.Run(name, func(t *testing.T) {
			test(t, func(cfg authserver.Config) *place {
				p := newPlace(t, cfg)
				p.env = append(p.env, env...)
				p.paste()
				t.Cleanup(func() { p.start(nil, "logout").code() })
				return p
			})
		})
	}
}

// Several commands need a new token at once, at a provider that ends the session if a
// refresh token is used twice. None is.
func TestRacingCommandsUseNoTokenTwice(t *testing.T) {
	t.Parallel()
	inEachStore(t, func(t *testing.T, start func(authserver.Config) *place) {
		p := start(authserver.Config{AccessTokenLifetime: 3 * time.Second})
		for range 5 {
			all := []*process{p.start(nil, "token"), p.start(nil, "refresh"), p.start(nil, "token")}
			for _, cmd := range all {
				require.Equal(t, 0, cmd.code(), cmd.text())
			}
		}
		require.Greater(t, p.Stats().Refreshes, 4)
		require.Zero(t, p.Stats().Reuses)
		require.Equal(t, 1, p.Alive())
	})
}

// lostAnswers is a token endpoint that can lose the next answer.
type lostAnswers struct {
	rotate  bool                          // the request is handled, and its answer is lost
	waiting atomic.Pointer[chan struct{}] // nil: nothing is lost
	came    chan struct{}                 // gets a value when the request has come, or was handled
}

func (l *lostAnswers) misbehave(endpoint string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		waiting := l.waiting.Load()
		if endpoint != authserver.Token || waiting == nil {
			next.ServeHTTP(w, r)
			return
		}
		if l.rotate {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		l.came <- struct{}{}
		<-*waiting
	})
}

// kill starts a refresh and kills it while it waits for the answer.
func (l *lostAnswers) kill(t *testing.T, p *place) {
	t.Helper()
	waiting := make(chan struct{})
	l.waiting.Store(&waiting)
	defer close(waiting)
	cmd := p.start(nil, "refresh")
	select {
	case <-l.came:
	case <-time.After(30 * time.Second):
		t.Fatalf("no request came: %s", cmd.text())
	}
	require.NoError(t, cmd.Process.Kill())
	cmd.code()
	l.waiting.Store(nil)
}

// A command is killed before the provider has rotated the refresh token. Even a strict
// provider keeps the session.
func TestKilledBeforeTheRotation(t *testing.T) {
	t.Parallel()
	inEachStore(t, func(t *testing.T, start func(authserver.Config) *place) {
		lost := &lostAnswers{came: make(chan struct{}, 1)}
		p := start(authserver.Config{Misbehave: lost.misbehave})
		lost.kill(t, p)
		again := p.start(nil, "refresh")
		require.Equal(t, 0, again.code(), again.text())
		require.Zero(t, p.Stats().Reuses)
		require.Equal(t, 1, p.Alive())
	})
}

// A command is killed after the rotation and before it has the answer. A provider with a
// grace period gives the tokens again. At a strict one the session is lost, which
// no client can prevent, and the user is told to sign in again.
func TestKilledAfterTheRotation(t *testing.T) {
	t.Parallel()
	for name, rotation := range map[string]authserver.Rotation{"grace": authserver.RotateGrace, "strict": authserver.RotateStrict} {
		t.Run(name, func(t *testing.T) {
			inEachStore(t, func(t *testing.T, start func(authserver.Config) *place) {
				lost := &lostAnswers{rotate: true, came: make(chan struct{}, 1)}
				p := start(authserver.Config{Rotation: rotation, Misbehave: lost.misbehave})
				lost.kill(t, p)
				again := p.start(nil, "refresh")
				if rotation == authserver.RotateStrict {
					require.Equal(t, exitLoginRequired, again.code(), again.text())
					require.Contains(t, again.text(), "nativeoauth login")
					p.paste()
					again = p.start(nil, "refresh")
				}
				require.Equal(t, 0, again.code(), again.text())
				require.Equal(t, 1, p.Alive())
			})
		})
	}
}
