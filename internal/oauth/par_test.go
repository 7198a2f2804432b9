package oauth_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func push(a *oneAnswer, form url.Values) (oauth.PushedRequest, error) {
	r := oauth.Request{Endpoint: "https://as.example/par", ClientID: "my-cli", Form: form}
	return oauth.Push(context.Background(), &fetch.Client{Transport: a}, r)
}

const urn = "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"

// S35: the request goes to the provider; the URL carries client_id and
// request_uri only.
func TestS35URLCarriesOnlyTheReference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &oneAnswer{status: 201, body: `{"request_uri":"` + urn + `","expires_in":60}`}
		p, err := push(a, url.Values{"state": {"s"}, "scope": {"openid"}, "code_challenge": {"c"}})
		require.NoError(t, err)
		require.Equal(t, url.Values{"state": {"s"}, "scope": {"openid"}, "code_challenge": {"c"}, "client_id": {"my-cli"}}, a.form(0))
		require.Equal(t, oauth.PushedRequest{RequestURI: urn, Expiry: time.Now().Add(time.Minute)}, p)

		raw, err := p.URL("https://as.example/authorize?tenant=7", "my-cli")
		require.NoError(t, err)
		u, err := url.Parse(raw)
		require.NoError(t, err)
		require.Equal(t, url.Values{"tenant": {"7"}, "client_id": {"my-cli"}, "request_uri": {urn}}, u.Query())

		raw, err = p.URL("https://as.example/authorize?request_uri=urn:evil:x&client_id=other", "my-cli")
		require.NoError(t, err)
		require.NotContains(t, raw, "evil")
		require.NotContains(t, raw, "other")
		for _, bad := range []string{"http://as.example/", "javascript:x", "https://as.example/#f", "https://as.example/?a=%zz"} {
			_, err = p.URL(bad, "my-cli")
			require.ErrorIs(t, err, wire.ErrUnsafeURL, bad)
		}

		time.Sleep(59 * time.Second)
		_, err = p.URL("https://as.example/authorize", "my-cli")
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = p.URL("https://as.example/authorize", "my-cli")
		require.ErrorIs(t, err, oauth.ErrRequestExpired)
		_, err = oauth.PushedRequest{}.URL("https://as.example/authorize", "my-cli")
		require.ErrorIs(t, err, oauth.ErrRequestExpired)
	})
}

// S35: the status must be 201, and every member is checked.
func TestS35InvalidAnswerIsRefused(t *testing.T) {
	ok := `{"request_uri":"` + urn + `","expires_in":60}`
	for name, a := range map[string]*oneAnswer{
		"200":                {status: 200, body: ok},
		"202":                {status: 202, body: ok},
		"204":                {status: 204},
		"html":               {status: 201, ctype: "text/html", body: ok},
		"empty":              {status: 201},
		"no uri":             {status: 201, body: `{"expires_in":60}`},
		"relative uri":       {status: 201, body: `{"request_uri":"abc","expires_in":60}`},
		"path":               {status: 201, body: `{"request_uri":"/abc","expires_in":60}`},
		"empty urn":          {status: 201, body: `{"request_uri":"urn:","expires_in":60}`},
		"space":              {status: 201, body: `{"request_uri":"urn:a b","expires_in":60}`},
		"line break":         {status: 201, body: `{"request_uri":"urn:a\nb","expires_in":60}`},
		"fragment":           {status: 201, body: `{"request_uri":"https://h/x#y","expires_in":60}`},
		"escape":             {status: 201, body: `{"request_uri":"urn:a\u001b[2J","expires_in":60}`},
		"not ASCII":          {status: 201, body: `{"request_uri":"urn:é","expires_in":60}`},
		"huge":               {status: 201, body: `{"request_uri":"urn:` + strings.Repeat("a", 2048) + `","expires_in":60}`},
		"no expiry":          {status: 201, body: `{"request_uri":"` + urn + `"}`},
		"expired":            {status: 201, body: `{"request_uri":"` + urn + `","expires_in":0}`},
		"negative":           {status: 201, body: `{"request_uri":"` + urn + `","expires_in":-5}`},
		"expiry as a string": {status: 201, body: `{"request_uri":"` + urn + `","expires_in":"60"}`},
		"other case":         {status: 201, body: `{"REQUEST_URI":"` + urn + `","expires_in":60}`},
		"twice":              {status: 201, body: `{"request_uri":"` + urn + `","request_uri":"urn:x:y","expires_in":60}`},
		"trailing":           {status: 201, body: ok + "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := push(a, nil)
			require.ErrorIs(t, err, wire.ErrInvalidResponse)
			require.NotContains(t, err.Error(), "6esc_11")
			require.Len(t, a.bodies, 1)
		})
	}

	var refused *oauth.Error
	_, err := push(&oneAnswer{status: 400, body: `{"error":"invalid_request","error_description":"no"}`}, nil)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "invalid_request", refused.Code)
	_, err = push(&oneAnswer{status: 307, ctype: "text/html"}, nil)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 307, refused.Status)

	a := &oneAnswer{status: 201, body: ok}
	_, err = push(a, url.Values{"request_uri": {"urn:x:y"}})
	require.Error(t, err)
	require.Empty(t, a.bodies, "nothing is sent")
}

// §2.1: client_id belongs to the request. oidc-provider refuses a request that
// names the client in the Authorization header only.
func TestClientIDBesideBasic(t *testing.T) {
	a := &oneAnswer{status: 201, ctype: "application/json", body: `{"request_uri":"` + urn + `","expires_in":60}`}
	form := url.Values{"scope": {"openid"}}
	_, err := oauth.Push(context.Background(), &fetch.Client{Transport: a}, oauth.Request{Endpoint: "https://as.example/par", ClientID: "my-cli", Auth: oauth.ClientSecret("s"), Form: form})
	require.NoError(t, err)
	require.Equal(t, url.Values{"scope": {"openid"}, "client_id": {"my-cli"}}, a.form(0))
	require.NotContains(t, form, "client_id", "the caller's form is not changed")
}

func TestHugeLifetimeIsClamped(t *testing.T) {
	for _, n := range []string{"1e14", "99999999999999999999", "3600.9"} {
		p, err := push(&oneAnswer{status: 201, body: `{"request_uri":"` + urn + `","expires_in":` + n + `}`}, nil)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(time.Hour), p.Expiry, time.Minute)
	}
}

func FuzzPush(f *testing.F) {
	f.Add(`{"request_uri":"`+urn+`","expires_in":60}`, 201)
	f.Fuzz(func(t *testing.T, body string, status int) {
		if status < 200 || status > 599 {
			return
		}
		p, err := push(&oneAnswer{status: status, body: body}, nil)
		if err != nil {
			return
		}
		require.Equal(t, 201, status)
		u, err := p.URL("https://as.example/a", "c")
		if errors.Is(err, oauth.ErrRequestExpired) { // it said one second, and the machine is slow
			return
		}
		require.NoError(t, err)
		_, err = wire.URLPolicy{}.Parse(u)
		require.NoError(t, err)
	})
}
