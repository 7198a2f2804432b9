package inspect_test

import (
	"crypto/tls"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient/inspect"
)

func find(r *inspect.Report, area string) (levels []inspect.Level, texts string) {
	for _, f := range r.Findings {
		if f.Area == area {
			levels = append(levels, f.Level)
			texts += f.Text + "\n"
		}
	}
	return levels, texts
}

func TestStrictProviderIsReady(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	web := httptest.NewTLSServer(mux)
	defer web.Close()
	as, err := authserver.New(authserver.Config{Issuer: web.URL, Clients: []authserver.Client{{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}}}})
	require.NoError(t, err)
	mux.Handle("/", as)

	r, err := inspect.Provider(t.Context(), web.URL, &inspect.Options{Transport: web.Client().Transport, ClientID: "cli"})
	require.NoError(t, err)
	require.True(t, r.Ready, "%v", r.Findings)
	for _, area := range []string{"metadata", "TLS", "certificate", "clock", "response modes", "client auth", "step-up", "code flow", "PKCE", "iss", "public client", "PAR", "device flow", "ID token", "refresh", "DPoP", "revocation", "keys", "loopback"} {
		levels, text := find(r, area)
		require.Equal(t, []inspect.Level{inspect.OK}, levels, "%s: %s", area, text)
	}
	_, text := find(r, "TLS")
	require.Contains(t, text, tls.VersionName(tls.VersionTLS13))

	for clientID, path := range map[string]string{"nobody": "", "cli": "/elsewhere"} {
		r, err = inspect.Provider(t.Context(), web.URL, &inspect.Options{Transport: web.Client().Transport, ClientID: clientID, RedirectPath: path})
		require.NoError(t, err)
		require.False(t, r.Ready)
		levels, _ := find(r, "loopback")
		require.Equal(t, []inspect.Level{inspect.Problem}, levels)
	}
}

// Each fault is found, and named by its field.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change map[string]any // nil: left out
		area   string
		level  inspect.Level
		text   string
		ready  bool
	}{
		"wrong issuer":       {map[string]any{"issuer": "https://evil.example"}, "issuer", inspect.Problem, "character for character", false},
		"http endpoint":      {map[string]any{"token_endpoint": "http://login.example.com/t"}, "token_endpoint", inspect.Problem, "http", false},
		"http, not needed":   {map[string]any{"registration_endpoint": "http://192.0.2.1/r"}, "metadata", inspect.Warning, "registration_endpoint is not an https URL: a login ignores it", true},
		"text for a boolean": {map[string]any{"claims_parameter_supported": "true"}, "metadata", inspect.Warning, "claims_parameter_supported has a value of the wrong type", true},
		"script endpoint":    {map[string]any{"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint", inspect.Problem, "", false},
		"user in endpoint":   {map[string]any{"revocation_endpoint": "https://u:p@h.example/r"}, "revocation_endpoint", inspect.Problem, "", false},
		"wrong type":         {map[string]any{"token_endpoint": 7}, "metadata", inspect.Problem, "token_endpoint", false},
		"no token endpoint":  {map[string]any{"token_endpoint": nil}, "code flow", inspect.Problem, "token_endpoint", false},
		"no code flow":       {map[string]any{"response_types_supported": []string{"token"}}, "code flow", inspect.Problem, "", false},
		"implicit":           {map[string]any{"grant_types_supported": []string{"authorization_code", "implicit", "refresh_token"}}, "old grants", inspect.Note, "implicit", true},
		"plain PKCE only":    {map[string]any{"code_challenge_methods_supported": []string{"plain"}}, "PKCE", inspect.Problem, "plain", false},
		"PKCE unsaid":        {map[string]any{"code_challenge_methods_supported": nil}, "PKCE", inspect.Warning, "sent all the same", true},
		"no iss":             {map[string]any{"authorization_response_iss_parameter_supported": nil}, "iss", inspect.Warning, "9207", true},
		"secrets only":       {map[string]any{"token_endpoint_auth_methods_supported": []string{"client_secret_basic"}}, "public client", inspect.Warning, "try a public client all the same", true},
		"PAR without a door": {map[string]any{"require_pushed_authorization_requests": true}, "PAR", inspect.Problem, "no endpoint", false},
		"HMAC only":          {map[string]any{"id_token_signing_alg_values_supported": []string{"HS256"}}, "ID token", inspect.Problem, "HS256", false},
		"unsigned":           {map[string]any{"id_token_signing_alg_values_supported": []string{"RS256", "none"}}, "ID token", inspect.OK, "RS256", true},
		"no refresh":         {map[string]any{"grant_types_supported": []string{"authorization_code"}}, "refresh", inspect.Warning, "do not list the refresh_token grant", true},
		"no revocation":      {map[string]any{"revocation_endpoint": nil}, "revocation", inspect.Warning, "", true},
		"form only":          {map[string]any{"response_modes_supported": []string{"form_post"}}, "response modes", inspect.Warning, "--form-post", true},
		"fragment only":      {map[string]any{"response_modes_supported": []string{"fragment"}}, "response modes", inspect.Problem, "fragment", false},
		"unsaid algorithms":  {map[string]any{"token_endpoint_auth_methods_supported": []string{"none", "private_key_jwt"}}, "client auth", inspect.Note, "private_key_jwt", true},
		"unsigned client":    {map[string]any{"token_endpoint_auth_signing_alg_values_supported": []string{"none"}}, "client auth", inspect.Warning, "proves nothing", true},
		"many tenants":       {map[string]any{"issuer": "BASE/{tenantid}/v2.0"}, "issuer", inspect.Problem, "--tenant-issuer", false},
		"no keys":            {map[string]any{"jwks_uri": "BASE/nowhere"}, "keys", inspect.Problem, "", false},
		"escapes":            {map[string]any{"issuer": "https://x/\x1b]0;owned\x07"}, "issuer", inspect.Problem, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var base string
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch r.URL.Path {
				case "/.well-known/openid-configuration":
					doc := map[string]any{
						"issuer": base, "authorization_endpoint": base + "/a", "token_endpoint": base + "/t", "jwks_uri": base + "/k",
						"revocation_endpoint": base + "/r", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
						"id_token_signing_alg_values_supported": []string{"ES256"}, "code_challenge_methods_supported": []string{"S256"},
						"token_endpoint_auth_methods_supported": []string{"none"}, "authorization_response_iss_parameter_supported": true,
					}
					maps.Copy(doc, c.change)
					for k, v := range doc {
						if v == nil {
							delete(doc, k)
						}
						if s, ok := v.(string); ok {
							doc[k] = strings.ReplaceAll(s, "BASE", base)
						}
					}
					_ = json.NewEncoder(w).Encode(doc)
				case "/k":
					_, _ = w.Write([]byte(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
				default:
					http.NotFound(w, r)
				}
			}))
			defer web.Close()
			base = web.URL
			r, err := inspect.Provider(t.Context(), base, nil)
			require.NoError(t, err)
			levels, text := find(r, c.area)
			require.Contains(t, levels, c.level, "%v", r.Findings)
			require.Contains(t, text, c.text)
			require.Equal(t, c.ready, r.Ready, "%v", r.Findings)
			for _, f := range r.Findings {
				require.NotContains(t, f.Text, "\x1b") // S5
			}
		})
	}
}

// The certificate that ends first, be it the server's own or another of the chain.
func TestCertificateEnds(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	web := httptest.NewTLSServer(mux)
	defer web.Close()
	as, err := authserver.New(authserver.Config{Issuer: web.URL})
	require.NoError(t, err)
	mux.Handle("/", as)
	ends := web.Certificate().NotAfter
	r, err := inspect.Provider(t.Context(), web.URL, &inspect.Options{Transport: web.Client().Transport, Now: func() time.Time { return ends.Add(-5 * 24 * time.Hour) }})
	require.NoError(t, err)
	levels, text := find(r, "certificate")
	require.Equal(t, []inspect.Level{inspect.Warning}, levels)
	require.Contains(t, text, "ends in 5 days, on "+ends.UTC().Format(time.DateOnly))

	// One that is not trusted: said, and nothing is ready.
	r, err = inspect.Provider(t.Context(), web.URL, nil)
	require.NoError(t, err)
	require.False(t, r.Ready)
	_, text = find(r, "metadata")
	require.Contains(t, text, "certificate")
}

// A provider for many tenants is taken for one where the template is named (Entra).
func TestManyTenants(t *testing.T) {
	t.Parallel()
	var base string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/common/.well-known/openid-configuration" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": base + "/{tenantid}/v2.0", "authorization_endpoint": base + "/a", "token_endpoint": base + "/t"})
	}))
	defer web.Close()
	base = web.URL
	r, err := inspect.Provider(t.Context(), base+"/common", &inspect.Options{TenantIssuer: base + "/{tenantid}/v2.0"})
	require.NoError(t, err)
	levels, text := find(r, "tenants")
	require.Equal(t, []inspect.Level{inspect.OK}, levels, "%v", r.Findings)
	require.Contains(t, text, "{tenantid}")
	levels, _ = find(r, "metadata")
	require.Equal(t, []inspect.Level{inspect.OK}, levels)
}

func TestClockSkew(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	defer web.Close()
	as, err := authserver.New(authserver.Config{Issuer: web.URL})
	require.NoError(t, err)
	mux.Handle("/", as)
	for skew, want := range map[time.Duration]inspect.Level{0: inspect.OK, 30 * time.Second: inspect.Warning, 5 * time.Minute: inspect.Warning, -time.Hour: inspect.Problem} {
		r, err := inspect.Provider(t.Context(), web.URL, &inspect.Options{Now: func() time.Time { return time.Now().Add(skew) }})
		require.NoError(t, err)
		levels, _ := find(r, "clock")
		require.Equal(t, []inspect.Level{want}, levels)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	r, err := inspect.Provider(t.Context(), "http://127.0.0.1:1", nil)
	require.NoError(t, err)
	require.False(t, r.Ready)
	levels, _ := find(r, "metadata")
	require.Equal(t, []inspect.Level{inspect.Problem}, levels)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// S43: a public issuer that names a private address has a Problem, and nothing is
// sent there. A private issuer may name its neighbours.
func TestS43PrivateEndpoints(t *testing.T) {
	t.Parallel()
	const inside = "https://10.0.0.9"
	look := func(issuer, member string) (r *inspect.Report, sent []string) {
		document := map[string]any{"issuer": issuer, "authorization_endpoint": issuer + "/a", "token_endpoint": issuer + "/t"}
		document[member] = inside + "/x"
		transport := roundTrip(func(r *http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			rec.Header().Set("Content-Type", "application/json")
			if r.URL.Host == "10.0.0.9" {
				sent = append(sent, r.URL.Path)
			}
			if r.URL.Path == "/.well-known/openid-configuration" {
				_ = json.NewEncoder(rec).Encode(document)
			} else {
				rec.WriteHeader(http.StatusNotFound)
			}
			return rec.Result(), nil
		})
		r, err := inspect.Provider(t.Context(), issuer, &inspect.Options{Transport: transport, ClientID: "cli"})
		require.NoError(t, err)
		return r, sent
	}
	for _, member := range []string{
		"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "revocation_endpoint", "introspection_endpoint",
		"device_authorization_endpoint", "pushed_authorization_request_endpoint", "end_session_endpoint", "registration_endpoint",
	} {
		r, sent := look("https://93.184.216.34", member)
		require.False(t, r.Ready, member)
		require.Empty(t, sent, member)
		levels, text := find(r, member)
		require.Equal(t, []inspect.Level{inspect.Problem}, levels, "%s: %v", member, r.Findings)
		require.Contains(t, text, "10.0.0.9 has a private address")

		r, sent = look("https://192.168.7.7", member)
		levels, _ = find(r, member)
		require.Empty(t, levels, member)
		require.Equal(t, member == "jwks_uri" || member == "authorization_endpoint", len(sent) > 0, "%s: %v", member, sent)
	}
}
