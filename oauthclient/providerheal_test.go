package oauthclient

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/session"
)

// intercept has answer see the client's requests first. If it returns neither an answer
// nor an error, the request goes on.
func (r *rig) intercept(answer func(req *http.Request) (*http.Response, error)) {
	base := r.cfg.Transport
	r.cfg.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
		if resp, err := answer(req); resp != nil || err != nil {
			return resp, err
		}
		return base.RoundTrip(req)
	})
}

// keySet returns what the provider's jwks_uri says now.
func (r *rig) keySet() []byte {
	r.t.Helper()
	resp, err := (&http.Client{Transport: r.cfg.Transport}).Get(r.Issuer() + "/jwks")
	require.NoError(r.t, err)
	defer resp.Body.Close()
	require.Equal(r.t, http.StatusOK, resp.StatusCode)
	set, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return set
}

func answerJSON(status int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}
}

// moveKeys has the provider use a new key at a new jwks_uri. old answers at the earlier
// one.
func (r *rig) moveKeys(old func(req *http.Request) (*http.Response, error)) {
	r.t.Helper()
	r.trusted.Store(true)
	require.NoError(r.t, r.RotateKey("ES256"))
	r.says(authserver.Metadata, func(_ http.ResponseWriter, m map[string]any) bool {
		m["jwks_uri"] = r.other + "/jwks"
		return false
	})
	r.intercept(func(req *http.Request) (*http.Response, error) {
		if "https://"+req.URL.Host == r.Issuer() && req.URL.Path == "/jwks" {
			return old(req)
		}
		return nil, nil
	})
}

// A provider that has moved its keys is asked for its metadata before a refreshed ID
// token is judged, whatever the earlier jwks_uri answers.
func TestMovedKeysAreFound(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]func(set []byte, req *http.Request) (*http.Response, error){
		"the old keys": func(set []byte, _ *http.Request) (*http.Response, error) { return answerJSON(http.StatusOK, set), nil },
		"404":          func([]byte, *http.Request) (*http.Response, error) { return answerJSON(http.StatusNotFound, nil), nil },
		"no answer": func(_ []byte, req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, authserver.Config{})
			r.login(r.cfg)
			set := r.keySet()
			r.moveKeys(func(req *http.Request) (*http.Response, error) { return old(set, req) })
			asked, err := r.refresh()
			require.NoError(t, err)
			require.Equal(t, []string{authserver.Token, authserver.Metadata, authserver.JWKS}, asked)
			asked, err = r.refresh()
			require.NoError(t, err)
			require.Equal(t, []string{authserver.Token}, asked)
		})
	}
}

// While the metadata cannot be fetched, cached ones say nothing against a session. A
// later process checks the ID token, and does not refresh again.
func TestCachedMetadataEndNoSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	set := r.keySet()
	r.moveKeys(func(*http.Request) (*http.Response, error) { return answerJSON(http.StatusOK, set), nil })
	r.mu.Lock()
	healed := r.change[authserver.Metadata]
	r.mu.Unlock()
	r.says(authserver.Metadata, func(w http.ResponseWriter, _ map[string]any) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	_, err := r.refresh()
	require.ErrorContains(t, err, "metadata cannot be fetched")
	require.NotErrorIs(t, err, session.ErrUnsigned)
	require.NotErrorIs(t, err, ErrLoginRequired)
	r.says(authserver.Metadata, healed)
	asked := r.process(r.cfg, func(c *Client) {
		s, err := c.Session(t.Context(), "")
		require.NoError(t, err)
		_, err = s.Token(t.Context())
		require.NoError(t, err)
	})
	require.NotContains(t, asked, authserver.Token)
}

// A guard that does not know yet that the issuer has a private address refuses the keys
// at another private host. That is no reason not to fetch them once it knows.
func TestKeysAreFetchedOnceTheIssuerWasVisited(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	r.replace(func(k, _ map[string]any) { k["keys_at"] = time.Now().Add(-2 * time.Hour).UnixMilli() })
	require.NoError(t, r.RotateKey("ES256"))
	var visited atomic.Bool
	r.intercept(func(req *http.Request) (*http.Response, error) {
		switch {
		case req.URL.Path == "/jwks" && !visited.Load():
			return nil, errors.New("the address is private")
		case req.URL.Path != "/jwks" && req.URL.Path != "/token":
			visited.Store(true)
		}
		return nil, nil
	})
	asked, err := r.refresh()
	require.NoError(t, err)
	require.Equal(t, []string{authserver.Token, authserver.Metadata, authserver.JWKS}, asked)
}

// A client whose authentication method the provider has changed is not kept out by
// cached metadata. Nothing was sent by them, so no refresh is left open.
func TestAChangedAuthenticationMethodIsFound(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.cfg.ClientID, r.cfg.ClientAuth = "secret", ClientSecret("a-secret-of-the-tests")
	r.login(r.cfg)
	r.replace(func(_, m map[string]any) { m["token_endpoint_auth_methods_supported"] = []string{"none"} })
	asked, err := r.refresh()
	require.NoError(t, err)
	require.Equal(t, []string{authserver.Metadata, authserver.Token}, asked)

	r.says(authserver.Metadata, func(_ http.ResponseWriter, m map[string]any) bool {
		m["token_endpoint_auth_methods_supported"] = []string{"none"}
		return false
	})
	r.replace(func(_, m map[string]any) { m["token_endpoint_auth_methods_supported"] = []string{"none"} })
	r.process(r.cfg, func(c *Client) {
		s, err := c.Session(t.Context(), "")
		require.NoError(t, err)
		require.ErrorIs(t, s.Refresh(t.Context()), errors.ErrUnsupported)
		seen, err := c.keeper.Read(t.Context(), r.key())
		require.NoError(t, err)
		require.False(t, seen.Open, "nothing was sent")
	})
}

// A refresh is not sent again by new metadata once the client is closed.
func TestCloseEndsASecondAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	var c *Client
	sent := 0
	r.intercept(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/token" {
			if sent++; sent == 1 {
				return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
			}
			return nil, nil
		}
		go c.Close()
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-time.After(3 * time.Second): // it was not ended
			return nil, nil
		}
	})
	c, err := New(r.cfg)
	require.NoError(t, err)
	s, err := c.Session(t.Context(), "")
	require.NoError(t, err)
	require.Error(t, s.Refresh(t.Context()))
	require.NoError(t, c.Close())
	c.working.Wait()
	require.Equal(t, 1, sent)
}

// Keys that a process with a fast clock has cached do not stay for ever.
func TestKeysFromTheFutureAreReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	r.replace(func(k, _ map[string]any) { k["keys_at"] = time.Now().Add(2 * time.Hour).UnixMilli() })
	asked, err := r.refresh()
	require.NoError(t, err)
	require.Equal(t, []string{authserver.Token, authserver.JWKS}, asked)
	asked, err = r.refresh()
	require.NoError(t, err)
	require.Equal(t, []string{authserver.Token}, asked)
}

// Metadata of a cache are not used any more if this machine's clock was set back.
func TestAClockSetBackMakesMetadataOld(t *testing.T) {
	t.Parallel()
	for ahead, usable := range map[time.Duration]bool{30 * time.Second: true, time.Hour: false, -25 * time.Hour: false} {
		p := &provider{
			providers: &providers{cfg: &Config{}}, cached: true,
			fetchedAt: time.UnixMilli(time.Now().Add(ahead).UnixMilli()),
		}
		require.Equal(t, usable, p.usable(true), ahead)
	}
}
