package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// Hydra is Ory Hydra, in a process of its own with SQLite in memory. Refresh
// tokens rotate, and a used one ends the session. It has no pages: the pages for
// sign-in and sign-out are in this process, as its users write them, and there
// is none for the consent. Every name with the password hydraPassword is an
// account. It knows NativeClient.
type Hydra struct {
	Issuer string

	admin http.Client // for any host, it reaches Hydra's administration
}

// hydraPassword is everyone's password.
const hydraPassword = "correct horse battery"

// hydraProgram is what .ci/run builds. Debian has another program with the name
// hydra.
const hydraProgram = "ory-hydra"

// StartHydra starts a provider that ends with the test. It needs the program
// (see realparts.Need).
func StartHydra(tb testing.TB) *Hydra {
	tb.Helper()
	program := realparts.Need(tb, hydraProgram)[0]
	dir := tb.TempDir()
	public, admin := filepath.Join(dir, "public"), filepath.Join(dir, "admin")
	h := &Hydra{admin: http.Client{Transport: socket(admin), Timeout: 30 * time.Second}}

	mux := http.NewServeMux()
	mux.HandleFunc("/login", h.login)
	mux.HandleFunc("/consent", h.consent)
	mux.HandleFunc("/logout", h.logout)
	mux.Handle("/", &httputil.ReverseProxy{
		Transport: socket(public),
		ErrorLog:  log.New(io.Discard, "", 0), // of requests that their clients gave up
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host})
		},
	})
	web := httptest.NewServer(mux)
	tb.Cleanup(web.Close)
	h.Issuer = web.URL

	config, err := json.Marshal(map[string]any{
		"dsn": "memory",
		"serve": map[string]any{
			"public": map[string]any{"host": "unix:" + public},
			"admin":  map[string]any{"host": "unix:" + admin},
		},
		"urls": map[string]any{
			"self":  map[string]any{"issuer": h.Issuer, "public": h.Issuer},
			"login": h.Issuer + "/login", "consent": h.Issuer + "/consent", "logout": h.Issuer + "/logout",
		},
		"oauth2": map[string]any{"pkce": map[string]any{"enforced_for_public_clients": true}},
		"oidc": map[string]any{"dynamic_client_registration": map[string]any{
			"enabled": true, "default_scope": []string{"openid", "offline_access", "profile"},
		}},
		"webfinger": map[string]any{"oidc_discovery": map[string]any{
			"client_registration_url": h.Issuer + "/oauth2/register",
		}},
		"secrets": map[string]any{"system": []string{"a secret of sixteen letters or more"}},
		"log":     map[string]any{"level": "warn"},
		"sqa":     map[string]any{"opt_out": true}, // it counts its users otherwise
	})
	require.NoError(tb, err)
	file := filepath.Join(dir, "hydra.json")
	require.NoError(tb, os.WriteFile(file, config, 0o600))
	cmd := exec.Command(program, "serve", "all", "--dev", "--config="+file)
	cmd.Dir = dir
	startServer(tb, "hydra", cmd, func() error {
		return h.call(tb.Context(), http.MethodGet, "/health/ready", nil, nil)
	})
	redirects := []string{"http://127.0.0.1/callback", "http://[::1]/callback"}
	require.NoError(tb, h.call(tb.Context(), http.MethodPost, "/admin/clients", map[string]any{
		"client_id": NativeClient, "client_name": "Interop", "token_endpoint_auth_method": "none",
		"grant_types":   []string{"authorization_code", "refresh_token"},
		"redirect_uris": redirects, "post_logout_redirect_uris": redirects,
		"scope": "openid offline_access profile",
	}, nil))
	return h
}

// User returns a user with an account here.
func (h *Hydra) User(issuer string) *User { return NewUser(issuer, "alice", hydraPassword) }

const (
	hydraLoginPage = `<!doctype html><title>Sign in</title>
<form method="post"><input name="username" required> <input name="password" type="password" required>
<button type="submit">Sign in</button></form>`
	hydraLogoutPage = `<!doctype html><title>Sign out</title>
<form method="post"><button type="submit">Sign out</button></form>`
)

// hydraRequest is the path of what the browser asks for: kind is "login",
// "consent" or "logout", and action "" or "/accept".
func hydraRequest(r *http.Request, kind, action string) string {
	challenge := kind + "_challenge"
	query := url.Values{challenge: {r.FormValue(challenge)}}
	return "/admin/oauth2/auth/requests/" + kind + action + "?" + query.Encode()
}

// login is the sign-in page. A user that signed in before is asked again only if Hydra
// says so. A demand for two factors is met by the password alone.
func (h *Hydra) login(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Skip    bool
		Subject string
		OIDC    struct {
			ACR []string `json:"acr_values"`
		} `json:"oidc_context"`
	}
	err := h.call(r.Context(), http.MethodGet, hydraRequest(r, "login", ""), nil, &asked)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	subject := asked.Subject
	switch {
	case asked.Skip:
	case r.Method != http.MethodPost:
		_, _ = io.WriteString(w, hydraLoginPage)
		return
	case r.FormValue("password") != hydraPassword:
		http.Error(w, "a wrong password", http.StatusForbidden)
		return
	default:
		subject = r.FormValue("username")
	}
	answer := map[string]any{"subject": subject, "remember": true, "remember_for": 3600}
	if slices.Contains(asked.OIDC.ACR, twoFactors) {
		answer["acr"] = twoFactors
	}
	h.accept(w, r, "login", answer)
}

// consent allows what is asked for.
func (h *Hydra) consent(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Scope    []string `json:"requested_scope"`
		Audience []string `json:"requested_access_token_audience"`
	}
	err := h.call(r.Context(), http.MethodGet, hydraRequest(r, "consent", ""), nil, &asked)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.accept(w, r, "consent", map[string]any{
		"grant_scope": asked.Scope, "grant_access_token_audience": asked.Audience,
	})
}

// logout is the sign-out page.
func (h *Hydra) logout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		_, _ = io.WriteString(w, hydraLogoutPage)
		return
	}
	h.accept(w, r, "logout", nil)
}

// accept accepts a request of the kind "login", "consent" or "logout", and sends
// the browser on.
func (h *Hydra) accept(w http.ResponseWriter, r *http.Request, kind string, answer map[string]any) {
	var next struct {
		To string `json:"redirect_to"`
	}
	err := h.call(r.Context(), http.MethodPut, hydraRequest(r, kind, "/accept"), answer, &next)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	http.Redirect(w, r, next.To, http.StatusFound)
}

// call calls Hydra's administration.
func (h *Hydra) call(ctx context.Context, method, path string, body, into any) error {
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://hydra"+path, sent)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.admin.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("hydra: %s %s: %s: %s", method, path, resp.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// introspect asks the administration about an access token (RFC 7662).
func (h *Hydra) introspect(ctx context.Context, token string, into any) error {
	form := strings.NewReader(url.Values{"token": {token}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hydra/admin/oauth2/introspect", form)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := h.admin.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into)
}

// socket returns a transport that sends every request to a Unix socket.
func socket(path string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
}
