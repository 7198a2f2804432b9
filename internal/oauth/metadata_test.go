package oauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const metadataIssuer = "https://op.example/tenant"

type object = map[string]any

var endpoints = []string{
	"authorization_endpoint", "token_endpoint", "jwks_uri", "registration_endpoint", "revocation_endpoint", "introspection_endpoint",
	"device_authorization_endpoint", "pushed_authorization_request_endpoint", "userinfo_endpoint", "end_session_endpoint",
}

// document is the metadata of an issuer with every endpoint. Members are
// replaced by changes; nil leaves one out.
func document(of string, changes object) string {
	doc := object{
		"issuer": of, "code_challenge_methods_supported": []string{"plain", "S256"}, "id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		"authorization_response_iss_parameter_supported": true, "require_pushed_authorization_requests": true, "vendor_extension": object{"a": 1},
	}
	for _, name := range endpoints {
		doc[name] = of + "/" + name
	}
	maps.Copy(doc, changes)
	maps.DeleteFunc(doc, func(_ string, v any) bool { return v == nil })
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func metadataDiscover(t *testing.T, body string) (*oauth.Metadata, error) {
	t.Helper()
	return oauth.Discover(t.Context(), fetchtest.JSON(200, body), metadataIssuer, oauth.DiscoverOptions{OpenID: true})
}

func TestMetadataFieldsHaveTheirMembers(t *testing.T) {
	body := document(metadataIssuer, nil)
	d, err := metadataDiscover(t, body)
	require.NoError(t, err)
	require.Equal(t, metadataIssuer, d.Issuer)
	require.Equal(t, metadataIssuer+"/token_endpoint", d.TokenEndpoint)
	require.True(t, d.AuthorizationResponseIssParameterSupported && d.RequirePushedAuthorizationRequests)
	require.Equal(t, body, string(d.Raw))
	require.Equal(t, []string{"RS256"}, d.IDTokenAlgorithms())
	require.Len(t, d.UserinfoAlgorithms(), 10)

	// Every string of the document arrives in the field of its name.
	var in, out object
	require.NoError(t, json.Unmarshal([]byte(body), &in))
	again, err := json.Marshal(d)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(again, &out))
	delete(in, "vendor_extension")
	require.Equal(t, in, out)
}

// S38: the issuer is the same, character for character.
func TestS38IssuerIsIdentical(t *testing.T) {
	for name, of := range map[string]any{
		"slash": metadataIssuer + "/", "case": "https://OP.example/tenant", "host": "https://evil.example/tenant", "parent": "https://op.example", "port": "https://op.example:443/tenant",
		"prefix": metadataIssuer + "2", "empty": "", "missing": nil, "null": json.RawMessage("null"), "http": "http://op.example/tenant", "escaped": "https://op.example/%74enant",
	} {
		_, err := metadataDiscover(t, document(metadataIssuer, object{"issuer": of}))
		require.ErrorIs(t, err, wire.ErrInvalidResponse, name)
		require.ErrorContains(t, err, "issuer", name)
	}
	_, err := metadataDiscover(t, document(metadataIssuer, object{"issuer": "https://login.example/{tenantid}/v2.0"}))
	require.ErrorIs(t, err, wire.ErrInvalidResponse)
	require.ErrorContains(t, err, "tenant", "Entra's template is refused, with what to do")
	_, err = metadataDiscover(t, document(metadataIssuer, object{"issuer": "https://x\x1b[2J" + strings.Repeat("y", 1000)}))
	require.Less(t, len(err.Error()), 700)
	require.NotContains(t, err.Error(), "\x1b")
}

// S39: every endpoint in turn; the error names the field.
func TestS39EndpointsAreHTTPS(t *testing.T) {
	for _, field := range endpoints {
		for _, bad := range []string{
			"http://op.example/x", "http://127.0.0.1/x", "http://localhost/x", "https://u:p@op.example/", "https://u@op.example/", "https:op.example", "https:///x", "javascript:alert(1)", "file:///etc/passwd",
			"https://op.example/#f", "https://op.example:99999/", "https://op.example/\n", "/token", "op.example/token", "-x", `https://op.example\@evil.example/`,
		} {
			d, err := metadataDiscover(t, document(metadataIssuer, object{field: bad}))
			unusable := slices.Contains([]string{"http://op.example/x", "http://127.0.0.1/x", "http://localhost/x", "/token"}, bad)
			if unusable && field != "token_endpoint" && field != "authorization_endpoint" { // as if it were absent
				require.NoError(t, err, "%s %q", field, bad)
				require.Contains(t, d.Ignored[0], field)
				again, err := json.Marshal(d)
				require.NoError(t, err)
				require.NotContains(t, string(again), `"`+field+`"`, "it cannot be called")
				continue
			}
			require.ErrorIs(t, err, wire.ErrInvalidResponse, "%s %q", field, bad)
			require.ErrorContains(t, err, field)
			require.NotContains(t, err.Error(), "u:p")
		}
		d, err := metadataDiscover(t, document(metadataIssuer, object{field: "https://elsewhere.example/x?tenant=1"}))
		require.NoError(t, err, field)
		require.NotNil(t, d)
		_, err = metadataDiscover(t, document(metadataIssuer, object{field: 7}))
		require.ErrorContains(t, err, field+" has a value of the wrong type")
		_, err = metadataDiscover(t, document(metadataIssuer, object{field: nil}))
		if field == "token_endpoint" {
			require.ErrorContains(t, err, "token_endpoint is missing")
		} else {
			require.NoError(t, err, "a device-only provider has no authorization endpoint, a plain one no jwks_uri")
		}
	}
	// Only an issuer that is http on a loopback address may have endpoints on
	// http.
	for _, local := range []string{"http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080/x"} {
		d, err := oauth.ParseMetadata([]byte(document(local, nil)))
		require.NoError(t, err)
		require.NoError(t, d.Check(local))
		d.TokenEndpoint = "http://op.example/token"
		require.ErrorContains(t, d.Check(local), "token_endpoint")
	}
	for _, bad := range []string{"", "http://op.example", "https://op.example?x=1", "https://op.example?", "https://op.example#x", "https://u@op.example", "op.example", "http://0.0.0.0"} {
		d, err := oauth.ParseMetadata([]byte(document(bad, nil)))
		require.NoError(t, err)
		require.ErrorIs(t, d.Check(bad), wire.ErrInvalidResponse, "%q", bad)
	}
}

// A document that is written down by hand, for a provider without discovery,
// names its own issuer.
func TestMetadataByHandNameTheirIssuer(t *testing.T) {
	d := &oauth.Metadata{Issuer: "https://github.com", AuthorizationEndpoint: "https://github.com/login/oauth/authorize", TokenEndpoint: "https://github.com/login/oauth/access_token"}
	require.NoError(t, d.Check(d.Issuer))
	require.Equal(t, oauth.PKCEUnsaid, d.S256())
	require.Nil(t, d.Raw)
	d.TokenEndpoint = "http://github.com/login/oauth/access_token"
	require.ErrorContains(t, d.Check(d.Issuer), "token_endpoint")
	require.ErrorIs(t, (&oauth.Metadata{}).Check(""), wire.ErrInvalidResponse, "two empty issuers are not the same issuer")
}

// S25, S26: a document that says nothing of PKCE differs from a list without
// S256.
func TestS25S26SilenceIsNoRefusal(t *testing.T) {
	for value, want := range map[string]oauth.PKCESupport{`["S256"]`: oauth.PKCEOffered, `["plain","S256"]`: oauth.PKCEOffered, `["plain"]`: oauth.PKCERefused, `[]`: oauth.PKCERefused, `["s256"]`: oauth.PKCERefused, `null`: oauth.PKCEUnsaid} {
		d, err := metadataDiscover(t, document(metadataIssuer, object{"code_challenge_methods_supported": json.RawMessage(value)}))
		if value == "null" {
			require.NoError(t, err)
		}
		require.NoError(t, err, value)
		require.Equal(t, want, d.S256(), value)
	}
	d, err := metadataDiscover(t, document(metadataIssuer, object{"code_challenge_methods_supported": nil}))
	require.NoError(t, err)
	require.Equal(t, oauth.PKCEUnsaid, d.S256())
}

// S40: only a 200 of JSON, whole, small and strict. The bounds of the transport
// (size, compression, time) are package fetch's tests.
func TestS40OnlyStrictJSONIsMetadata(t *testing.T) {
	good := document(metadataIssuer, nil)
	for name, tc := range map[string]struct {
		status          int
		mediaType, body string
		want            error
	}{
		"302":        {302, "application/json", good, oauth.ErrNoMetadata},
		"404":        {404, "application/json", good, oauth.ErrNoMetadata},
		"HTML":       {200, "text/html", good, oauth.ErrNoMetadata},
		"text HTML":  {200, "text/plain", "<html>canary", oauth.ErrNoMetadata},
		"5 MiB":      {200, "application/json", good[:len(good)-1] + `,"x":"` + strings.Repeat("x", 5<<20) + `"}`, fetch.ErrTooLarge},
		"truncated":  {200, "application/json", good[:len(good)-1], wire.ErrInvalidResponse},
		"trailing":   {200, "application/json", good + "{}", wire.ErrInvalidResponse},
		"duplicate":  {200, "application/json", good[:len(good)-1] + `,"issuer":"https://op.example/tenant"}`, wire.ErrInvalidResponse},
		"case":       {200, "application/json", strings.Replace(good, `"token_endpoint"`, `"TOKEN_ENDPOINT"`, 1), wire.ErrInvalidResponse},
		"null":       {200, "application/json", "null", wire.ErrInvalidResponse},
		"a list":     {200, "application/json", "[]", wire.ErrInvalidResponse},
		"empty":      {200, "application/json", "", wire.ErrInvalidResponse},
		"bad UTF-8":  {200, "application/json", good[:len(good)-1] + ",\"x\":\"\xff\"}", wire.ErrInvalidResponse},
		"boolean":    {200, "application/json", document(metadataIssuer, object{"require_pushed_authorization_requests": "true"}), wire.ErrInvalidResponse},
		"no list":    {200, "application/json", document(metadataIssuer, object{"scopes_supported": "openid"}), wire.ErrInvalidResponse},
		"201":        {201, "application/json", good, nil},
		"429":        {429, "application/json", good, nil},
		"500":        {500, "application/json", good, nil},
		"503 (HTML)": {503, "text/html", "<h1>canary", nil},
	} {
		d, err := oauth.Discover(t.Context(), fetchtest.Body(tc.status, tc.mediaType, tc.body), metadataIssuer, oauth.DiscoverOptions{})
		require.Error(t, err, name)
		require.Nil(t, d)
		require.NotContains(t, err.Error(), "canary")
		if tc.want == nil {
			require.NotErrorIs(t, err, wire.ErrInvalidResponse, name)
			require.ErrorContains(t, err, fmt.Sprintf("(HTTP %d)", tc.status), name)
		} else {
			require.ErrorIs(t, err, tc.want, name)
		}
	}
}

// Whatever the media type, an object is metadata. Members that nothing reads may
// be wrong. Each that a defence reads may not.
func TestMetadataAsTheyAre(t *testing.T) {
	good := document(metadataIssuer, nil)
	for _, mt := range []string{"", "text/plain", "application/octet-stream", "application/jwk-set+json"} {
		_, err := oauth.Discover(t.Context(), fetchtest.Body(200, mt, "\ufeff"+good), metadataIssuer, oauth.DiscoverOptions{})
		require.NoError(t, err, mt)
	}
	d, err := metadataDiscover(t, document(metadataIssuer, object{"claims_parameter_supported": "true", "ui_locales_supported": "en", "service_documentation": 7, "subject_types_supported": []any{1}}))
	require.NoError(t, err)
	require.Len(t, d.Ignored, 4)
	require.True(t, d.AuthorizationResponseIssParameterSupported)
	require.Equal(t, metadataIssuer+"/token_endpoint", d.TokenEndpoint)
	for _, read := range []string{"authorization_response_iss_parameter_supported", "require_pushed_authorization_requests", "code_challenge_methods_supported", "id_token_signing_alg_values_supported", "token_endpoint_auth_methods_supported", "dpop_signing_alg_values_supported", "response_modes_supported"} {
		_, err := metadataDiscover(t, document(metadataIssuer, object{read: "true", "claims_supported": "x"}))
		require.ErrorContains(t, err, read+" has a value of the wrong type")
	}
}

// S41: an authorization server of MCP 2025-03-26 without metadata has its endpoints at
// fixed paths, if every place answers 404.
func TestMCPServerWithoutMetadata(t *testing.T) {
	legacy := oauth.DiscoverOptions{Learned: true, Legacy: true}
	answer := func(status ...int) *fetch.Client {
		return fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status[0])
			status = status[min(1, len(status)-1):]
		})
	}
	d, err := oauth.Discover(t.Context(), answer(404), "https://h", legacy)
	require.NoError(t, err)
	require.Equal(t, &oauth.Metadata{
		Issuer: "https://h", Legacy: true, CodeChallengeMethodsSupported: []string{"S256"},
		AuthorizationEndpoint: "https://h/authorize", TokenEndpoint: "https://h/token", RegistrationEndpoint: "https://h/register",
	}, d)
	for _, status := range [][]int{{401}, {403}, {410}, {302}, {404, 403}, {403, 404}} {
		_, err = oauth.Discover(t.Context(), answer(status...), "https://h", legacy)
		require.ErrorIs(t, err, oauth.ErrNoMetadata, status)
	}
	_, err = oauth.Discover(t.Context(), answer(404, 503), "https://h", legacy)
	require.ErrorContains(t, err, "503")
	_, err = oauth.Discover(t.Context(), answer(404), "https://h/tenant", legacy)
	require.ErrorIs(t, err, oauth.ErrNoMetadata)
	_, err = oauth.Discover(t.Context(), answer(404), "https://h", oauth.DiscoverOptions{Learned: true})
	require.ErrorIs(t, err, oauth.ErrNoMetadata)
}

// S41: the order of the well-known places, by the server's log.
func TestS41OrderOfPlaces(t *testing.T) {
	const rfc8414, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	for name, tc := range map[string]struct {
		issuer string
		o      oauth.DiscoverOptions
		want   []string
	}{
		"openid":               {"https://h/t", oauth.DiscoverOptions{OpenID: true}, []string{"/t" + openid, rfc8414 + "/t", openid + "/t"}},
		"plain":                {"https://h/t", oauth.DiscoverOptions{}, []string{rfc8414 + "/t", openid + "/t", "/t" + openid}},
		"MCP":                  {"https://h/t", oauth.DiscoverOptions{Learned: true}, []string{rfc8414 + "/t", openid + "/t", "/t" + openid}},
		"MCP, openid":          {"https://h/t", oauth.DiscoverOptions{Learned: true, OpenID: true}, []string{rfc8414 + "/t", openid + "/t", "/t" + openid}},
		"openid, no path":      {"https://h", oauth.DiscoverOptions{OpenID: true}, []string{openid, rfc8414}},
		"plain, no path":       {"https://h", oauth.DiscoverOptions{}, []string{rfc8414, openid}},
		"slash (Auth0)":        {"https://h/", oauth.DiscoverOptions{OpenID: true}, []string{openid, rfc8414}},
		"slash after the path": {"https://h/a/b/", oauth.DiscoverOptions{}, []string{rfc8414 + "/a/b", openid + "/a/b", "/a/b" + openid}},
		"escapes stay":         {"https://h/a%2Fb", oauth.DiscoverOptions{OpenID: true}, []string{"/a%2Fb" + openid, rfc8414 + "/a%2Fb", openid + "/a%2Fb"}},
	} {
		t.Run(name, func(t *testing.T) {
			for at := range len(tc.want) + 1 { // found at each place in turn, and at no place
				var asked []string
				c := fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
					require.Equal(t, "GET", r.Method)
					require.Equal(t, "h", r.URL.Host)
					require.Empty(t, r.URL.RawQuery)
					asked = append(asked, r.URL.EscapedPath())
					if len(asked) <= at {
						http.Redirect(w, r, "https://evil.example/", []int{302, 404, 400}[len(asked)%3])
						return
					}
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write([]byte(document(tc.issuer, nil)))
				})
				_, err := oauth.Discover(t.Context(), c, tc.issuer, tc.o)
				if at == len(tc.want) {
					require.ErrorIs(t, err, oauth.ErrNoMetadata)
					require.Equal(t, tc.want, asked)
					return
				}
				require.NoError(t, err)
				require.Equal(t, tc.want[:at+1], asked)
			}
		})
	}
	// Neither a failure nor a refused document leads on to the next place.
	for name, first := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"another issuer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(document("https://evil.example", nil)))
		},
	} {
		asked := 0
		_, err := oauth.Discover(t.Context(), fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
			asked++
			first(w, r)
		}), metadataIssuer, oauth.DiscoverOptions{})
		require.Error(t, err, name)
		require.Equal(t, 1, asked, name)
	}
}

func TestUnsafeIssuerIsNotCalled(t *testing.T) {
	c := fetchtest.Client(func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	for _, bad := range []string{"", "op.example", "http://op.example", "https://op.example?x", "https://op.example#x", "https://u:p@op.example", "javascript:x"} {
		_, err := oauth.Discover(t.Context(), c, bad, oauth.DiscoverOptions{})
		require.ErrorIs(t, err, wire.ErrInvalidResponse, bad)
	}
	// S43: an issuer that the network named is never this machine over plain
	// http.
	_, err := oauth.Discover(t.Context(), c, "http://127.0.0.1:8080", oauth.DiscoverOptions{Learned: true})
	require.ErrorIs(t, err, wire.ErrInvalidResponse)
	var fe *fetch.Error
	_, err = oauth.Discover(t.Context(), &fetch.Client{Transport: unreachable()}, metadataIssuer, oauth.DiscoverOptions{})
	require.ErrorAs(t, err, &fe)
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(document(metadataIssuer, nil)))
	f.Add([]byte(`{"issuer":"https://op.example/tenant","token_endpoint":"https://op.example/t","ISSUER":"x"}`))
	f.Add([]byte(`{"issuer":"https://op.example/tenant","token_endpoint":"http://localhost"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := oauth.Discover(t.Context(), fetchtest.JSON(200, string(data)), metadataIssuer, oauth.DiscoverOptions{})
		if err != nil {
			require.True(t, errors.Is(err, wire.ErrInvalidResponse) || errors.Is(err, fetch.ErrTooLarge), "%v", err)
			return
		}
		require.Equal(t, metadataIssuer, d.Issuer)
		for _, u := range []string{d.AuthorizationEndpoint, d.TokenEndpoint, d.JWKSURI, d.UserinfoEndpoint, d.EndSessionEndpoint, d.RegistrationEndpoint} {
			require.True(t, u == "" || strings.HasPrefix(strings.ToLower(u), "https://"), u)
		}
		require.False(t, slices.Contains(d.IDTokenAlgorithms(), "none"))
	})
}
