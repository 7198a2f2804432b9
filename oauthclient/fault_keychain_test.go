//go:build linux

package oauthclient_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// keychainSession is a sign-in with a session that a real gnome-keyring keeps.
func keychainSession(t *testing.T) (*realparts.Session, *authserver.Server, *oauthclient.Client, *oauthclient.Session) {
	t.Helper()
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	as, cfg := authServer(t, authserver.Config{})
	cfg.Store = &tokenstore.Keyring{Dir: t.TempDir(), Timeout: 10 * time.Second}
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	return s, as, c, session
}

// harmed checks that a keychain that fails with want costs nothing: no refresh token is sent that could not be replaced, the token that is valid is handed
// out, nobody is told to sign in again or asked to.
func harmed(t *testing.T, as *authserver.Server, c *oauthclient.Client, session *oauthclient.Session, want error) {
	t.Helper()
	sent, logins := as.Stats().Refreshes, as.Requests(authserver.Authorize)
	err := session.Refresh(t.Context())
	require.ErrorIs(t, err, want)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	_, err = c.SessionOrLogin(t.Context(), &oauthclient.LoginOptions{Account: "another"})
	require.ErrorIs(t, err, want)
	require.Equal(t, logins, as.Requests(authserver.Authorize), "a browser was opened on a session that cannot be kept")
	require.Equal(t, sent, as.Stats().Refreshes)
	_, err = session.Token(t.Context())
	require.NoError(t, err)
}

// healed checks that the session is whole, for a client that knows nothing of it too.
func healed(t *testing.T, as *authserver.Server, c *oauthclient.Client, session *oauthclient.Session) {
	t.Helper()
	require.NoError(t, session.Refresh(t.Context()))
	again, err := c.Session(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, again.Refresh(t.Context()))
	require.Zero(t, as.Stats().Reuses)
	require.Equal(t, 1, as.Stats().Logins)
}

// The keychain is locked, and the person dismisses its prompt.
func TestKeychainPromptDismissed(t *testing.T) {
	s, as, c, session := keychainSession(t)
	t.Setenv("DISPLAY", ":99")
	s.StopKeyring()
	s.StartKeyring(realparts.Locked)
	prompts := make(chan struct{}, 100)
	dismissPrompts(t, s, func() { prompts <- struct{}{} })
	harmed(t, as, c, session, tokenstore.ErrLocked)
	require.NotEmpty(t, prompts)
	s.StopKeyring()
	s.StartKeyring(realparts.Unlocked)
	healed(t, as, c, session)
}

// The session bus is killed while the keychain's prompt waits for the person: go-keyring panics there.
func TestBusKilledUnderThePrompt(t *testing.T) {
	s, as, c, session := keychainSession(t)
	t.Setenv("DISPLAY", ":99")
	s.StopKeyring()
	s.StartKeyring(realparts.Locked)
	shown, away := make(chan struct{}, 100), make(chan struct{})
	defer close(away)
	dismissPrompts(t, s, func() {
		shown <- struct{}{}
		<-away
	})
	failed := make(chan error, 1)
	go func() { failed <- session.Refresh(context.WithoutCancel(t.Context())) }()
	<-shown
	s.StopBus()
	select {
	case err := <-failed:
		require.ErrorIs(t, err, tokenstore.ErrUnavailable)
		require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	case <-time.After(30 * time.Second):
		t.Fatal("the refresh outlives the bus")
	}
	harmed(t, as, c, session, tokenstore.ErrUnavailable)
	s.StopKeyring()
	s.StartBus()
	s.StartKeyring(realparts.Unlocked)
	healed(t, as, c, session)
}

// The keychain is started anew while the provider answers, so between the read and the write: at once, or only later, or first locked. The new tokens are kept
// until they are stored, and nobody gets them before.
func TestKeychainRestartedInARefresh(t *testing.T) {
	for name, restart := range map[string]struct {
		state realparts.Keyring
		want  error
	}{
		"at once":     {realparts.Unlocked, nil},
		"locked":      {realparts.Locked, tokenstore.ErrLocked},
		"later again": {realparts.NoService, tokenstore.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s, as, c, session := keychainSession(t)
			first, err := session.Token(t.Context())
			require.NoError(t, err)
			release := as.Hold(authserver.Token)
			asked := as.Requests(authserver.Token)
			refreshed := make(chan error, 1)
			go func() { refreshed <- session.Refresh(context.WithoutCancel(t.Context())) }()
			require.Eventually(t, func() bool { return as.Requests(authserver.Token) > asked }, 30*time.Second, time.Millisecond)
			s.StopKeyring()
			if restart.state != realparts.NoService {
				s.StartKeyring(restart.state)
			}
			release()
			if restart.want == nil {
				require.NoError(t, <-refreshed)
			} else {
				require.ErrorIs(t, <-refreshed, restart.want)
				tok, err := session.Token(t.Context())
				require.NoError(t, err)
				require.Equal(t, first.AccessToken, tok.AccessToken, "a token was handed out that is not stored")
				s.StopKeyring()
				s.StartKeyring(realparts.Unlocked)
				require.Eventually(t, func() bool {
					tok, err := session.Token(t.Context())
					return err == nil && tok.AccessToken != first.AccessToken
				}, 30*time.Second, 20*time.Millisecond)
			}
			require.Equal(t, 1, as.Stats().Refreshes)
			healed(t, as, c, session)
		})
	}
}

// A directory that the process may not write: the refresh is not begun, for nothing could be noted of it.
func TestReadOnlyStore(t *testing.T) {
	t.Parallel()
	for _, keychain := range []bool{true, false} {
		t.Run(map[bool]string{true: "keychain", false: "file"}[keychain], func(t *testing.T) {
			t.Parallel()
			o := fleetOptions{}
			if keychain {
				o.env = realparts.SecretService(t, realparts.Unlocked).Env
			}
			w := newFleet(t, o)
			p := w.start(heldToModes + "=1")
			first := p.do("login").ok(t)
			dir := w.dir
			if keychain {
				dir = filepath.Join(dir, "keyring-nativeoauth.d")
			}
			before, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.NoError(t, os.Chmod(dir, 0o500))
			t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
			for _, order := range []string{"refresh", "login", "logout"} {
				r := p.do(order)
				require.True(t, r.Unavailable, "%s: %+v", order, r)
				require.False(t, r.LoginRequired, "%s: %+v", order, r)
			}
			require.Equal(t, first.Token, p.do("session").ok(t).Token, "it can still be read")
			require.Zero(t, w.Stats().Refreshes)
			require.Equal(t, 1, w.tabs(), "nobody is asked to sign in where it cannot be kept")
			after, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, after, len(before))
			require.NoError(t, os.Chmod(dir, 0o700))
			require.Equal(t, p.do("refresh").ok(t).Token, w.stored())
			p.end()
		})
	}
}
