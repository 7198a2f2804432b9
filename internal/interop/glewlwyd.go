package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// Glewlwyd is Debian's glewlwyd, an OpenID provider in C, with a process and a
// database of its own. Refresh tokens rotate, PKCE is required, and everything
// that its plugin can do for a native program is turned on. It knows
// NativeClient, with redirect URIs on Port only: it compares the whole URI with
// the registered one.
type Glewlwyd struct {
	Issuer string
	Port   int // of NativeClient's redirect URIs

	origin string
}

// The only user, besides the administrator.
const (
	GlewlwydUser     = "alice"
	GlewlwydPassword = "correct horse battery"
)

// glewlwydSchema is the empty database as the package installs it; its
// administrator's password is "password".
const glewlwydSchema = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3"

const glewlwydConfig = `port = %[1]d
bind_address = "127.0.0.1"
external_url = "http://127.0.0.1:%[1]d"
login_url = "login.html"
api_prefix = "api"
static_files_path = "%[3]s/"
static_files_mime_types = (
  { extension = ".html", mime_type = "text/html" },
  { extension = ".css", mime_type = "text/css" },
  { extension = ".js", mime_type = "application/javascript" },
  { extension = ".json", mime_type = "application/json" }
)
cookie_secure = 0
log_mode = "console"
log_level = "WARNING"
admin_scope = "g_admin"
profile_scope = "g_profile"
user_module_path = "/usr/lib/glewlwyd/user"
client_module_path = "/usr/lib/glewlwyd/client"
user_auth_scheme_module_path = "/usr/lib/glewlwyd/scheme"
plugin_module_path = "/usr/lib/glewlwyd/plugin"
hash_algorithm = "SHA512"
database = { type = "sqlite3", path = "%[2]s" }
`

// StartGlewlwyd starts a provider that ends with the test. It needs Debian's
// package (see realparts.Need).
func StartGlewlwyd(tb testing.TB) *Glewlwyd {
	tb.Helper()
	programs := realparts.Need(tb, "glewlwyd", "sqlite3")
	schema, err := os.Open(glewlwydSchema)
	if err != nil {
		realparts.Missing(tb, glewlwydSchema)
	}
	defer schema.Close()
	dir := tb.TempDir()
	database := filepath.Join(dir, "glewlwyd.db")
	create := exec.Command(programs[1], database)
	create.Stdin = schema
	out, err := create.CombinedOutput()
	require.NoError(tb, err, "%s", out)

	port := realparts.FreePort(tb)
	g := &Glewlwyd{Port: int(realparts.FreePort(tb)), origin: fmt.Sprintf("http://127.0.0.1:%d", port)}
	g.Issuer = g.origin + "/api/oidc"
	config := filepath.Join(dir, "glewlwyd.conf")
	require.NoError(tb, os.WriteFile(config, fmt.Appendf(nil, glewlwydConfig, port, database, glewlwydPages(tb, dir)), 0o600))
	cmd := exec.Command(programs[0], "--config-file="+config)
	jar, err := cookiejar.New(nil)
	require.NoError(tb, err)
	admin := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	startServer(tb, "glewlwyd", cmd, func() error {
		return g.api(tb.Context(), admin, http.MethodPost, "/auth/", map[string]any{"username": "admin", "password": "password"}, nil)
	})
	g.furnish(tb, admin)
	return g
}

// glewlwydPages returns a copy of the package's pages with one file repaired.
// In the package this file is a link to its own directory, and without it the
// pages show nothing.
func glewlwydPages(tb testing.TB, dir string) string {
	tb.Helper()
	pages := filepath.Join(dir, "pages")
	out, err := exec.Command("cp", "-RL", "/usr/share/glewlwyd/webapp", pages).CombinedOutput()
	require.NoError(tb, err, "%s", out)
	config := filepath.Join(pages, "config.json")
	inner, err := os.ReadFile(filepath.Join(config, "config.json"))
	if err != nil {
		return pages // a version without this mistake
	}
	require.NoError(tb, os.RemoveAll(config))
	require.NoError(tb, os.WriteFile(config, inner, 0o600))
	return pages
}

// furnish creates the provider, the client and the user, as an administrator
// does.
func (g *Glewlwyd) furnish(tb testing.TB, admin *http.Client) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(tb, err)
	var redirects []string
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		redirects = append(redirects, "http://"+host+":"+strconv.Itoa(g.Port)+"/callback")
	}
	// The package's database of clients has one address to return to after
	// logout; the plugin expects a list.
	var clients map[string]any
	require.NoError(tb, g.api(tb.Context(), admin, http.MethodGet, "/mod/client/database", nil, &clients))
	clients["parameters"].(map[string]any)["data-format"].(map[string]any)["post_logout_redirect_uris"] = map[string]any{"multiple": true, "read": true, "write": true}
	require.NoError(tb, g.api(tb.Context(), admin, http.MethodPut, "/mod/client/database", clients, nil))
	require.NoError(tb, g.api(tb.Context(), admin, http.MethodPut, "/mod/client/database/reset", nil, nil))
	for _, step := range []struct {
		path string
		body map[string]any
	}{
		{"/mod/plugin/", map[string]any{
			"module": "oidc", "name": "oidc", "display_name": "Interop", "enabled": true,
			"parameters": map[string]any{
				"iss": g.Issuer, "oauth-as-iss-id": true,
				"jwt-type": "ecdsa", "jwt-key-size": "256", "jwks-show": true,
				"key":           string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
				"cert":          string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
				"code-duration": 600, "access-token-duration": 600, "refresh-token-duration": 3600,
				"refresh-token-rolling": false, "refresh-token-one-use": "always",
				"auth-type-code-enabled": true, "auth-type-refresh-enabled": true, "auth-type-device-enabled": true,
				"auth-type-code-revoke-replayed": true,
				"device-authorization-interval":  1, "device-authorization-expiration": 600,
				"allowed-scope": []string{"openid", "offline_access", "profile"},
				"pkce-allowed":  true, "pkce-required": true, "pkce-method-plain-allowed": false,
				"introspection-revocation-allowed": true, "introspection-revocation-allow-target-client": true,
				"register-client-allowed": true, "register-client-auth-scope": []string{}, "register-client-credentials-scope": []string{},
				"register-client-management-allowed": true,
				"session-management-allowed":         true, "session-cookie-name": "GLEWLWYD2_OIDC_SID", "session-cookie-expiration": 2419200,
				"oauth-par-allowed": true, "oauth-par-required": false, "oauth-par-duration": 90,
				"oauth-par-request_uri-prefix": "urn:ietf:params:oauth:request_uri:",
				"oauth-dpop-allowed":           true, "oauth-dpop-iat-duration": 60,
			},
		}},
		{"/scope/", map[string]any{"name": "offline_access", "display_name": "Offline access", "password_required": true, "scheme": map[string]any{}}},
		{"/scope/", map[string]any{"name": "profile", "display_name": "Profile", "password_required": true, "scheme": map[string]any{}}},
		{"/client/", map[string]any{
			"client_id": NativeClient, "name": "Interop", "confidential": false, "enabled": true,
			"redirect_uri": redirects, "post_logout_redirect_uris": redirects,
			"authorization_type":         []string{"code", "refresh_token", "device_authorization"},
			"token_endpoint_auth_method": []string{"none"},
		}},
		{"/user/", map[string]any{
			"username": GlewlwydUser, "name": "Alice", "password": GlewlwydPassword, "enabled": true,
			"scope": []string{"g_profile", "openid", "offline_access", "profile"},
		}},
	} {
		require.NoError(tb, g.api(tb.Context(), admin, http.MethodPost, step.path, step.body, nil), step.path)
	}
}

// SignIn returns a user's steps on the login page: the password, the scopes,
// and back to the program. The page shows its button to go back from the start, and
// whoever presses it before the page has sent the scopes is asked for them again.
func (g *Glewlwyd) SignIn() []browser.Step {
	return []browser.Step{
		browser.Fill("#username", GlewlwydUser),
		browser.Fill("#password", GlewlwydPassword),
		browser.Click(`button[type="submit"]`),
		browser.Click("#grant-profile"),
		browser.Click("button.btn-primary"),
		browser.See("Connection to Interop"),
		browser.Click("button.btn-success"),
	}
}

// User returns a user with an account here. The login page is a program for the
// browser. This user calls the provider's own interface as that program would,
// for a user that allows everything.
func (g *Glewlwyd) User(issuer string) *User {
	u := NewUser(issuer, GlewlwydUser, GlewlwydPassword)
	u.Script = func(ctx context.Context, page *url.URL) (string, error) { return g.loginPage(ctx, u, page) }
	return u
}

// loginPage does what login.html does at a page's address. It returns the
// address that the page goes on to, or "".
func (g *Glewlwyd) loginPage(ctx context.Context, u *User, page *url.URL) (next string, err error) {
	if page.Path != "/login.html" {
		return "", nil
	}
	q := page.Query()
	back := q.Get("callback_url")
	switch prompt := q.Get("prompt"); prompt {
	case "deviceComplete":
		return "", nil
	case "deviceCodeError", "deviceServerError":
		return "", errors.New("glewlwyd: " + prompt)
	case "end_session", "single_logout":
		if sid := q.Get("sid"); sid != "" {
			if err := g.api(ctx, &u.Client, http.MethodDelete, "/"+q.Get("plugin")+"/session/"+sid, nil, nil); err != nil {
				return "", err
			}
		}
		return back, g.api(ctx, &u.Client, http.MethodDelete, "/auth/", nil, nil)
	default:
		var known []any
		again := prompt == "login" || q.Get("refresh_login") == "true"
		if again || g.api(ctx, &u.Client, http.MethodGet, "/profile_list", nil, &known) != nil || len(known) == 0 {
			credentials := map[string]any{"username": u.Name, "password": u.Password}
			if err := g.api(ctx, &u.Client, http.MethodPost, "/auth/", credentials, nil); err != nil {
				return "", err
			}
		}
	}
	if client := q.Get("client_id"); client != "" {
		if err := g.api(ctx, &u.Client, http.MethodPut, "/auth/grant/"+url.PathEscape(client), map[string]any{"scope": q.Get("scope")}, nil); err != nil {
			return "", err
		}
	}
	if strings.Contains(back, "?") {
		return back + "&g_continue", nil
	}
	return back + "?g_continue", nil
}

// api calls the provider's own interface.
func (g *Glewlwyd) api(ctx context.Context, c *http.Client, method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, g.origin+"/api"+path, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("glewlwyd: %s %s: %s: %s", method, path, resp.Status, answer)
	}
	if into != nil {
		return json.Unmarshal(answer, into)
	}
	return nil
}
