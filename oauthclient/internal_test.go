package oauthclient

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An error says what the user can do about it.
func TestErrorsSayWhatToDo(t *testing.T) {
	for hint, e := range map[string]oauth.Error{
		"registered as a native (public) client": {Code: "invalid_client", Status: 401},
		"only in the body (ClientSecretPost)":    {Code: "invalid_client", Status: 401, Secret: true},
		"it is a redirect":                       {Status: 302},
		"a proxy, a firewall":                    {Status: 403, Foreign: true},
		"try again later":                        {Status: 503, Foreign: true},
	} {
		require.ErrorContains(t, fromEndpoint("token", &e), hint)
	}
}

// S87: a token with a key that is lost or damaged is not sent without a proof.
func TestS87LostKey(t *testing.T) {
	for _, key := range []string{"", "damaged"} {
		var sent atomic.Int32
		c, err := New(Config{Issuer: "https://op.example", ClientID: "x", DPoP: true, Store: &tokenstore.Memory{}, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "api.example" {
				sent.Add(1)
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
		})})
		require.NoError(t, err)
		now := time.Now()
		a, err := c.account("")
		require.NoError(t, err)
		_, err = c.keeper.Save(t.Context(), a.Key, &session.Grant{
			Realm: c.cfg.realm(), Party: c.cfg.party(), Issuer: "https://op.example", ClientID: "x", RefreshToken: wire.NewSecret("r"), DPoPKey: wire.NewSecret(key),
			Tokens: []session.Token{{AccessToken: wire.NewSecret("a"), Type: "DPoP", Obtained: now, Expiry: now.Add(time.Hour)}},
		}, func(*session.Grant) error { return nil }, func() {})
		require.NoError(t, err)
		s, err := c.Session(t.Context(), "")
		require.NoError(t, err)
		_, err = s.HTTPClient().Get("https://api.example/")
		require.Error(t, err)
		require.Zero(t, sent.Load(), "key %q", key)
		require.NoError(t, c.Close())
	}
}

// A process that has just come uses the token that is still valid, though it is time for an
// early refresh: it starts nothing that it might not see through.
func TestYoungProcessStartsNoRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int32
		store := &tokenstore.Memory{}
		open := func() *Client {
			c, err := New(Config{
				Endpoints: &Endpoints{Issuer: "https://op.example", Token: "https://op.example/t"},
				ClientID:  "x", Store: store,
				Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					sent.Add(1)
					body := `{"access_token":"b","token_type":"Bearer","expires_in":60}`
					return &http.Response{
						StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)),
						Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
					}, nil
				}),
			})
			require.NoError(t, err)
			return c
		}
		c := open()
		a, err := c.account("")
		require.NoError(t, err)
		now := time.Now()
		_, err = c.keeper.Save(t.Context(), a.Key, &session.Grant{
			Realm: c.cfg.realm(), Party: c.cfg.party(), Issuer: "https://op.example", ClientID: "x",
			RefreshToken: wire.NewSecret("r"),
			Tokens: []session.Token{{
				AccessToken: wire.NewSecret("a"), Type: "Bearer", Obtained: now, Expiry: now.Add(time.Minute),
			}},
		}, func(*session.Grant) error { return nil }, func() {})
		require.NoError(t, err)
		require.NoError(t, c.Close())
		time.Sleep(40 * time.Second) // half a minute before the end, it is refreshed early
		for range 20 {
			c := open()
			s, err := c.Session(t.Context(), "")
			require.NoError(t, err)
			_, err = s.Token(t.Context())
			require.NoError(t, err)
			require.NoError(t, c.Close())
		}
		require.Zero(t, sent.Load())

		c = open() // one that stays does refresh
		s, err := c.Session(t.Context(), "")
		require.NoError(t, err)
		time.Sleep(15 * time.Second)
		tok, err := s.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "a", tok.AccessToken)
		synctest.Wait()
		require.EqualValues(t, 1, sent.Load())
		require.NoError(t, c.Close())
	})
}

// Metadata of yesterday do, where the provider's well-known place hangs today: a refresh does not wait for it to its own deadline.
func TestYesterdaysMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		const document = `{"issuer":"https://op.example","authorization_endpoint":"https://op.example/a","token_endpoint":"https://op.example/t"}`
		c, err := New(Config{Issuer: "https://op.example", ClientID: "x", AllowPrivate: true, Store: &tokenstore.Memory{}, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if hangs.Load() {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(document)), Header: http.Header{"Content-Type": {"application/json"}}, Request: r}, nil
		})})
		require.NoError(t, err)
		first, err := c.providers.get(t.Context(), "https://op.example")
		require.NoError(t, err)
		hangs.Store(true)
		time.Sleep(providerAge + time.Hour)
		begun := time.Now()
		again, err := c.providers.get(t.Context(), "https://op.example")
		require.NoError(t, err)
		require.Equal(t, first.doc, again.doc)
		require.Less(t, time.Since(begun), refreshTimeout)
		begun = time.Now()
		_, err = c.providers.get(t.Context(), "https://op.example")
		require.NoError(t, err)
		require.Zero(t, time.Since(begun), "and not again for each")
		require.NoError(t, c.Close())
	})
}

// A resource that names another issuer than before wants a new login, and no other
// account.
func TestAnotherIssuerIsNoOtherUser(t *testing.T) {
	before := &session.Grant{Issuer: "https://one.example", Subject: "1"}
	require.False(t, anotherUser(before, &session.Grant{Issuer: "https://two.example", Subject: "a"}))
	require.True(t, anotherUser(before, &session.Grant{Issuer: "https://one.example", Subject: "2"}))
}
