package oauthclient_test

import (
	"context"
	"crypto"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

type platformToken = func(ctx context.Context, audience string) (string, error)

// The recipes of docs/workload.md: its Go blocks are these function bodies.

func workloadEntra(token platformToken, _ crypto.Signer) oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0", // your tenant
		ClientID: "11111111-2222-4333-8444-555555555555",
		Scopes:   []string{"https://graph.microsoft.com/.default"}, // all that the application may do there
		Origins:  []string{"https://graph.microsoft.com"},
		Workload: &oauthclient.Workload{ClientAssertion: token, Audience: "api://AzureADTokenExchange"},
	}
	return cfg
}

func workloadKeycloak(token platformToken, _ crypto.Signer) oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://keycloak.example.com/realms/example",
		ClientID: "my-job",
		Origins:  []string{"https://api.example.com"},
		Workload: &oauthclient.Workload{ClientAssertion: token},
	}
	return cfg
}

func workloadGoogle(token platformToken, _ crypto.Signer) oauthclient.Config {
	const pool = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/jobs/providers/github"
	cfg := oauthclient.Config{
		Endpoints: &oauthclient.Endpoints{
			Issuer: "https://sts.googleapis.com",
			Token:  "https://sts.googleapis.com/v1/token",
		},
		Scopes:      []string{"https://www.googleapis.com/auth/devstorage.read_only"},
		Origins:     []string{"https://storage.googleapis.com"},
		TokenParams: url.Values{"audience": {pool}},
		Workload:    &oauthclient.Workload{SubjectToken: token, Audience: "https:" + pool},
	}
	return cfg
}

func workloadOkta(_ platformToken, key crypto.Signer) oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:     "https://example.okta.com/oauth2/default",
		ClientID:   "0oaexample",
		ClientAuth: oauthclient.PrivateKeyJWT(key, "kid-of-the-key"),
		Scopes:     []string{"things.read"},
		Origins:    []string{"https://api.example.com"},
		Workload:   &oauthclient.Workload{}, // client credentials
	}
	return cfg
}

// docs/workload.md shows these recipes and no other Go.
func TestWorkloadRecipesAreTheDocs(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	bodies := regexp.MustCompile(`(?s)func workload\w+\([^\n]*\) oauthclient\.Config \{\n(.*?)\treturn cfg\n\}`).
		FindAllStringSubmatch(read("workload_recipes_test.go"), -1)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read("../docs/workload.md"), -1)
	require.Len(t, bodies, 4)
	require.Len(t, blocks, len(bodies))
	for i, b := range bodies {
		code := strings.ReplaceAll("\n"+b[1], "\n\t", "\n")[1:]
		require.Equal(t, code, blocks[i][1], "docs/workload.md and workload_recipes_test.go differ")
	}
}

// workloadShape is a provider that answers a program without a user as the real one
// does.
type workloadShape struct {
	recipe   func(platformToken, crypto.Signer) oauthclient.Config
	token    string // the token endpoint
	api      string
	audience string            // of the platform's token; "": it is not asked for one
	sent     map[string]string // parameters of the token request
	answer   string            // with ACCESS in place of the token
	refusal  string
	status   int // of the refusal
}

func workloadShapes() map[string]workloadShape {
	const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	const pool = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/jobs/providers/github"
	return map[string]workloadShape{
		"Entra": {
			recipe: workloadEntra, api: "https://graph.microsoft.com/", audience: "api://AzureADTokenExchange",
			token: "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/oauth2/v2.0/token",
			sent: map[string]string{
				"grant_type": "client_credentials", "client_id": "11111111-2222-4333-8444-555555555555",
				"scope": "https://graph.microsoft.com/.default", "client_assertion_type": assertionType, "client_assertion": "PLATFORM",
			},
			answer: `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"ACCESS"}`,
			status: 401,
			refusal: `{"error":"invalid_client","error_description":"AADSTS700213: No matching federated identity record found for presented ` +
				`assertion subject 'repo:octo/app'.","error_codes":[700213],"timestamp":"2026-11-27 08:00:00Z","trace_id":"1","correlation_id":"2"}`,
		},
		"Keycloak": {
			recipe: workloadKeycloak, api: "https://api.example.com/", audience: "https://keycloak.example.com/realms/example",
			token: "https://keycloak.example.com/realms/example/protocol/openid-connect/token",
			sent: map[string]string{
				"grant_type": "client_credentials", "client_id": "my-job", "client_assertion_type": assertionType, "client_assertion": "PLATFORM",
			},
			answer: `{"access_token":"ACCESS","expires_in":300,"refresh_expires_in":0,"token_type":"Bearer","not-before-policy":0,"scope":"profile email"}`,
			status: 401, refusal: `{"error":"invalid_client","error_description":"Invalid client or Invalid client credentials"}`,
		},
		"Google": {
			recipe: workloadGoogle, api: "https://storage.googleapis.com/", audience: "https:" + pool,
			token: "https://sts.googleapis.com/v1/token",
			sent: map[string]string{
				"grant_type": grantExchange, "audience": pool, "scope": "https://www.googleapis.com/auth/devstorage.read_only",
				"requested_token_type": "urn:ietf:params:oauth:token-type:access_token", "subject_token": "PLATFORM",
				"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "client_id": "",
			},
			answer: `{"access_token":"ACCESS","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3599}`,
			status: 400, refusal: `{"error":"invalid_grant","error_description":"The audience in ID Token [https://x.example] does not match the expected audience."}`,
		},
		"Okta": {
			recipe: workloadOkta, api: "https://api.example.com/", token: "https://example.okta.com/oauth2/default/v1/token",
			sent: map[string]string{
				"grant_type": "client_credentials", "scope": "things.read", "client_id": "0oaexample", "client_assertion_type": assertionType,
			},
			answer: `{"token_type":"Bearer","expires_in":3600,"access_token":"ACCESS","scope":"things.read"}`,
			status: 401, refusal: `{"error":"invalid_client","error_description":"The client_assertion token has an invalid signature."}`,
		},
	}
}

// Each recipe gets a token from a server that answers as the provider does, and a
// refusal of the provider is not a matter of signing in.
func TestWorkloadShapes(t *testing.T) {
	t.Parallel()
	for name, s := range workloadShapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := josetest.New(t, "ES256", "platform")
			var audiences, given []string
			token := func(_ context.Context, audience string) (string, error) {
				audiences = append(audiences, audience)
				given = append(given, key.Sign(map[string]any{
					"iss": platformIssuer, "sub": platformJob, "aud": audience, "exp": time.Now().Add(time.Hour).Unix(), "jti": len(given),
				}))
				return given[len(given)-1], nil
			}
			cfg := s.recipe(token, josetest.New(t, "ES256", "").Signer)
			w := newVendor(t, shape{
				metadata: map[string]any{
					"issuer": cfg.Issuer, "authorization_endpoint": cfg.Issuer + "/authorize", "token_endpoint": s.token, "jwks_uri": cfg.Issuer + "/keys",
					"response_types_supported": []string{"code"}, "token_endpoint_auth_methods_supported": []string{"private_key_jwt", "client_secret_post"},
				},
				token: s.token, api: s.api,
				answer: func(n int, _ url.Values) recorded {
					if n == 1 {
						return recorded{status: s.status, body: s.refusal}
					}
					return recorded{body: strings.ReplaceAll(s.answer, "ACCESS", "access-token-of-the-job")}
				},
			})
			session, err := w.client(cfg).SessionOrLogin(t.Context(), nil)
			require.NoError(t, err)
			resp, err := session.HTTPClient().Get(s.api + "v1/me")
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, []string{"access-token-of-the-job"}, w.calls)
			for name, want := range s.sent {
				if want == "PLATFORM" {
					want = given[0]
				}
				require.Equal(t, want, w.sent()[0].form.Get(name), name)
			}
			require.Empty(t, w.sent()[0].header.Get("Authorization"))

			err = session.Refresh(t.Context())
			require.Error(t, err)
			require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
			var refused *oauthclient.Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, s.status, refused.Status)
			for _, a := range audiences {
				require.Equal(t, s.audience, a)
			}
			require.Equal(t, s.audience == "", len(audiences) == 0)
		})
	}
}
