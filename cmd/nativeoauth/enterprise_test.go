package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// The command with a sign-in at a company's identity provider. S136: no assertion and
// no ID token is in the log. S133: after a sign-out there no token comes.
func TestS133S136IdentityProvider(t *testing.T) { runScripts(t, "testdata/company") }

// newChat adds another authorization server, which trusts p as an identity provider,
// and its API.
func newChat(t testing.TB, mux *http.ServeMux, p *provider) {
	t.Helper()
	chat, err := authserver.New(authserver.Config{
		Issuer:  p.http.URL + "/chat",
		Trusted: []authserver.Trusted{{Issuer: p.Issuer(), Keys: p.PublicKeys, Users: true}},
		Clients: []authserver.Client{{ID: "cli", Auth: authserver.AuthBasic, Secret: wire.NewSecret("s3cret canary")}},
	})
	require.NoError(t, err)
	mux.Handle("/chat/", chat)
	mux.Handle("/.well-known/oauth-authorization-server/chat", chat)
	mux.Handle("/chat/api", chat.Protect(authserver.Resource{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, _ := authserver.GrantFrom(r.Context())
		_, _ = fmt.Fprintf(w, "chat of %s\n", g.Subject)
	})))
}
