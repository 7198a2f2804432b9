package oidc_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func query(t *testing.T, p *oidc.EndSession) url.Values {
	u, err := url.Parse(p.URL())
	require.NoError(t, err)
	q, err := url.ParseQuery(u.RawQuery)
	require.NoError(t, err)
	return q
}

// S69: client_id and logout_hint are sent, and an ID token only if it is set.
func TestS69URLHoldsNoIDTokenUnlessSet(t *testing.T) {
	p, err := oidc.NewEndSession(oidc.EndSessionRequest{Endpoint: "https://op.example/end?tenant=7", ClientID: "my-cli", LogoutHint: "alice", RedirectURI: "http://127.0.0.1:1/out"})
	require.NoError(t, err)
	require.Len(t, p.State(), 26)
	require.Equal(t, url.Values{"tenant": {"7"}, "client_id": {"my-cli"}, "logout_hint": {"alice"}, "post_logout_redirect_uri": {"http://127.0.0.1:1/out"}, "state": {p.State()}}, query(t, p))

	again, err := oidc.NewEndSession(oidc.EndSessionRequest{Endpoint: "https://op.example/end", RedirectURI: "http://127.0.0.1:1/out"})
	require.NoError(t, err)
	require.NotEqual(t, p.State(), again.State())

	p, err = oidc.NewEndSession(oidc.EndSessionRequest{Endpoint: "https://op.example/end", ClientID: "c", IDTokenHint: wire.NewSecret("e.y.J"), UILocales: "de"})
	require.NoError(t, err)
	require.Equal(t, url.Values{"client_id": {"c"}, "id_token_hint": {"e.y.J"}, "ui_locales": {"de"}}, query(t, p), "without a way back there is no state")
}

// S69: an endpoint's own query cannot speak for the client.
func TestS69EndpointQuery(t *testing.T) {
	p, err := oidc.NewEndSession(oidc.EndSessionRequest{
		Endpoint: "https://op.example/end?client_id=evil&state=known&id_token_hint=x&post_logout_redirect_uri=https://evil.example/&a=b&logout_hint=mallory&ui_locales=xx", ClientID: "c",
	})
	require.NoError(t, err)
	require.Equal(t, url.Values{"client_id": {"c"}, "a": {"b"}}, query(t, p))
}

// S69: a non-https end_session_endpoint is refused (http only on a loopback
// address).
func TestS69EndpointMustBeHTTPS(t *testing.T) {
	for _, bad := range []string{"", "http://op.example/end", "javascript:x", "file:///x", "https://u:p@h/", "https://h/#f", "https:x", "https://h/?a=%zz", "https://h/?a;b"} {
		_, err := oidc.NewEndSession(oidc.EndSessionRequest{Endpoint: bad, ClientID: "c"})
		require.ErrorIs(t, err, wire.ErrUnsafeURL, bad)
	}
	_, err := oidc.NewEndSession(oidc.EndSessionRequest{Endpoint: "http://127.0.0.1:5/end"})
	require.NoError(t, err)
}

// S69; oidcc-client-test-rp-init-logout, -other-state, -no-state.
func TestS69StateMustMatch(t *testing.T) {
	p, err := oidc.NewEndSession(oidc.EndSessionRequest{Endpoint: "https://op.example/end", RedirectURI: "http://127.0.0.1:1/out"})
	require.NoError(t, err)
	require.NoError(t, p.Check("state="+p.State()))
	require.NoError(t, p.Check("x=y&state="+p.State()))
	for _, bad := range []string{"", "state=", "state=other", "state=" + p.State() + "x", "state=" + p.State() + "&state=" + p.State(), "STATE=" + p.State(), "state=" + p.State() + "&a=%zz", "state=" + p.State() + ";a"} {
		err := p.Check(bad)
		require.ErrorIs(t, err, oidc.ErrEndSessionState, bad)
		require.NotContains(t, err.Error(), p.State())
	}
	none, err := oidc.NewEndSession(oidc.EndSessionRequest{Endpoint: "https://op.example/end"})
	require.NoError(t, err)
	require.ErrorIs(t, none.Check("state="), oidc.ErrEndSessionState, "no state was sent, so none is right")
	require.ErrorIs(t, none.Check(""), oidc.ErrEndSessionState)
}

// S66: neither the state nor an ID token is printed.
func TestS66EndSessionIsRedacted(t *testing.T) {
	r := oidc.EndSessionRequest{Endpoint: "https://op.example/end", RedirectURI: "http://127.0.0.1:1/out", IDTokenHint: wire.NewSecret("id-canary")}
	p, err := oidc.NewEndSession(r)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{p, *p, r, &r} {
			out := fmt.Sprintf(verb, v)
			require.NotContains(t, out, p.State())
			require.NotContains(t, out, "id-canary")
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("state=x&state=y", "https://op.example/end?a=b")
	f.Fuzz(func(t *testing.T, rawQuery, endpoint string) {
		p, err := oidc.NewEndSession(oidc.EndSessionRequest{Endpoint: endpoint, ClientID: "c", RedirectURI: "http://127.0.0.1:1/out"})
		if err != nil {
			require.ErrorIs(t, err, wire.ErrUnsafeURL)
			return
		}
		require.ErrorIs(t, p.Check(rawQuery), oidc.ErrEndSessionState, "nobody guesses it")
		require.Equal(t, []string{p.State()}, query(t, p)["state"])
		_, err = wire.URLPolicy{LoopbackHTTP: true}.Parse(p.URL())
		require.NoError(t, err)
	})
}
