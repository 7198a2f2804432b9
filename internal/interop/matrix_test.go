package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

const matrixFile = "../../docs/interop.md"

// makes are the providers of the matrix.
var makes = []struct {
	name  string
	start func(t *testing.T) subject
}{
	{"oidc-provider", func(t *testing.T) subject {
		return subject{issuer: StartOIDCProvider(t, Options{}).Issuer, newUser: anybody}
	}},
	{"oidc-provider, PAR and DPoP required", func(t *testing.T) subject {
		return subject{issuer: StartOIDCProvider(t, Options{RequirePAR: true, RequireDPoP: true}).Issuer, newUser: anybody, strict: true}
	}},
	{"zitadel op", func(t *testing.T) subject {
		return subject{issuer: StartZitadel(t, 0).Issuer, newUser: zitadelUser}
	}},
	{"glewlwyd", func(t *testing.T) subject {
		g := StartGlewlwyd(t)
		return subject{issuer: g.Issuer, newUser: g.User, port: g.Port, hint: true}
	}},
}

func anybody(issuer string) *User { return NewUser(issuer, "alice", "correct horse") }

func zitadelUser(issuer string) *User { return NewUser(issuer, ZitadelUser, "verysecure") }

// subject is a provider.
type subject struct {
	issuer  string
	newUser func(issuer string) *User // one with an account there
	strict  bool                      // PAR and DPoP are required
	port    int                       // of the registered redirect URIs; 0 means any
	hint    bool                      // it needs the ID token to end a session
}

// features are the rows of the matrix. A function returns nil if the feature
// works. It returns a note, or the SDK's errors.ErrUnsupported, if the provider
// lacks the feature. Any other error is a failure.
var features = []struct {
	name  string
	check func(m *matrix) error
}{
	{"code and PKCE", func(m *matrix) error {
		return first(m.signIn(nil), m.sent("code_challenge_method", "S256"), m.sent("code_verifier", ""))
	}},
	{"a wrong PKCE verifier is refused", func(m *matrix) error {
		m.change = func(form url.Values) {
			if form.Has("code_verifier") {
				form.Set("code_verifier", oauth2.GenerateVerifier())
			}
		}
		err := m.signIn(nil)
		if err == nil {
			return errors.New("tokens came for it")
		}
		switch refusal := refusal(err, "token"); {
		case refusal == nil:
			return err
		case refusal.Code != "invalid_grant":
			return passes("with " + refusal.Code + ", where RFC 7636 says invalid_grant")
		}
		return nil
	}},
	{"any loopback port", func(m *matrix) error {
		if m.port != 0 {
			m.port = 0
			err := m.signIn(nil)
			if err == nil || len(m.user.Answers()) > 0 {
				return errors.New("it takes any port after all")
			}
			return lacks("it compares the port with the registered one; Loopback.Addr names that, and so do the other rows")
		}
		return first(m.signIn(nil), func() error { return m.signIn(nil) })
	}},
	{"IPv6 loopback", func(m *matrix) error {
		return m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) {
			c.Loopback.Addr = net.JoinHostPort("::1", strconv.Itoa(m.port))
		})
	}},
	{"refresh", func(m *matrix) error {
		var before, after *oauth2.Token
		return first(m.signIn(nil), m.token(&before), m.refresh, m.token(&after), func() error {
			if after.AccessToken == before.AccessToken {
				return errors.New("the token is the same")
			}
			return nil
		})
	}},
	{"rotation", func(m *matrix) error {
		return first(m.signIn(nil), m.refresh, m.refresh, func() error {
			if tokens := m.refreshTokens(); len(tokens) != 2 || tokens[0] == tokens[1] {
				return lacks("the refresh token stays")
			}
			return nil
		})
	}},
	{"reuse detection", func(m *matrix) error {
		if err := first(m.signIn(nil), m.refresh, m.refresh, m.replay); err != nil {
			return err
		}
		err := m.refresh()
		switch refusal := refusal(err, "token"); {
		case refusal != nil && refusal.Code == "":
			return lacks("the session ends, but with a bare status in place of invalid_grant: that is reported as it came, and not as ErrLoginRequired")
		case err == nil && m.strict:
			return lacks("a used token that comes back without the session's key is refused before it counts as reuse, and the session goes on")
		case err == nil:
			return lacks("the session goes on after a used refresh token was presented again")
		case !errors.Is(err, oauthclient.ErrLoginRequired):
			return err
		}
		return nil
	}},
	{"device flow", func(m *matrix) error {
		err := m.signIn(func(c *oauthclient.Config, o *oauthclient.LoginOptions) {
			o.Flow = oauthclient.FlowDevice
			c.UI.Instruct = func(ctx context.Context, do oauthclient.Instructions) (string, error) {
				return "", m.user.SignIn(ctx, do.VerificationURIComplete)
			}
		})
		if refusal := refusal(err, "device_authorization"); refusal != nil && refusal.Code == "unauthorized_client" {
			return lacks("its example storage lets no native client use the endpoint that its metadata name")
		}
		return first(err, m.refresh)
	}},
	{"PAR", func(m *matrix) error {
		return m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) { c.RequirePAR = true })
	}},
	{"DPoP", func(m *matrix) error {
		err := m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) { c.DPoP = true })
		if m.metadata.DPoPSigningAlgValuesSupported == nil && errors.Is(err, errors.ErrUnsupported) {
			return lacks("its metadata do not offer it, so that the login fails before the user is prompted")
		}
		var token *oauth2.Token
		return first(err, m.refresh, m.userinfo, m.token(&token), func() error {
			if token.TokenType != "DPoP" {
				return errors.New("the tokens are " + token.TokenType)
			}
			return nil
		})
	}},
	{"revocation", func(m *matrix) error {
		var before *oauth2.Token
		err := first(m.signIn(nil), m.token(&before), func() error { return m.client.Logout(m.ctx, "", nil) })
		if errors.Is(err, oauthclient.ErrNotRevoked) && refusesUs(err, "revocation") {
			return lacks("it refuses public clients; the session is gone here, and Logout says so (ErrNotRevoked)")
		}
		return first(err, func() error {
			if status := m.bearer(before.AccessToken); status != http.StatusUnauthorized && status != http.StatusForbidden {
				return fmt.Errorf("the revoked token still works: %d", status)
			}
			return nil
		})
	}},
	{"introspection", func(m *matrix) error {
		var answer struct {
			Active bool `json:"active"`
		}
		err := first(m.signIn(nil), func() error { return m.session.Introspect(m.ctx, &answer) })
		if refusesUs(err, "introspection") {
			return lacks("it refuses public clients")
		}
		if err == nil && !answer.Active {
			return errors.New("the token is not active")
		}
		return err
	}},
	{"userinfo", func(m *matrix) error { return first(m.signIn(nil), m.userinfo) }},
	{"end session", func(m *matrix) error {
		logout := func() error {
			err := m.client.Logout(m.ctx, "", &oauthclient.LogoutOptions{EndSession: true, IDTokenHint: m.hint})
			m.wait.Wait() // until the user has signed out
			if errors.Is(err, oauthclient.ErrNotRevoked) && refusesUs(err, "revocation") {
				return nil // another row checks this
			}
			return err
		}
		if err := first(m.signIn(nil), logout); err != nil {
			return err
		}
		typed := m.user.Typed()
		err := m.signIn(func(_ *oauthclient.Config, o *oauthclient.LoginOptions) { o.Prompt = "none" })
		switch {
		case errors.Is(err, oauthclient.ErrLoginRequired):
			return nil
		case err != nil:
			return err
		case m.user.Typed() == typed:
			return errors.New("the provider still knows the user")
		}
		return passes("with LogoutOptions.IDTokenHint, without which it ends nothing. The user is then asked for the password even with prompt=none, " +
			"of which it takes no notice in a pushed request")
	}},
	{"iss in the answer", func(m *matrix) error {
		if err := m.signIn(nil); err != nil {
			return err
		}
		promised := m.metadata.AuthorizationResponseIssParameterSupported
		switch iss := m.user.Answers()[0].Get("iss"); {
		case iss == "" && !promised:
			return lacks("")
		case iss != m.issuer:
			return errors.New("iss is " + iss)
		case !promised:
			return passes("its metadata do not promise it, so that only a wrong one is refused, and not a missing one")
		}
		return nil
	}},
	{"max_age", func(m *matrix) error {
		err := m.signIn(func(_ *oauthclient.Config, o *oauthclient.LoginOptions) { o.MaxAge = -1 })
		return m.asked(err)
	}},
	{"step-up, max_age", func(m *matrix) error {
		var before, after claims
		err := m.signIn(func(_ *oauthclient.Config, o *oauthclient.LoginOptions) { o.MaxAge = time.Hour })
		return first(m.asked(err), m.claims(&before), func() error {
			time.Sleep(2100 * time.Millisecond)
			return m.stepUp(`max_age="1"`)
		}, m.claims(&after), func() error {
			if after.AuthTime <= before.AuthTime {
				return errors.New("the user was not prompted again")
			}
			return nil
		})
	}},
	{"step-up, acr_values", func(m *matrix) error {
		var before, after claims
		err := first(m.signIn(nil), m.claims(&before), func() error { return m.stepUp(`acr_values="` + twoFactors + `"`) })
		if errors.Is(err, oauthclient.ErrStepUp) && !slices.Contains(m.metadata.ACRValuesSupported, twoFactors) {
			return lacks("its ID tokens have no acr, and the step up is refused")
		}
		return first(err, m.sent("acr_values", twoFactors), m.claims(&after), func() error {
			if before.ACR == twoFactors || after.ACR != twoFactors {
				return fmt.Errorf("acr was %q and is %q", before.ACR, after.ACR)
			}
			return nil
		})
	}},
	{"dynamic registration", func(m *matrix) error {
		err := m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) {
			c.ClientID, c.Registration = "", &oauthclient.Registration{ClientName: "Interop"}
		})
		if refusal := refusal(err, "registration"); refusal != nil && strings.Contains(refusal.Description, "grant_types") {
			return lacks("its metadata name the device grant, and its registration refuses that name")
		}
		return first(err, m.refresh)
	}},
	{"form_post", func(m *matrix) error {
		var more struct {
			Modes []string `json:"response_modes_supported"`
		}
		if err := m.metadata.Claims(&more); err != nil {
			return err
		}
		if !slices.Contains(more.Modes, "form_post") {
			return lacks("")
		}
		return first(m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) { c.Loopback.FormPost = true }), m.sent("response_mode", "form_post"))
	}},
	{"ui_locales, login_hint, id_token_hint", func(m *matrix) error {
		if err := m.signIn(nil); err != nil {
			return err
		}
		raw, _, err := m.session.IDToken(m.ctx)
		if err != nil {
			return err
		}
		return first(m.signIn(func(_ *oauthclient.Config, o *oauthclient.LoginOptions) {
			o.LoginHint, o.AuthParams = m.user.Name, url.Values{"ui_locales": {"de en"}, "id_token_hint": {raw}}
		}), m.sent("ui_locales", "de en"), m.sent("id_token_hint", raw), m.sent("login_hint", m.user.Name))
	}},
}

// twoFactors is an acr that oidc-provider knows here.
const twoFactors = "urn:example:two-factors"

// matrix is one cell: a provider, a user, what went over the wire, and the
// session of the last sign-in.
type matrix struct {
	subject
	t        *testing.T
	ctx      context.Context
	metadata *oauthclient.Metadata
	user     *User
	change   func(url.Values) // changes a form before it is posted; nil means no change
	client   *oauthclient.Client
	session  *oauthclient.Session

	mu    sync.Mutex
	forms []url.Values // of every request to the provider, in its URL or its body
	wait  sync.WaitGroup
}

// signIn creates a client and signs in with it. with changes the options of
// both.
func (m *matrix) signIn(with func(*oauthclient.Config, *oauthclient.LoginOptions)) error {
	ctx, giveUp := context.WithCancelCause(m.ctx)
	defer giveUp(nil)
	cfg := oauthclient.Config{
		Issuer: m.issuer, ClientID: NativeClient, Scopes: []string{"openid", "offline_access", "profile"}, Store: &tokenstore.Memory{},
		RequirePAR: m.strict, DPoP: m.strict, Transport: m,
		UI: oauthclient.UI{OpenURL: func(_ context.Context, page string) error {
			m.wait.Go(func() {
				if err := m.user.SignIn(m.ctx, page); err != nil {
					giveUp(fmt.Errorf("the user: %w", err))
				}
			})
			return nil
		}},
	}
	if m.port != 0 {
		cfg.Loopback.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port))
	}
	var opts oauthclient.LoginOptions
	if with != nil {
		with(&cfg, &opts)
	}
	if opts.Prompt == "" && opts.MaxAge == 0 {
		opts.Prompt = "consent" // oidc-provider issues a refresh token then
	}
	if m.client != nil { // it may still hold the one port
		if err := m.client.Close(); err != nil {
			return err
		}
	}
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	m.t.Cleanup(func() { _ = client.Close() })
	m.client = client
	if m.session, err = client.Login(ctx, &opts); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

func (m *matrix) refresh() error { return m.session.Refresh(m.ctx) }

func (m *matrix) token(into **oauth2.Token) func() error {
	return func() (err error) {
		*into, err = m.session.Token(m.ctx)
		return err
	}
}

type claims struct {
	AuthTime int64  `json:"auth_time"`
	ACR      string `json:"acr"`
}

func (m *matrix) claims(into *claims) func() error {
	return func() error { return m.session.Claims(into) }
}

func (m *matrix) userinfo() error {
	var answer struct {
		Subject string `json:"sub"`
	}
	err := m.session.UserInfo(m.ctx, &answer)
	if err == nil && answer.Subject != m.session.Account().Subject {
		return errors.New("another sub")
	}
	return err
}

// stepUp does what the challenge of an API demands (RFC 9470).
func (m *matrix) stepUp(parameter string) error {
	opts, ok := oauthclient.ParseChallenge(&http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{
		"Www-Authenticate": {`Bearer error="insufficient_user_authentication", ` + parameter},
	}})
	if !ok {
		return errors.New("the challenge is not understood")
	}
	var err error
	m.session, err = m.client.SessionOrLogin(m.ctx, opts)
	return err
}

// asked explains the error of a sign-in with max_age.
func (m *matrix) asked(err error) error {
	if errors.Is(err, oauthclient.ErrStepUp) {
		return lacks("its ID tokens do not tell when the user signed in (auth_time), and the sign-in is refused")
	}
	return err
}

// refusal returns the error response of an endpoint, or nil if err is another
// error.
func refusal(err error, endpoint string) *oauthclient.Error {
	var refusal *oauthclient.Error
	if errors.As(err, &refusal) && refusal.Endpoint == endpoint {
		return refusal
	}
	return nil
}

// refusesUs reports whether an endpoint is for clients with a secret.
func refusesUs(err error, endpoint string) bool {
	refusal := refusal(err, endpoint)
	return refusal != nil && (refusal.Status == http.StatusUnauthorized || refusal.Code == "invalid_client")
}

// RoundTrip implements http.RoundTripper. It keeps what is sent.
func (m *matrix) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		form, _ := url.ParseQuery(string(body))
		if m.change != nil {
			m.change(form)
			body = []byte(form.Encode())
		}
		m.mu.Lock()
		m.forms = append(m.forms, form)
		m.mu.Unlock()
		r = r.Clone(r.Context())
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return http.DefaultTransport.RoundTrip(r)
}

// sent checks that a parameter was sent, in a pushed request or in the
// exchange. The value "" stands for any.
func (m *matrix) sent(name, value string) func() error {
	return func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, form := range m.forms {
			if v := form.Get(name); v != "" && (value == "" || v == value) {
				return nil
			}
		}
		for _, form := range m.user.Requests() {
			if v := form.Get(name); v != "" && (value == "" || v == value) {
				return nil
			}
		}
		return errors.New(name + " was not sent")
	}
}

func (m *matrix) refreshTokens() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var tokens []string
	for _, form := range m.forms {
		if form.Get("grant_type") == "refresh_token" && (len(tokens) == 0 || tokens[len(tokens)-1] != form.Get("refresh_token")) {
			tokens = append(tokens, form.Get("refresh_token"))
		}
	}
	return tokens
}

// replay presents the first refresh token again, as a thief would: without the
// DPoP key.
func (m *matrix) replay() error {
	resp, err := http.PostForm(m.metadata.TokenEndpoint, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {m.refreshTokens()[0]}, "client_id": {NativeClient},
	})
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return errors.New("a used refresh token works again")
	}
	return nil
}

// bearer returns the provider's answer to a request with nothing but an access
// token.
func (m *matrix) bearer(token string) (status int) {
	req, err := http.NewRequestWithContext(m.ctx, http.MethodGet, m.metadata.UserinfoEndpoint, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// first returns err, else the first error of steps.
func first(err error, steps ...func() error) error {
	for _, step := range steps {
		if err != nil {
			return err
		}
		err = step()
	}
	return err
}

func lacks(why string) error  { return &note{"unsupported", why} }
func passes(why string) error { return &note{"pass", why} }

// note is a cell with an explanation; "" for none.
type note struct{ cell, why string }

func (n *note) Error() string { return n.cell + ": " + n.why }

// docs/interop.md shows the result of this test: what works against real
// providers. NATIVEOAUTH_UPDATE=1 rewrites it.
func TestMatrix(t *testing.T) {
	t.Parallel()
	needIPv6(t)
	cells := make([][]string, len(features))
	var notes []string
	for i := range cells {
		cells[i] = make([]string, len(makes))
	}
	for j, provider := range makes {
		s := provider.start(t)
		client, err := oauthclient.New(oauthclient.Config{Issuer: s.issuer, ClientID: NativeClient, Store: &tokenstore.Memory{}})
		require.NoError(t, err)
		metadata, err := client.Metadata(t.Context())
		require.NoError(t, err, provider.name)
		require.NoError(t, client.Close())
		for i, feature := range features {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			m := &matrix{subject: s, t: t, ctx: ctx, metadata: metadata, user: s.newUser(s.issuer)}
			err := feature.check(m)
			m.wait.Wait()
			if m.client != nil { // its listener may still hold the one port that the next row needs
				require.NoError(t, m.client.Close())
			}
			cancel()
			var n *note
			switch {
			case err == nil:
				cells[i][j] = "pass"
			case errors.As(err, &n):
				cells[i][j] = n.cell
			case errors.Is(err, errors.ErrUnsupported):
				cells[i][j] = "unsupported"
			default:
				cells[i][j] = "fail"
				t.Errorf("%s, %s: %v", provider.name, feature.name, err)
			}
			if n != nil && n.why != "" {
				notes = append(notes, fmt.Sprintf("%s, %s: %s.", provider.name, feature.name, n.why))
				cells[i][j] += fmt.Sprintf(" (%d)", len(notes))
			}
		}
	}
	table := render(cells, notes)
	if os.Getenv("NATIVEOAUTH_UPDATE") != "" {
		require.NoError(t, os.WriteFile(matrixFile, []byte(table), 0o644))
	}
	written, err := os.ReadFile(matrixFile)
	require.NoError(t, err)
	require.Equal(t, table, strings.ReplaceAll(string(written), "\r\n", "\n"), "NATIVEOAUTH_UPDATE=1 go test -run TestMatrix writes docs/interop.md anew")
}

func render(cells [][]string, notes []string) string {
	var b strings.Builder
	b.WriteString(matrixHead)
	b.WriteString("| |")
	for _, provider := range makes {
		b.WriteString(" " + provider.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(makes)) + "\n")
	for i, feature := range features {
		fmt.Fprintf(&b, "| %s | %s |\n", feature.name, strings.Join(cells[i], " | "))
	}
	b.WriteString("\n")
	for i, note := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, note)
	}
	return b.String()
}

const matrixHead = `# Interoperability

What works against authorization servers that this project did not write. The table is written by a test that does each thing through the public API, against the real
server (` + "`internal/interop`, TestMatrix" + `), and compared with it in every run of ` + "`.ci/run`" + `. "Unsupported" is what the provider has not, and what the SDK then says
before anything is sent, or refuses.

The servers are npm's oidc-provider 9.13, zitadel/oidc 3.51 with its example's storage, and Debian 12's glewlwyd 2.7.5 on SQLite. The user at the provider's pages is a scripted HTTP
browser with cookies and forms; glewlwyd's page is a program, and its user calls the provider's own interface as that program would. Sign-in, denial, logout, the device flow,
registration, PAR with DPoP and IPv6 at oidc-provider, and a sign-in at glewlwyd's page, are also done in a real Chromium, with sessions in a real gnome-keyring, across real
processes (TestStory…). A device login that was done by hand is in [device-login.md](device-login.md).

`
