package oauthclient_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

const (
	grantAssertion = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantExchange  = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// platform issues tokens to a job, as a cluster or a CI system does.
type platform struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	claims map[string]any // over the defaults; nil: none
	asked  atomic.Int64   // how often it issued one
}

const (
	platformIssuer = "https://platform.example"
	platformJob    = "repo:example/notes:ref:refs/heads/main"
)

func newPlatform(t *testing.T) *platform {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &platform{t: t, key: key}
}

// trusted is what a server knows of p.
func (p *platform) trusted(once bool) []authserver.Trusted {
	keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "1"}}}
	return []authserver.Trusted{{Issuer: platformIssuer, Once: once, Keys: func() jose.JSONWebKeySet { return keys }}}
}

// token is one of the functions of a Workload.
func (p *platform) token(_ context.Context, audience string) (string, error) {
	n := p.asked.Add(1)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "1"))
	if err != nil {
		return "", err
	}
	claims := map[string]any{
		"iss": platformIssuer, "sub": platformJob, "aud": audience, "jti": fmt.Sprint(n),
		"exp": time.Now().Add(5 * time.Minute).Unix(), "iat": time.Now().Unix(),
	}
	maps.Copy(claims, p.claims)
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// noStore fails the test if anything looks at it.
type noStore struct{ t *testing.T }

func (s noStore) Get(context.Context, string) ([]byte, error) {
	s.t.Error("the store was read")
	return nil, tokenstore.ErrNotFound
}

func (s noStore) Put(context.Context, string, []byte) error {
	s.t.Error("the store was written to")
	return nil
}

func (s noStore) Delete(context.Context, string) error {
	s.t.Error("the store was written to")
	return nil
}

// job is a program without a user at the server of cfg.
func job(t *testing.T, cfg oauthclient.Config, w oauthclient.Workload) oauthclient.Config {
	cfg.Workload, cfg.Store, cfg.Scopes = &w, noStore{t}, []string{"openid", "offline_access", "notes"}
	cfg.UI = oauthclient.UI{
		OpenURL: func(context.Context, string) error {
			t.Error("a browser was opened")
			return errors.New("no")
		},
		Instruct: func(context.Context, oauthclient.Instructions) (string, error) {
			t.Error("somebody was prompted")
			return "", errors.New("no")
		},
	}
	return cfg
}

// jobClients are the clients of the tests: one for each way without a user.
func jobClients(key *ecdsa.PrivateKey) []authserver.Client {
	grants := []string{"client_credentials", grantAssertion, grantExchange}
	keys := &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "mine"}}}
	return []authserver.Client{
		{ID: "basic", Auth: authserver.AuthBasic, Secret: wire.NewSecret("sesame+open"), Grants: grants},
		{ID: "post", Auth: authserver.AuthPost, Secret: wire.NewSecret("sesame+open"), Grants: grants},
		{ID: "key", Auth: authserver.AuthPrivateKeyJWT, Keys: keys, Grants: grants},
		{ID: "job", Auth: authserver.AuthPrivateKeyJWT, Platform: platformIssuer, Subject: platformJob, Grants: grants},
		{ID: "public", Grants: grants},
	}
}

// Every way to ask without a user brings a token, which is renewed after a refusal,
// and bound with DPoP. Nobody is prompted, and nothing is stored.
func TestWithoutUser(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	for _, how := range []struct {
		client, subject string
		auth            oauthclient.ClientAuth
		workload        oauthclient.Workload
	}{
		{"basic", "basic", oauthclient.ClientSecret("sesame+open"), oauthclient.Workload{}},
		{"post", "post", oauthclient.ClientSecretPost("sesame+open"), oauthclient.Workload{}},
		{"key", "key", oauthclient.PrivateKeyJWT(p.key, "mine"), oauthclient.Workload{}},
		{"job", "job", oauthclient.ClientAuth{}, oauthclient.Workload{ClientAssertion: p.token}},
		{"public", platformJob, oauthclient.ClientAuth{}, oauthclient.Workload{GrantAssertion: p.token}},
		{"basic", platformJob, oauthclient.ClientSecret("sesame+open"), oauthclient.Workload{GrantAssertion: p.token}},
		{"public", platformJob, oauthclient.ClientAuth{}, oauthclient.Workload{SubjectToken: p.token}},
		{"key", platformJob, oauthclient.PrivateKeyJWT(p.key, "mine"), oauthclient.Workload{SubjectToken: p.token}},
	} {
		for _, dpop := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v/%v", how.client, how.subject, dpop), func(t *testing.T) {
				t.Parallel()
				as, cfg := authServer(t, authserver.Config{
					Clients: jobClients(p.key), Trusted: p.trusted(true),
					RequireDPoP: dpop, DPoPNonce: dpop, ResourceNonce: dpop,
				})
				cfg = job(t, cfg, how.workload)
				cfg.ClientID, cfg.ClientAuth, cfg.DPoP = how.client, how.auth, dpop
				subjects := make(chan string, 2)
				api := httptest.NewServer(as.Protect(authserver.Resource{Scope: "notes"}, http.HandlerFunc(
					func(_ http.ResponseWriter, r *http.Request) {
						g, _ := authserver.GrantFrom(r.Context())
						subjects <- g.Subject
					})))
				defer api.Close()
				c := newClient(t, cfg)
				session, err := c.SessionOrLogin(t.Context(), nil)
				require.NoError(t, err)
				for range 2 { // the second time the token is refused
					resp, err := session.HTTPClient().Get(api.URL)
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					require.Equal(t, http.StatusOK, resp.StatusCode)
					require.Equal(t, how.subject, <-subjects)
					as.Expire()
				}
				account := session.Account()
				require.False(t, account.LoginRequired)
				require.Equal(t, []string{"notes"}, account.Scopes)
				require.ErrorIs(t, session.Claims(&account), errors.ErrUnsupported)
				api.CloseClientConnections()
			})
		}
	}
}

// Near expiry nobody waits: the token is renewed in the background, by one request.
func TestWorkloadRenewsEarly(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	inVirtualTime(t, authserver.Config{Clients: jobClients(p.key)}, func(t *testing.T, as *authserver.Server, cfg oauthclient.Config) {
		cfg = job(t, cfg, oauthclient.Workload{})
		cfg.ClientID, cfg.ClientAuth = "basic", oauthclient.ClientSecret("sesame+open")
		c, err := oauthclient.New(cfg)
		require.NoError(t, err)
		defer c.Close()
		session, err := c.Session(t.Context(), "")
		require.NoError(t, err)
		require.Zero(t, as.Requests(authserver.Token), "Session sends nothing")
		first, err := session.Token(t.Context())
		require.NoError(t, err)

		release := as.Hold(authserver.Token)
		time.Sleep(4*time.Minute + 40*time.Second) // of five
		for range 10 {
			again, err := session.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, first.AccessToken, again.AccessToken, "it is valid, and nobody waits for the next")
		}
		release()
		time.Sleep(time.Second)
		second, err := session.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, first.AccessToken, second.AccessToken)
		require.Equal(t, 2, as.Requests(authserver.Token))
	})
}
