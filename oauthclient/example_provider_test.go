package oauthclient_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// provider is the authorization server that the Examples sign in at, with a user at
// the browser and an API behind it.
type provider struct {
	URL string // the issuer
	// API has /me, /mail and /files, and /payments for logins with a second factor.
	// Each answers "hello" to a token for it.
	API string
	UI  oauthclient.UI // the user's browser

	server *httptest.Server
	visits sync.WaitGroup
}

func exampleProvider() *provider {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	p := &provider{URL: "http://" + ln.Addr().String()}
	p.API = p.URL + "/api"
	callbacks := []string{"http://127.0.0.1/callback", "http://[::1]/callback"}
	auth, err := authserver.New(authserver.Config{
		Issuer: p.URL,
		Clients: []authserver.Client{
			{ID: "my-cli", RedirectURIs: callbacks},
			{
				ID: "my-desktop-app", RedirectURIs: callbacks,
				Auth: authserver.AuthBasic, Secret: wire.NewSecret("installed, so no secret"),
			},
		},
		Users: map[string]map[string]any{
			"alice": {"preferred_username": "alice", "email": "alice@example.com"},
		},
		AutoUser:         "alice",
		DeviceInterval:   time.Second,
		OpenRegistration: true,
	})
	if err != nil {
		panic(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})
	mux := http.NewServeMux()
	mux.Handle("/", auth)
	mux.Handle("/api/me", auth.Protect(authserver.Resource{}, hello))
	mux.Handle("/api/mail", auth.Protect(authserver.Resource{URL: p.API + "/mail"}, hello))
	mux.Handle("/api/files", auth.Protect(authserver.Resource{URL: p.API + "/files"}, hello))
	mux.Handle("/api/payments", auth.Protect(authserver.Resource{ACR: "mfa"}, hello))
	p.server = &httptest.Server{Listener: ln, Config: &http.Server{Handler: mux}}
	p.server.Start()
	p.UI.OpenURL = func(_ context.Context, url string) error {
		p.visits.Go(func() { p.visit(url) })
		return nil
	}
	return p
}

// visit opens url in the user's browser.
func (p *provider) visit(url string) {
	transport := &http.Transport{DisableKeepAlives: true}
	web := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	if resp, err := web.Get(url); err == nil {
		_ = resp.Body.Close()
	}
}

func (p *provider) Close() {
	p.visits.Wait()
	p.server.CloseClientConnections()
	p.server.Close()
}
