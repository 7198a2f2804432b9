package oauthclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// S78: this machine's clock is minutes off. The provider refuses a DPoP proof or a
// client assertion for that, and shows its own time in the refusal. What comes after
// is made by the provider's clock: a pushed request and a refresh are tried once
// more, and a code never. Another process finds the offset in the journal. When the
// clock has been set, the next answer is believed.
func TestS78ProofsAndAssertionsByTheProvidersClock(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		dpop bool
		off  time.Duration // how far the provider's clock is ahead
		back int           // requests of a refresh after the clock was set
	}{
		"assertion":  {false, 5 * time.Minute, 1}, // this provider takes one of the future
		"DPoP, slow": {true, 8 * time.Minute, 2}, "DPoP, fast": {true, -8 * time.Minute, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var off atomic.Int64
			off.Store(int64(tc.off))
			now := func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
			h := newHostile(t, authserver.Config{Now: now, AccessTokenLifetime: time.Hour, Rotation: authserver.RotateStrict, Clients: []authserver.Client{{
				ID: "signs", Auth: authserver.AuthPrivateKeyJWT, RedirectURIs: []string{"http://127.0.0.1/callback"},
				Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}},
			}}})
			for _, endpoint := range []string{authserver.PAR, authserver.Token} {
				h.lie(endpoint, func(_ heardRequest, a *lyingReply) {
					a.Header.Set("Date", now().UTC().Format(http.TimeFormat))
				})
			}
			h.cfg.DPoP = tc.dpop
			if !tc.dpop {
				h.cfg.ClientID, h.cfg.ClientAuth = "signs", oauthclient.PrivateKeyJWT(key, "k")
			}
			s, err := newClient(t, h.cfg).Login(t.Context(), nil)
			require.NoError(t, err)
			require.Len(t, h.got(authserver.PAR), 2, "refused once, and made anew")
			require.Len(t, h.got(authserver.Token), 1)
			require.NoError(t, s.Refresh(t.Context()))
			require.Len(t, h.got(authserver.Token), 2)

			refresh := func() {
				s, err := newClient(t, h.cfg).Session(t.Context(), "") // as another process
				require.NoError(t, err)
				require.NoError(t, s.Refresh(t.Context()))
			}
			refresh()
			require.Len(t, h.got(authserver.Token), 3, "the journal knows the offset")
			off.Store(0)
			if tc.dpop { // an API refuses a proof of the old clock, and gets one of this machine's
				s, err := newClient(t, h.cfg).Session(t.Context(), "")
				require.NoError(t, err)
				a := newAPI(t, h.Protect(authserver.Resource{}, http.HandlerFunc(ok)))
				resp, err := s.HTTPClient().Get(a.URL)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, http.StatusOK, resp.StatusCode)
				require.Len(t, a.auth, 2)
			}
			refresh()
			require.Len(t, h.got(authserver.Token), 3+tc.back)
			refresh()
			require.Len(t, h.got(authserver.Token), 4+tc.back, "the clock is right again")

			off.Store(int64(tc.off))
			h.cfg.Store = &tokenstore.Memory{}
			h.lie(authserver.Metadata, func(_ heardRequest, a *lyingReply) {
				a.JSON(func(m map[string]any) { delete(m, "pushed_authorization_request_endpoint") })
			})
			_, err = newClient(t, h.cfg).Login(t.Context(), nil)
			require.Error(t, err)
			require.Len(t, h.got(authserver.Token), 5+tc.back, "a code is not sent again")
		})
	}
}
