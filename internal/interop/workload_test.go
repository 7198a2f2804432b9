package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// job is a platform and its job: it issues the job's tokens.
type job struct {
	issuer, subject string
	key             *ecdsa.PrivateKey
	last            string // the last token
}

func newJob(t *testing.T, issuer, subject string) *job {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &job{issuer: issuer, subject: subject, key: key}
}

func (j *job) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: j.key.Public(), KeyID: "platform-1", Algorithm: "ES256", Use: "sig"}
}

// token is one of the functions of an oauthclient.Workload.
func (j *job) token(_ context.Context, audience string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: j.key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "platform-1"))
	if err != nil {
		return "", err
	}
	now := time.Now()
	j.last, err = jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: j.issuer, Subject: j.subject, Audience: jwt.Audience{audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(5 * time.Minute)),
	}).Serialize()
	return j.last, err
}

// again returns the job's last token again.
func (j *job) again(context.Context, string) (string, error) { return j.last, nil }

// works gets two tokens with cfg, and reports them to accepted. It returns the session.
func works(t *testing.T, cfg oauthclient.Config, accepted func(token string) bool) *oauthclient.Session {
	t.Helper()
	c, err := oauthclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	s, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	first, err := s.Token(t.Context())
	require.NoError(t, err)
	require.True(t, accepted(first.AccessToken))
	require.NoError(t, s.Refresh(t.Context()))
	second, err := s.Token(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first.AccessToken, second.AccessToken)
	require.True(t, accepted(second.AccessToken))
	require.ErrorIs(t, s.Claims(&struct{}{}), errors.ErrUnsupported)
	return s
}

// refused expects that cfg gets no token, and that nobody is to sign in.
func refused(t *testing.T, cfg oauthclient.Config, code string) {
	t.Helper()
	c, err := oauthclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	_, err = c.SessionOrLogin(t.Context(), nil)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	var e *oauthclient.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code)
}

func TestOIDCProviderWithoutAUser(t *testing.T) {
	t.Parallel()
	program := newJob(t, "", "")
	client := func(id, method string, more map[string]any) map[string]any {
		c := map[string]any{
			"client_id": id, "token_endpoint_auth_method": method, "grant_types": []string{"client_credentials"},
			"redirect_uris": []string{}, "response_types": []string{}, "scope": "api:read api:write",
		}
		for name, v := range more {
			c[name] = v
		}
		return c
	}
	const secret = "s3cret: 100%"
	p := StartOIDCProvider(t, Options{RequireDPoP: true, MoreClients: []map[string]any{
		client("basic", "client_secret_basic", map[string]any{"client_secret": secret}),
		client("post", "client_secret_post", map[string]any{"client_secret": secret}),
		client("key", "private_key_jwt", map[string]any{"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{program.jwk()}}}),
	}})
	accepted := func(token string) bool {
		var answer struct{ Active bool }
		post(t, p.Issuer+"/token/introspection", url.Values{
			"client_id": {"post"}, "client_secret": {secret}, "token": {token},
		}, http.StatusOK, &answer)
		return answer.Active
	}
	for id, auth := range map[string]oauthclient.ClientAuth{
		"basic": oauthclient.ClientSecret(secret), "post": oauthclient.ClientSecretPost(secret),
		"key": oauthclient.PrivateKeyJWT(program.key, "platform-1"),
	} {
		cfg := oauthclient.Config{
			Issuer: p.Issuer, ClientID: id, ClientAuth: auth, Scopes: []string{"openid", "offline_access", "api:read"},
			Resources: []string{"https://api.example.com"}, Workload: &oauthclient.Workload{},
		}
		s := works(t, cfg, accepted)
		require.Equal(t, []string{"api:read"}, s.Account().Scopes)
		// The server demands a nonce of every proof, and an assertion is used once: the
		// second attempt needs another one.
		cfg.DPoP = true
		token, err := works(t, cfg, accepted).Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "DPoP", token.TokenType)
	}
	refused(t, oauthclient.Config{
		Issuer: p.Issuer, ClientID: "basic", ClientAuth: oauthclient.ClientSecret("wrong"), Workload: &oauthclient.Workload{},
	}, "invalid_client")
	require.Empty(t, p.Requests("authorization", ""))
}

func TestHydraWithoutAUser(t *testing.T) {
	t.Parallel()
	h := StartHydra(t)
	// It makes its keys when it is first asked for its metadata, which may take longer
	// than the SDK waits.
	require.Eventually(t, func() bool { return serves(t.Context(), h.Issuer+discovery)() == nil }, 2*time.Minute, time.Second)
	program, platform := newJob(t, "key", "key"), newJob(t, "https://platform.example", "repo:octo/app")
	const secret, grant = "a secret of this client", "urn:ietf:params:oauth:grant-type:jwt-bearer"
	for _, client := range []map[string]any{
		{"client_id": "basic", "client_secret": secret, "token_endpoint_auth_method": "client_secret_basic", "grant_types": []string{"client_credentials", grant}},
		{"client_id": "key", "jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{program.jwk()}}, "token_endpoint_auth_method": "private_key_jwt",
			"token_endpoint_auth_signing_alg": "ES256", "grant_types": []string{"client_credentials"}},
	} {
		client["scope"] = "api"
		require.NoError(t, h.call(t.Context(), http.MethodPost, "/admin/clients", client, nil))
	}
	require.NoError(t, h.call(t.Context(), http.MethodPost, "/admin/trust/grants/jwt-bearer/issuers", map[string]any{
		"issuer": platform.issuer, "subject": platform.subject, "scope": []string{"api"}, "jwk": platform.jwk(),
		"expires_at": time.Now().Add(time.Hour).UTC(),
	}, nil))
	var subject string
	accepted := func(token string) bool {
		var answer struct {
			Active bool
			Sub    string
		}
		require.NoError(t, h.introspect(t.Context(), token, &answer))
		subject = answer.Sub
		return answer.Active
	}
	cfg := oauthclient.Config{
		Issuer: h.Issuer, ClientID: "basic", ClientAuth: oauthclient.ClientSecret(secret), Scopes: []string{"openid", "api"},
		Workload: &oauthclient.Workload{},
	}
	works(t, cfg, accepted)
	require.Equal(t, "basic", subject)

	// Hydra wants its token endpoint as the audience of every assertion.
	cfg.Workload = &oauthclient.Workload{GrantAssertion: platform.token, Audience: h.Issuer + "/oauth2/token"}
	works(t, cfg, accepted)
	require.Equal(t, platform.subject, subject)
	stranger := newJob(t, platform.issuer, platform.subject)
	cfg.Workload = &oauthclient.Workload{GrantAssertion: stranger.token, Audience: h.Issuer + "/oauth2/token"}
	refused(t, cfg, "invalid_grant")

	// An assertion that it has seen is refused.
	cfg.Workload = &oauthclient.Workload{GrantAssertion: platform.again, Audience: h.Issuer + "/oauth2/token"}
	refused(t, cfg, "jti_known")

	// PrivateKeyJWT has the issuer as its audience, so the program signs by itself.
	cfg.ClientID, cfg.ClientAuth = "key", oauthclient.PrivateKeyJWT(program.key, "platform-1")
	cfg.Workload = &oauthclient.Workload{}
	refused(t, cfg, "invalid_client")
	cfg.ClientAuth = oauthclient.ClientAuth{}
	cfg.Workload = &oauthclient.Workload{ClientAssertion: program.token, Audience: h.Issuer + "/oauth2/token"}
	works(t, cfg, accepted)
	require.Equal(t, "key", subject)
}

func TestZitadelWithoutAUser(t *testing.T) {
	t.Parallel()
	platform := newJob(t, "https://platform.example", "repo:octo/app")
	z := StartZitadel(t, 0)
	z.trust(platform.issuer, platform.jwk(), storage.WebClient("web", "secret", "http://localhost/callback"))
	before := z.Requests("/oauth/token")
	accepted := func(token string) bool { return token != "" }
	cfg := oauthclient.Config{
		Issuer: z.Issuer, ClientID: "sid1", ClientAuth: oauthclient.ClientSecret("verysecret"), Scopes: []string{"openid", "api"},
		Workload: &oauthclient.Workload{},
	}
	works(t, cfg, accepted)

	// A service user signs its own assertion, with a key that is registered for it.
	user := newJob(t, "service", "service")
	z.trust("service", user.jwk(), nil)
	cfg.ClientID, cfg.ClientAuth = "", oauthclient.ClientAuth{}
	cfg.Workload = &oauthclient.Workload{GrantAssertion: user.token}
	works(t, cfg, accepted)
	cfg.Workload = &oauthclient.Workload{GrantAssertion: platform.token} // is no user there
	refused(t, cfg, "invalid_grant")

	// The platform's token is exchanged.
	cfg.ClientID, cfg.ClientAuth = "web", oauthclient.ClientSecret("secret")
	cfg.Workload = &oauthclient.Workload{SubjectToken: platform.token, SubjectTokenType: string(oidc.JWTTokenType)}
	works(t, cfg, accepted)
	cfg.Workload = &oauthclient.Workload{SubjectToken: user.token}
	refused(t, cfg, "invalid_request")
	require.Equal(t, 8, z.Requests("/oauth/token")-before)
}
