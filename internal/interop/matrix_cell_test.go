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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/inspect"
	"github.com/nativeoauth/nativeoauth/tokenstore"
	"golang.org/x/oauth2"
)

// inspect returns the findings about the provider that are not good.
func (m *matrix) inspect() error {
	opts := &inspect.Options{}
	if m.port == 0 {
		opts.ClientID = NativeClient // otherwise it would be refused: the port is another
	}
	report, err := inspect.Provider(m.ctx, m.issuer, opts)
	if err != nil {
		return err
	}
	var worse []string
	for _, f := range report.Findings {
		if f.Level == inspect.Warning || f.Level == inspect.Problem {
			worse = append(worse, f.Area)
		}
	}
	switch all := strings.Join(worse, ", "); {
	case !report.Ready:
		return fmt.Errorf("not ready: %+v", report.Findings)
	case all != "":
		return passes("it warns about " + all)
	}
	return nil
}

// ends returns nil if err, of a refresh, means that the user has to sign in
// again. If the provider does not say so by invalid_grant, it waits until the SDK
// believes it.
func (m *matrix) ends(err error) error {
	if err == nil {
		return errors.New("the session goes on")
	}
	if errors.Is(err, oauthclient.ErrLoginRequired) {
		return nil
	}
	first := refusal(err, "token")
	if first == nil {
		return err
	}
	for !errors.Is(err, oauthclient.ErrLoginRequired) {
		select {
		case <-m.ctx.Done():
			return fmt.Errorf("the session never ends: %w", err)
		case <-time.After(200 * time.Millisecond):
			err = m.refresh()
		}
	}
	said := "with a bare status " + strconv.Itoa(first.Status)
	if first.Code != "" {
		said = "with " + first.Code
	}
	return passes(said + ", where RFC 6749 says invalid_grant: the session ends when the provider has said it twice (ErrLoginRequired)")
}

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
	// A test of another process may look for a free port, and hold this one meanwhile.
	for range 5 {
		if m.session, err = client.Login(ctx, &opts); !errors.Is(err, loopback.ErrPortTaken) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// nameRevocation gives the client the revocation endpoint that the metadata do
// not name.
func (m *matrix) nameRevocation(c *oauthclient.Config, _ *oauthclient.LoginOptions) {
	if m.revocation == "" {
		return
	}
	c.Endpoints = &oauthclient.Endpoints{
		Issuer: m.issuer, Authorization: m.metadata.AuthorizationEndpoint, Token: m.metadata.TokenEndpoint,
		JWKS: m.metadata.JWKSURI, Userinfo: m.metadata.UserinfoEndpoint, Revocation: m.revocation, S256: true,
	}
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

// rotated reports whether two refreshes sent two refresh tokens.
func (m *matrix) rotated() bool { return len(m.refreshTokens()) == 2 }

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
