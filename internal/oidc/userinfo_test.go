package oidc_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// oidcc-client-test-userinfo-bearer-header, -scope-userinfo-claims,
// -aggregated-claims, -distributed-claims.
func TestUserinfoClaimsAreReturned(t *testing.T) {
	body := `{"sub":"alice","name":"Alice","address":{"country":"CH"},"_claim_names":{"a":"s1","b":"s2"},` +
		`"_claim_sources":{"s1":{"JWT":"x.y.z"},"s2":{"endpoint":"https://claims.example/","access_token":"ksj3n283dke"}}}`
	asked := 0
	c := fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
		asked++
		require.Equal(t, "GET", r.Method)
		require.Equal(t, []string{"Bearer at-canary"}, r.Header.Values("Authorization"))
		require.Equal(t, issuer+"/userinfo", r.URL.String(), "S55: nothing in the URL")
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(body))
	})
	got, err := oidc.FetchUserinfo(t.Context(), c, request(nil))
	require.NoError(t, err)
	require.Equal(t, body, string(got), "unharmed")
	require.Equal(t, 1, asked, "and nothing that they point to is fetched")
}

// S83: sub is there, and the same (oidcc-client-test-userinfo-invalid-sub).
func TestS83SubjectIsTheIDTokens(t *testing.T) {
	for _, body := range []string{
		`{"sub":"mallory"}`, `{"sub":"Alice"}`, `{"sub":"alice "}`, `{"sub":""}`, `{"sub":null}`, `{}`, `{"sub":["alice"]}`, `{"SUB":"alice"}`,
		`{"sub":"mallory","sub":"alice"}`, `{"sub":"alice","sub":"mallory"}`, `{"sub":"alice"}{}`, `{"sub":"alice","x":{"a":1,"a":2}}`, "{\"sub\":\"alice\",\"x\":\"\xff\"}", `null`, `[]`, ``, `<html>`,
	} {
		_, err := oidc.FetchUserinfo(t.Context(), fetchtest.JSON(200, body), request(nil))
		require.ErrorIs(t, err, wire.ErrInvalidResponse, body)
	}
	r := request(nil)
	r.Subject = ""
	for _, body := range []string{`{"sub":""}`, `{}`, `{"sub":"alice"}`} {
		_, err := oidc.FetchUserinfo(t.Context(), fetchtest.JSON(200, body), r)
		require.ErrorIs(t, err, wire.ErrInvalidResponse, "without a verified sub nothing matches")
	}
	for _, mediaType := range []string{"", "text/html", "text/plain", "application/octet-stream"} {
		_, err := oidc.FetchUserinfo(t.Context(), fetchtest.Body(200, mediaType, `{"sub":"alice"}`), request(nil))
		require.ErrorIs(t, err, wire.ErrInvalidResponse, mediaType)
	}
}

// oidcc-client-test-userinfo-signed.
func TestSignedUserinfoIsVerified(t *testing.T) {
	k, evil := josetest.New(t, "RS256", "k1"), josetest.New(t, "RS256", "k1")
	keys := jose.NewKeySet(fetchtest.Client(josetest.Handler(k)), issuer+"/jwks")
	fetchSigned := func(token string, r oidc.UserinfoRequest) ([]byte, error) {
		return oidc.FetchUserinfo(t.Context(), fetchtest.Body(200, "application/jwt", token), r)
	}
	for name, c := range map[string]object{
		"bare": {"sub": "alice"}, "iss and aud": {"sub": "alice", "iss": issuer, "aud": clientID}, "aud list": {"sub": "alice", "aud": []any{"other", clientID}},
	} {
		got, err := fetchSigned(k.Sign(c)+"\n", request(keys))
		require.NoError(t, err, name)
		want, _ := json.Marshal(c)
		require.JSONEq(t, string(want), string(got))
	}
	for name, token := range map[string]string{
		"another key":  evil.Sign(object{"sub": "alice"}),
		"none":         k.SignRaw([]byte(`{"alg":"none"}`), []byte(`{"sub":"alice"}`)),
		"sub":          k.Sign(object{"sub": "mallory"}),
		"no sub":       k.Sign(object{}),
		"iss":          k.Sign(object{"sub": "alice", "iss": "https://evil.example"}),
		"iss null":     k.SignRaw([]byte(`{"alg":"RS256","kid":"k1"}`), []byte(`{"sub":"alice","iss":null}`)),
		"aud":          k.Sign(object{"sub": "alice", "aud": "other"}),
		"aud list":     k.Sign(object{"sub": "alice", "aud": []any{"other", 1, object{}}}),
		"aud null":     k.SignRaw([]byte(`{"alg":"RS256","kid":"k1"}`), []byte(`{"sub":"alice","aud":null}`)),
		"two subs":     k.SignRaw([]byte(`{"alg":"RS256","kid":"k1"}`), []byte(`{"sub":"mallory","sub":"alice"}`)),
		"an at+jwt":    k.SignWith(object{"typ": "at+jwt"}, object{"sub": "alice"}),
		"JSON as JWT":  `{"sub":"alice"}`,
		"not a string": "",
	} {
		_, err := fetchSigned(token, request(keys))
		require.ErrorIs(t, err, wire.ErrInvalidResponse, name)
	}
	r := request(keys)
	r.Algorithms = []string{"ES256"}
	_, err := fetchSigned(k.Sign(object{"sub": "alice"}), r)
	require.ErrorIs(t, err, wire.ErrInvalidResponse)
	_, err = fetchSigned(k.Sign(object{"sub": "alice"}), request(nil))
	require.ErrorIs(t, err, wire.ErrInvalidResponse, "no keys, no trust")
	_, err = fetchSigned(k.Sign(object{"sub": "alice"}), request(jose.NewKeySet(fetchtest.JSON(503, ""), issuer+"/jwks")))
	require.ErrorIs(t, err, jose.ErrKeySet)
	require.NotErrorIs(t, err, wire.ErrInvalidResponse)
	_, err = fetchSigned(k.Sign(object{"sub": "alice"}), request(jose.NewKeySet(fetchtest.JSON(200, `{}`), issuer+"/jwks")))
	require.ErrorIs(t, err, jose.ErrKeySet)
	require.ErrorIs(t, err, wire.ErrInvalidResponse, "that is no key set")
}

// S83: the signature of an old answer is still right, so its exp counts.
func TestS83AnExpiredSignedAnswerIsRefused(t *testing.T) {
	k := josetest.New(t, "RS256", "k1")
	keys := jose.NewKeySet(fetchtest.Client(josetest.Handler(k)), issuer+"/jwks")
	fetchWith := func(exp any) error {
		token := k.Sign(object{"sub": "alice", "exp": exp})
		_, err := oidc.FetchUserinfo(t.Context(),
			fetchtest.Body(200, "application/jwt", token), request(keys))
		return err
	}
	now := time.Now().Unix()
	for _, exp := range []any{now - 3600, now - 61, 0, -1, "2100-01-01", true, []any{}, 1e300} {
		require.ErrorIs(t, fetchWith(exp), wire.ErrInvalidResponse, "%v", exp)
	}
	null := k.SignRaw([]byte(`{"alg":"RS256","kid":"k1"}`), []byte(`{"sub":"alice","exp":null}`))
	_, err := oidc.FetchUserinfo(t.Context(), fetchtest.Body(200, "application/jwt", null), request(keys))
	require.ErrorIs(t, err, wire.ErrInvalidResponse, "null")
	for _, exp := range []any{now + 3600, now - 30, float64(now) + 0.5} {
		require.NoError(t, fetchWith(exp), "%v", exp)
	}
	// Without a signature there is nothing to replay: exp is an ordinary claim.
	_, err = oidc.FetchUserinfo(t.Context(), fetchtest.JSON(200, `{"sub":"alice","exp":1}`), request(nil))
	require.NoError(t, err)
}

func TestUserinfoErrorIsTheServersOwn(t *testing.T) {
	c := fetchtest.Client(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="The token expired"`)
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(401)
		_, _ = w.Write([]byte("at-canary"))
	})
	_, err := oidc.FetchUserinfo(t.Context(), c, request(nil))
	var e *oidc.UserinfoError
	require.ErrorAs(t, err, &e)
	require.Equal(t, oidc.UserinfoError{Status: 401, Code: "invalid_token", Description: "The token expired", RetryAfter: 5 * time.Second}, *e)
	require.NotContains(t, err.Error(), "canary")
	for _, status := range []int{201, 204, 302, 403, 500} {
		_, err := oidc.FetchUserinfo(t.Context(), fetchtest.JSON(status, `{"sub":"alice"}`), request(nil))
		require.ErrorAs(t, err, &e)
		require.Equal(t, status, e.Status)
	}
	r := request(nil)
	lost := errors.New("lost")
	r.Authorize = func(*http.Request) error { return lost }
	_, err = oidc.FetchUserinfo(t.Context(), c, r)
	require.ErrorIs(t, err, lost)
	r.Endpoint = "http://op.example/userinfo"
	_, err = oidc.FetchUserinfo(t.Context(), c, r)
	require.ErrorIs(t, err, wire.ErrUnsafeURL)
}

// S46, with real sockets: a redirect to another port, or to plain http, takes
// the token nowhere.
func TestS46RedirectTakesTheTokenNowhere(t *testing.T) {
	var reached atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer evil.Close()
	transport := fetch.NewTransport()
	defer transport.CloseIdleConnections()
	for _, status := range []int{301, 302, 303, 307, 308} {
		op := httptest.NewServer(http.RedirectHandler(evil.URL, status))
		r := request(nil)
		r.Endpoint = op.URL
		_, err := oidc.FetchUserinfo(t.Context(), &fetch.Client{Transport: transport}, r)
		var e *oidc.UserinfoError
		require.ErrorAs(t, err, &e)
		require.Equal(t, status, e.Status)
		op.Close()
	}
	require.Zero(t, reached.Load())
}

func FuzzUserinfo(f *testing.F) {
	k := josetest.New(f, "ES256", "k1")
	keys := jose.NewKeySet(fetchtest.Client(josetest.Handler(k)), issuer+"/jwks")
	f.Add("application/json", `{"sub":"alice","aud":["x"]}`)
	f.Add("application/jwt", `{"sub":"alice"}`)
	f.Add("application/x+json", `{"sub":"alice","sub":"bob"}`)
	f.Fuzz(func(t *testing.T, mediaType, body string) {
		for _, text := range []string{body, k.SignRaw([]byte(`{"alg":"ES256","kid":"k1"}`), []byte(body))} {
			got, err := oidc.FetchUserinfo(t.Context(), fetchtest.Body(200, mediaType, text), request(keys))
			if err != nil {
				continue
			}
			var c object
			require.NoError(t, json.Unmarshal(got, &c))
			require.Equal(t, "alice", c["sub"])
		}
	})
}
