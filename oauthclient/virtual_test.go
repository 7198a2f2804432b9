package oauthclient_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// inVirtualTime runs test with a provider in whose time, and the client's, no pause
// is waited for. The provider is the one of [authServer], without a network: a
// connection that stays open would hold the time. The browser's way to the client's
// listener is a real one.
func inVirtualTime(t *testing.T, asked authserver.Config, test func(*testing.T, *authserver.Server, oauthclient.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		asked.Issuer, asked.AutoUser = "https://93.184.216.34", "alice"
		asked.Clients = append(asked.Clients, authserver.Client{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}})
		as, err := authserver.New(asked)
		require.NoError(t, err)
		listener := &http.Transport{DisableKeepAlives: true}
		network := roundTrip(func(r *http.Request) (*http.Response, error) {
			if !strings.HasPrefix(r.URL.String(), asked.Issuer+"/") {
				return listener.RoundTrip(r)
			}
			rec, arrived := httptest.NewRecorder(), r.Clone(r.Context())
			if arrived.Host = r.URL.Host; r.Body == nil {
				arrived.Body = http.NoBody
			}
			as.ServeHTTP(rec, arrived)
			resp := rec.Result()
			resp.Request = r
			return resp, nil
		})
		var visits sync.WaitGroup
		defer visits.Wait()
		test(t, as, oauthclient.Config{
			Issuer: asked.Issuer, ClientID: "cli", Transport: network,
			Scopes: []string{"openid", "offline_access"}, Store: &tokenstore.Memory{},
			UI: oauthclient.UI{OpenURL: func(_ context.Context, url string) error {
				visits.Go(func() {
					if resp, err := (&http.Client{Transport: network, Timeout: 20 * time.Second}).Get(url); err == nil {
						_ = resp.Body.Close()
					}
				})
				return nil
			}},
		})
	})
}
