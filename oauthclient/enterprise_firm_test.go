package oauthclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

const (
	firmIdP    = "https://93.184.216.34"
	firmChat   = "https://93.184.216.35"
	notesAPI   = "https://93.184.216.36/notes"
	mailAPI    = "https://93.184.216.36/mail"
	byAssert   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	byExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// firm is a company's identity provider and another company's authorization server
// that trusts it, in virtual time and without a network.
type firm struct {
	idp, chat         *authserver.Server
	idpConf, chatConf authserver.Config // before the start
	cfg, chatCfg      oauthclient.Config
	browsers          int
	edit              func(claims map[string]any) // of assertions; nil: none
	log               *bytes.Buffer

	mu    sync.Mutex
	sent  []sentForm
	bends map[string]http.HandlerFunc // by server and grant_type: answers in their place
}

// sentForm is a request to a token endpoint.
type sentForm struct {
	to    string
	form  url.Values
	whole string
}

// inFirm starts a firm. prepare changes it before that; nil: not at all.
func inFirm(t *testing.T, prepare func(*firm), test func(*testing.T, *firm)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &firm{bends: map[string]http.HandlerFunc{}, log: &bytes.Buffer{}}
		known := []authserver.Client{{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}, Grants: []string{
			"authorization_code", "refresh_token", byAssert, byExchange,
		}}}
		f.idpConf = authserver.Config{Issuer: firmIdP, AutoUser: "alice", Clients: known}
		f.idpConf.Users = map[string]map[string]any{"alice": {"sub": "alice", "email": "alice@firm.example"}, "bob": {}}
		f.idpConf.EditAssertion = func(claims map[string]any) {
			if f.edit != nil {
				f.edit(claims)
			}
		}
		f.chatConf = authserver.Config{Issuer: firmChat, Clients: known}
		if prepare != nil {
			prepare(f)
		}
		var err error
		f.idp, err = authserver.New(f.idpConf)
		require.NoError(t, err)
		f.chatConf.Trusted = []authserver.Trusted{{Issuer: firmIdP, Keys: f.idp.PublicKeys, Users: true}}
		f.chat, err = authserver.New(f.chatConf)
		require.NoError(t, err)
		var visits sync.WaitGroup
		defer visits.Wait()
		network := f.network()
		logger := slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		f.cfg = oauthclient.Config{
			Issuer: firmIdP, ClientID: "cli", Transport: network, Scopes: []string{"openid", "email", "offline_access"},
			Store: &tokenstore.Memory{}, Logger: logger,
			UI: oauthclient.UI{OpenURL: func(_ context.Context, url string) error {
				f.browsers++
				visits.Go(func() {
					if resp, err := (&http.Client{Transport: network, Timeout: 20 * time.Second}).Get(url); err == nil {
						_ = resp.Body.Close()
					}
				})
				return nil
			}},
		}
		f.chatCfg = oauthclient.Config{
			Issuer: firmChat, ClientID: "cli", Transport: network, Scopes: []string{"read"}, Logger: logger,
			Resources: []string{notesAPI, mailAPI}, Store: forbiddenStore{t}, UI: f.cfg.UI,
		}
		test(t, f)
	})
}

// forbiddenStore fails the test if anything is read or stored.
type forbiddenStore struct{ t *testing.T }

func (s forbiddenStore) Get(context.Context, string) ([]byte, error) {
	s.t.Error("the store was read")
	return nil, tokenstore.ErrNotFound
}

func (s forbiddenStore) Put(context.Context, string, []byte) error {
	s.t.Error("something was stored")
	return nil
}

func (s forbiddenStore) Delete(context.Context, string) error {
	s.t.Error("something was deleted")
	return nil
}

// network brings requests to the servers, and writes down the forms.
func (f *firm) network() roundTrip {
	listener := &http.Transport{DisableKeepAlives: true}
	return func(r *http.Request) (*http.Response, error) {
		var server http.Handler
		switch "https://" + r.URL.Host {
		case firmIdP:
			server = f.idp
		case firmChat:
			server = f.chat
		case "https://93.184.216.36":
			server = f.chat.Protect(authserver.Resource{Scope: "read"}, http.HandlerFunc(
				func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("three notes")) }))
		default:
			return listener.RoundTrip(r)
		}
		rec, arrived := httptest.NewRecorder(), r.Clone(r.Context())
		if arrived.Host = r.URL.Host; r.Body == nil {
			arrived.Body = http.NoBody
		}
		arrived.TLS = &tls.ConnectionState{}
		if bent := f.note(arrived); bent != nil {
			server = bent
		}
		server.ServeHTTP(rec, arrived)
		resp := rec.Result()
		resp.Request = r
		return resp, nil
	}
}

// note writes down a token request, and returns what answers it if not the server.
func (f *firm) note(r *http.Request) http.HandlerFunc {
	f.mu.Lock()
	defer f.mu.Unlock()
	whole := ""
	for name, values := range r.Header {
		whole += name + strings.Join(values, " ")
	}
	form := url.Values{}
	if r.Method == http.MethodPost {
		form = peekForm(r)
	}
	to := "https://" + r.URL.Host
	f.sent = append(f.sent, sentForm{to, form, r.URL.String() + whole + form.Encode()})
	return f.bends[to+" "+form.Get("grant_type")]
}

func (f *firm) bend(server, grant string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bends[server+" "+grant] = h
}

// forms returns the requests to server with that grant type.
func (f *firm) forms(server, grant string) (found []url.Values) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sent {
		if s.to == server && s.form.Get("grant_type") == grant {
			found = append(found, s.form)
		}
	}
	return found
}

// signIn signs alice in at the identity provider.
func (f *firm) signIn(t *testing.T) (*oauthclient.Client, *oauthclient.Session) {
	t.Helper()
	c := newClient(t, f.cfg)
	s, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	return c, s
}

// open returns alice's session at the chat server.
func (f *firm) open(t *testing.T, idp *oauthclient.Session) (*oauthclient.Client, *oauthclient.Session) {
	t.Helper()
	f.chatCfg.IdentityProvider = idp
	c := newClient(t, f.chatCfg)
	s, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	return c, s
}
