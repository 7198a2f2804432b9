package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/stretchr/testify/require"
)

const matrixFile = "../../docs/interop.md"

// makes are the providers of the matrix.
var makes = []struct {
	name  string
	start func(t *testing.T) subject
}{
	{"oidc-provider", func(t *testing.T) subject {
		return subject{StartOIDCProvider(t, Options{}).Issuer, NewPerson("alice", "correct horse")}
	}},
	{"oidc-provider, PAR and DPoP required", func(t *testing.T) subject {
		return subject{StartOIDCProvider(t, Options{RequirePAR: true, RequireDPoP: true}).Issuer, NewPerson("alice", "correct horse")}
	}},
	{"zitadel op", func(t *testing.T) subject {
		return subject{StartZitadel(t, 0).Issuer, NewPerson(ZitadelUser, "verysecure")}
	}},
}

// subject is a provider and somebody with an account there.
type subject struct {
	issuer string
	person *Person
}

// features are the rows of the matrix. A function returns nil where the feature works, an errors.ErrUnsupported where the provider lacks it.
var features = []struct {
	name  string
	check func(m *matrix) error
}{
	{"code and PKCE", func(m *matrix) error {
		_, _, err := m.signIn(nil, nil)
		return first(err, m.sent("code_challenge_method", "S256"), m.sent("code_verifier", ""))
	}},
	{"any loopback port", func(m *matrix) error {
		_, _, err := m.signIn(nil, nil)
		_, _, again := m.signIn(nil, nil)
		if a := m.person.Answers(); err == nil && again == nil && len(a) < 2 {
			return errors.New("no answer came")
		}
		return first(err, again)
	}},
	{"IPv6 loopback", func(m *matrix) error {
		_, _, err := m.signIn(func(c *oauthclient.Config) { c.Loopback = loopback.Config{Addr: "[::1]:0"} }, nil)
		return err
	}},
	{"refresh", func(m *matrix) error {
		_, s, err := m.signIn(nil, nil)
		if err != nil {
			return err
		}
		before, err := s.Token(m.ctx)
		if err != nil {
			return err
		}
		if err := s.Refresh(m.ctx); err != nil {
			return err
		}
		after, err := s.Token(m.ctx)
		if err == nil && after.AccessToken == before.AccessToken {
			return errors.New("the token is the same")
		}
		return err
	}},
	{"rotation", func(m *matrix) error {
		_, s, err := m.signIn(nil, nil)
		if err := first(err, func() error { return s.Refresh(m.ctx) }, func() error { return s.Refresh(m.ctx) }); err != nil {
			return err
		}
		tokens := m.refreshTokens()
		if len(tokens) != 2 || tokens[0] == tokens[1] {
			return lacks("the refresh token stays")
		}
		return nil
	}},
	{"reuse detection", func(m *matrix) error {
		_, s, err := m.signIn(nil, nil)
		if err := first(err, func() error { return s.Refresh(m.ctx) }, func() error { return s.Refresh(m.ctx) }, m.replay); err != nil {
			return err
		}
		switch err := s.Refresh(m.ctx); {
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
		_, s, err := m.signIn(func(c *oauthclient.Config) {
			c.UI.Instruct = func(ctx context.Context, do oauthclient.Instructions) (string, error) {
				return "", m.person.Visit(ctx, do.VerificationURIComplete)
			}
		}, &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})
		var refused *oauthclient.Error
		if errors.As(err, &refused) && refused.Code == "unauthorized_client" {
			return lacks("its example storage lets no native client use the endpoint that its metadata name")
		}
		return first(err, func() error { return s.Refresh(m.ctx) })
	}},
	{"PAR", func(m *matrix) error {
		_, _, err := m.signIn(func(c *oauthclient.Config) { c.RequirePAR = true }, nil)
		return err
	}},
	{"DPoP", func(m *matrix) error {
		client, err := m.client(nil)
		if err != nil {
			return err
		}
		metadata, err := client.Metadata(m.ctx)
		if err != nil {
			return err
		}
		_, s, err := m.signIn(func(c *oauthclient.Config) { c.DPoP = true }, nil)
		if metadata.DPoPSigningAlgValuesSupported == nil && errors.Is(err, oauthclient.ErrInvalidResponse) {
			return lacks("it answers with bearer tokens, which are refused")
		}
		return first(err, func() error { return s.Refresh(m.ctx) }, func() error { return s.UserInfo(m.ctx, &struct{}{}) }, func() error {
			token, err := s.Token(m.ctx)
			if err == nil && token.TokenType != "DPoP" {
				return errors.New("the tokens are " + token.TokenType)
			}
			return err
		})
	}},
	{"revocation", func(m *matrix) error {
		client, s, err := m.signIn(nil, nil)
		if err != nil {
			return err
		}
		before, err := s.Token(m.ctx)
		if err != nil {
			return err
		}
		if err := client.Logout(m.ctx, "", nil); err != nil {
			return err
		}
		if status := m.userinfo(client, before.AccessToken); status != http.StatusUnauthorized && status != http.StatusForbidden {
			return fmt.Errorf("the revoked token still works: %d", status)
		}
		return nil
	}},
	{"introspection", func(m *matrix) error {
		_, s, err := m.signIn(nil, nil)
		var answer struct {
			Active bool `json:"active"`
		}
		err = first(err, func() error { return s.Introspect(m.ctx, &answer) })
		var refused *oauthclient.Error
		if errors.As(err, &refused) && refused.Endpoint == "introspection" && (refused.Status == http.StatusUnauthorized || refused.Code == "invalid_client") {
			return lacks("it refuses public clients")
		}
		if err == nil && !answer.Active {
			return errors.New("the token is not active")
		}
		return err
	}},
	{"userinfo", func(m *matrix) error {
		_, s, err := m.signIn(nil, nil)
		var answer struct {
			Subject string `json:"sub"`
		}
		err = first(err, func() error { return s.UserInfo(m.ctx, &answer) })
		if err == nil && answer.Subject != s.Account().Subject {
			return errors.New("another sub")
		}
		return err
	}},
	{"end session", func(m *matrix) error {
		client, _, err := m.signIn(nil, nil)
		return first(err, func() error { return client.Logout(m.ctx, "", &oauthclient.LogoutOptions{EndSession: true}) }, func() error {
			_, _, err := m.signIn(nil, &oauthclient.LoginOptions{Prompt: "none"})
			if err == nil {
				return errors.New("the provider still knows the person")
			}
			if !errors.Is(err, oauthclient.ErrLoginRequired) {
				return err
			}
			return nil
		})
	}},
	{"iss in the answer", func(m *matrix) error {
		client, _, err := m.signIn(nil, nil)
		if err != nil {
			return err
		}
		metadata, err := client.Metadata(m.ctx)
		if err != nil {
			return err
		}
		answers := m.person.Answers()
		switch iss := answers[len(answers)-1].Get("iss"); {
		case iss == "" && !metadata.AuthorizationResponseIssParameterSupported:
			return lacks("")
		case iss != m.issuer || !metadata.AuthorizationResponseIssParameterSupported:
			return errors.New("metadata and answer disagree")
		}
		return nil
	}},
	{"max_age", func(m *matrix) error {
		_, s, err := m.signIn(nil, &oauthclient.LoginOptions{MaxAge: -1})
		var claims struct {
			AuthTime int64 `json:"auth_time"`
		}
		err = first(err, func() error { return s.Claims(&claims) })
		if errors.Is(err, oauthclient.ErrStepUp) && strings.Contains(err.Error(), "auth_time is missing") {
			return lacks("its ID tokens have no auth_time, and the sign-in is refused")
		}
		return err
	}},
	{"step-up", func(m *matrix) error {
		client, s, err := m.signIn(nil, &oauthclient.LoginOptions{MaxAge: time.Hour})
		if errors.Is(err, oauthclient.ErrStepUp) {
			return lacks("its ID tokens have no auth_time, and the sign-in is refused")
		}
		var before, after struct {
			AuthTime int64 `json:"auth_time"`
		}
		return first(err, func() error { return s.Claims(&before) }, func() error {
			time.Sleep(2100 * time.Millisecond)
			challenge := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{
				"Www-Authenticate": {`Bearer error="insufficient_user_authentication", max_age="1"`},
			}}
			opts, ok := oauthclient.ParseChallenge(challenge)
			if !ok {
				return errors.New("the challenge is not understood")
			}
			s, err := client.SessionOrLogin(m.ctx, opts)
			return first(err, func() error { return s.Claims(&after) })
		}, func() error {
			if after.AuthTime <= before.AuthTime {
				return errors.New("the person was not asked again")
			}
			return nil
		})
	}},
	{"dynamic registration", func(m *matrix) error {
		_, s, err := m.signIn(func(c *oauthclient.Config) {
			c.ClientID, c.Registration = "", &oauthclient.Registration{ClientName: "Interop"}
		}, nil)
		return first(err, func() error { return s.Refresh(m.ctx) })
	}},
	{"form_post", func(m *matrix) error {
		client, err := m.client(nil)
		if err != nil {
			return err
		}
		metadata, err := client.Metadata(m.ctx)
		if err != nil {
			return err
		}
		if !strings.Contains(fmt.Sprint(metadata.ResponseModesSupported), "form_post") {
			return lacks("")
		}
		_, _, err = m.signIn(func(c *oauthclient.Config) { c.Loopback.FormPost = true }, nil)
		return first(err, m.sent("response_mode", "form_post"))
	}},
	{"ui_locales, login_hint, id_token_hint", func(m *matrix) error {
		_, s, err := m.signIn(nil, nil)
		if err != nil {
			return err
		}
		raw, _, err := s.IDToken(m.ctx)
		if err != nil {
			return err
		}
		_, _, err = m.signIn(nil, &oauthclient.LoginOptions{
			LoginHint: m.person.Name, AuthParams: url.Values{"ui_locales": {"de en"}, "id_token_hint": {raw}},
		})
		return first(err, m.sent("ui_locales", "de en"), m.sent("id_token_hint", raw), m.sent("login_hint", m.person.Name))
	}},
}

// matrix is one cell: a provider, a person, and what went over the wire.
type matrix struct {
	subject
	t      *testing.T
	ctx    context.Context
	strict bool // PAR and DPoP are required

	mu    sync.Mutex
	forms []url.Values // of every request to the provider, in its URL or its body
	wait  sync.WaitGroup
}

func (m *matrix) client(change func(*oauthclient.Config)) (*oauthclient.Client, error) {
	cfg := oauthclient.Config{
		Issuer: m.issuer, ClientID: NativeClient, Scopes: []string{"openid", "offline_access", "profile"}, Store: &tokenstore.Memory{},
		RequirePAR: m.strict, DPoP: m.strict, Transport: m,
		UI: oauthclient.UI{OpenURL: func(_ context.Context, page string) error {
			m.wait.Go(func() {
				if err := m.person.Visit(m.ctx, page); err != nil {
					m.t.Logf("the person: %v", err)
				}
			})
			return nil
		}},
	}
	if change != nil {
		change(&cfg)
	}
	client, err := oauthclient.New(cfg)
	if err == nil {
		m.t.Cleanup(func() { _ = client.Close() })
	}
	return client, err
}

func (m *matrix) signIn(change func(*oauthclient.Config), opts *oauthclient.LoginOptions) (*oauthclient.Client, *oauthclient.Session, error) {
	client, err := m.client(change)
	if err != nil {
		return nil, nil, err
	}
	var o oauthclient.LoginOptions
	if opts != nil {
		o = *opts
	}
	if o.Prompt == "" && o.MaxAge == 0 {
		o.Prompt = "consent" // oidc-provider gives a refresh token then
	}
	session, err := client.Login(m.ctx, &o)
	return client, session, err
}

// RoundTrip implements http.RoundTripper: it keeps what is sent.
func (m *matrix) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		form, _ := url.ParseQuery(string(body))
		m.mu.Lock()
		m.forms = append(m.forms, form)
		m.mu.Unlock()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return http.DefaultTransport.RoundTrip(r)
}

// sent checks that a parameter was sent, in a pushed request or in the exchange; "": any value.
func (m *matrix) sent(name, value string) func() error {
	return func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, form := range m.forms {
			if v := form.Get(name); v != "" && (value == "" || v == value) {
				return nil
			}
		}
		for _, form := range m.person.Requests() {
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

// replay presents the first refresh token again, as a thief would: without the key, where there is one.
func (m *matrix) replay() error {
	client, err := m.client(nil)
	if err != nil {
		return err
	}
	metadata, err := client.Metadata(m.ctx)
	if err != nil {
		return err
	}
	resp, err := http.PostForm(metadata.TokenEndpoint, url.Values{
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

func (m *matrix) userinfo(client *oauthclient.Client, token string) int {
	metadata, err := client.Metadata(m.ctx)
	if err != nil {
		return 0
	}
	req, err := http.NewRequestWithContext(m.ctx, http.MethodGet, metadata.UserinfoEndpoint, nil)
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
func first(err error, steps ...any) error {
	for _, step := range steps {
		if err != nil {
			return err
		}
		switch step := step.(type) {
		case error:
			err = step
		case func() error:
			err = step()
		}
	}
	return err
}

func lacks(why string) error { return &lack{why} }

// lack is something that a provider has not; why is for the table.
type lack struct{ why string }

func (l *lack) Error() string { return "the provider lacks it: " + l.why }

func (l *lack) Is(target error) bool { return target == errors.ErrUnsupported }

// The matrix of docs/interop.md: what works against real providers, as it came out of this test. NATIVEOAUTH_UPDATE=1 writes it anew.
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
		for i, feature := range features {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			m := &matrix{subject: s, t: t, ctx: ctx, strict: strings.Contains(provider.name, "required")}
			m.person = NewPerson(s.person.Name, s.person.Password)
			err := feature.check(m)
			m.wait.Wait()
			cancel()
			var l *lack
			switch {
			case err == nil:
				cells[i][j] = "pass"
			case errors.As(err, &l) && l.why != "":
				notes = append(notes, fmt.Sprintf("%s, %s: %s.", provider.name, feature.name, l.why))
				cells[i][j] = fmt.Sprintf("unsupported (%d)", len(notes))
			case errors.Is(err, errors.ErrUnsupported):
				cells[i][j] = "unsupported"
			default:
				cells[i][j] = "fail"
				t.Errorf("%s, %s: %v", provider.name, feature.name, err)
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

The servers are npm's oidc-provider 9.13, zitadel/oidc 3.51 with its example's storage. The person at the provider's pages is a scripted HTTP browser with cookies and forms; sign-in,
denial, logout, the device flow, registration, PAR with DPoP and IPv6 are also done in a real Chromium, with sessions in a real gnome-keyring, across real processes (TestStory…).

A third make is missing: Debian's glewlwyd 2.7 runs here, on SQLite, but its sign-in pages are a program for the browser, so that a person for it is work that is yet to be done.

`
