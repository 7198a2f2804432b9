package oidc_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuer   = "https://op.example/tenant"
	clientID = "my-cli"
	nonce    = "n-0S6_WzA2Mj"
	access   = "access-token-canary"
)

var now = time.Unix(1_800_000_000, 0)

// object is a JSON object: the claims of a token or an answer.
type object = map[string]any

// good are claims that pass every check of want.
func good() object {
	return object{"iss": issuer, "sub": "alice", "aud": clientID, "exp": now.Unix() + 300, "iat": now.Unix(), "nonce": nonce}
}

// with returns good claims with some replaced. A nil value leaves the claim
// out.
func with(changes object) object {
	c := good()
	for name, v := range changes {
		c[name] = v
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

// want expects a login that began without more demands.
func want() oidc.Expected {
	return oidc.Expected{Issuer: issuer, ClientID: clientID, Nonce: nonce, AccessToken: wire.NewSecret(access), Now: now}
}

// cache is the key set of a provider with keys.
func cache(keys ...*josetest.Key) *jose.KeySet {
	return jose.NewKeySet(fetchtest.Client(josetest.Handler(keys...)), "https://op.example/jwks")
}

// provider signs ID tokens with one key.
type provider struct {
	*josetest.Key
	cache *jose.KeySet
}

func newProvider(tb testing.TB, alg string) provider {
	k := josetest.New(tb, alg, "k1")
	return provider{k, cache(k)}
}

// verify signs c as it stands, a map or raw JSON, and verifies it.
func (p provider) verify(t *testing.T, c any, want oidc.Expected) (*oidc.IDToken, error) {
	t.Helper()
	got, err := oidc.VerifyIDToken(t.Context(), p.Sign(c), p.cache, want)
	if err != nil {
		if errors.Is(err, oidc.ErrStepUp) { // a good token, only too weak
			require.NotErrorIs(t, err, wire.ErrInvalidResponse)
		} else {
			require.ErrorIs(t, err, oidc.ErrIDToken)
			require.ErrorIs(t, err, wire.ErrInvalidResponse)
			require.Equal(t, 1, strings.Count(err.Error(), "invalid response"), "%v", err)
		}
		require.Nil(t, got, "S79: nothing comes of a refused token")
		require.NotContains(t, err.Error(), "canary")
	}
	return got, err
}

// request is one for the claims of alice.
func request(keys *jose.KeySet) oidc.UserinfoRequest {
	return oidc.UserinfoRequest{
		Endpoint: issuer + "/userinfo", Subject: "alice", Issuer: issuer, ClientID: clientID, Keys: keys,
		Authorize: func(r *http.Request) error { r.Header.Set("Authorization", "Bearer at-canary"); return nil },
	}
}

// failing is a network that is down.
type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("down") }
