package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// S42: §3.1, with its own examples.
func TestS42WellKnownPlaceOfAResource(t *testing.T) {
	for resource, want := range map[string]string{
		"https://resource.example.com":                "https://resource.example.com/.well-known/oauth-protected-resource",
		"https://resource.example.com/":               "https://resource.example.com/.well-known/oauth-protected-resource",
		"https://resource.example.com/resource1":      "https://resource.example.com/.well-known/oauth-protected-resource/resource1",
		"https://resource.example.com/a/":             "https://resource.example.com/.well-known/oauth-protected-resource/a/",
		"https://resource.example.com:8443/a%2Fb?x=y": "https://resource.example.com:8443/.well-known/oauth-protected-resource/a%2Fb?x=y",
		"https://resource.example.com?x=y":            "https://resource.example.com/.well-known/oauth-protected-resource?x=y",
		"http://127.0.0.1:3000/mcp":                   "http://127.0.0.1:3000/.well-known/oauth-protected-resource/mcp",
		"http://[::1]:3000/mcp":                       "http://[::1]:3000/.well-known/oauth-protected-resource/mcp",
	} {
		got, err := oauth.ResourceWellKnown(resource)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"", "http://resource.example.com", "https://h/#f", "https://u@h/", "/mcp", "urn:x:y", "https://h/ "} {
		_, err := oauth.ResourceWellKnown(bad)
		require.ErrorIs(t, err, wire.ErrUnsafeURL, bad)
	}
}

// web answers by URL, with 404 for others. It keeps the requests.
type web struct {
	pages map[string]string
	codes map[string]int
	ctype string
	asked []string
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	u := r.URL.String()
	w.asked = append(w.asked, u)
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/json")
	if w.ctype != "" {
		rec.Header().Set("Content-Type", w.ctype)
	}
	code := w.codes[u]
	if code == 0 {
		code = 404
		if _, ok := w.pages[u]; ok {
			code = 200
		}
	}
	rec.Header().Set("Location", "https://evil.example/")
	rec.WriteHeader(code)
	fmt.Fprint(rec, w.pages[u])
	return rec.Result(), nil
}

const (
	resource = "https://mcp.example/mcp"
	place    = "https://mcp.example/.well-known/oauth-protected-resource/mcp"
	root     = "https://mcp.example/.well-known/oauth-protected-resource"
)

func resourceDiscover(w *web, o oauth.ResourceOptions) (*oauth.ResourceMetadata, error) {
	return oauth.DiscoverResource(context.Background(), &fetch.Client{Transport: w}, resource, o)
}

func TestDiscoverResourceReadsTheDocument(t *testing.T) {
	body := `{"resource":"https://mcp.example/mcp","authorization_servers":["https://as.example","https://as2.example/t"],"scopes_supported":["files:read","files:write"],` +
		`"bearer_methods_supported":["header"],"dpop_bound_access_tokens_required":true,"dpop_signing_alg_values_supported":["ES256"],"resource_name":"Files\u001b[2J","unknown":[1]}`
	w := &web{pages: map[string]string{place: body}}
	d, err := resourceDiscover(w, oauth.ResourceOptions{Root: true})
	require.NoError(t, err)
	require.Equal(t, []string{place}, w.asked)
	require.Equal(t, body, string(d.Raw))
	d.Raw = nil
	require.Equal(t, &oauth.ResourceMetadata{
		Resource: resource, AuthorizationServers: []string{"https://as.example", "https://as2.example/t"}, ScopesSupported: []string{"files:read", "files:write"},
		BearerMethodsSupported: []string{"header"}, ResourceName: "Files�[2J", DPoPBoundAccessTokensRequired: true, DPoPSigningAlgValuesSupported: []string{"ES256"},
	}, d)
}

// The challenge's place comes first, then the path's, and then the root's if that
// is wanted. A document that does not fit leads on.
func TestResourceMetadataPlacesInOrder(t *testing.T) {
	doc := func(resource string) string { return `{"resource":"` + resource + `"}` }

	w := &web{pages: map[string]string{"https://mcp.example/meta": doc(resource), place: doc(resource)}}
	_, err := resourceDiscover(w, oauth.ResourceOptions{MetadataURL: "https://mcp.example/meta", Root: true})
	require.NoError(t, err)
	require.Equal(t, []string{"https://mcp.example/meta"}, w.asked)

	w = &web{}
	_, err = resourceDiscover(w, oauth.ResourceOptions{MetadataURL: "https://mcp.example/meta", Root: true})
	require.ErrorIs(t, err, oauth.ErrNoResourceMetadata)
	require.ErrorIs(t, err, oauth.ErrNoMetadata)
	require.Equal(t, []string{"https://mcp.example/meta", place, root}, w.asked)

	w = &web{pages: map[string]string{root: doc("https://mcp.example")}}
	_, err = resourceDiscover(w, oauth.ResourceOptions{})
	require.ErrorIs(t, err, oauth.ErrNoResourceMetadata)
	require.Equal(t, []string{place}, w.asked)

	for _, named := range []string{resource, "https://mcp.example", "https://mcp.example/"} {
		w = &web{pages: map[string]string{root: doc(named)}, codes: map[string]int{place: 401}}
		d, err := resourceDiscover(w, oauth.ResourceOptions{Root: true})
		require.NoError(t, err)
		require.Equal(t, named, d.Resource)
		require.Equal(t, []string{place, root}, w.asked)
	}
	for _, unfit := range []string{doc("https://other.example"), "{", `{"resource":"` + resource + `","authorization_servers":["http://h"]}`} {
		w = &web{pages: map[string]string{"https://mcp.example/meta": unfit, place: unfit, root: doc(resource)}}
		d, err := resourceDiscover(w, oauth.ResourceOptions{MetadataURL: "https://mcp.example/meta", Root: true})
		require.NoError(t, err)
		require.Equal(t, resource, d.Resource)
		require.Equal(t, []string{"https://mcp.example/meta", place, root}, w.asked)
	}
	// If none fits, the error names what was refused. A place that cannot answer now
	// ends the search, and the origin speaks for the resource at the root only.
	w = &web{pages: map[string]string{place: doc("https://other.example")}}
	_, err = resourceDiscover(w, oauth.ResourceOptions{Root: true, Legacy: true})
	require.ErrorContains(t, err, "https://other.example")
	w = &web{pages: map[string]string{root: doc(resource)}, codes: map[string]int{place: 503}}
	_, err = resourceDiscover(w, oauth.ResourceOptions{Root: true, Legacy: true})
	require.ErrorContains(t, err, "503")
	require.Len(t, w.asked, 1)
	w = &web{pages: map[string]string{place: doc("https://mcp.example")}}
	_, err = resourceDiscover(w, oauth.ResourceOptions{Root: true})
	require.ErrorIs(t, err, wire.ErrInvalidResponse)
}

// S41: a server of MCP 2025-03-26 has no metadata at all: every place answers 404. It is
// its own authorization server then.
func TestMCPServerWithoutResourceMetadata(t *testing.T) {
	legacy := oauth.ResourceOptions{Root: true, Legacy: true}
	w := &web{}
	d, err := resourceDiscover(w, legacy)
	require.NoError(t, err)
	require.Equal(t, &oauth.ResourceMetadata{
		Resource: resource, AuthorizationServers: []string{"https://mcp.example"}, Legacy: true,
	}, d)
	require.Equal(t, []string{place, root}, w.asked)
	for _, status := range []int{400, 401, 403, 410} {
		for _, at := range []string{place, root} {
			_, err = resourceDiscover(&web{codes: map[string]int{at: status}}, legacy)
			require.ErrorIs(t, err, oauth.ErrNoMetadata, status)
		}
	}
	legacy.MetadataURL = "https://mcp.example/meta"
	_, err = resourceDiscover(&web{}, legacy)
	require.ErrorIs(t, err, oauth.ErrNoMetadata, "a server that knows RFC 9728")
	_, err = resourceDiscover(&web{}, oauth.ResourceOptions{Root: true})
	require.ErrorIs(t, err, oauth.ErrNoMetadata)
}

// The slash after the origin is no difference. What was published is returned.
func TestSlashAfterTheOriginIsNoDifference(t *testing.T) {
	const origin = "https://mcp.example"
	for asked, stated := range map[string]string{origin: origin + "/", origin + "/": origin} {
		body := `{"resource":"` + stated + `","authorization_servers":["https://as.example/"]}`
		w := &web{pages: map[string]string{root: body}}
		d, err := oauth.DiscoverResource(context.Background(), &fetch.Client{Transport: w}, asked, oauth.ResourceOptions{})
		require.NoError(t, err)
		require.Equal(t, stated, d.Resource)
	}
	for _, other := range [][2]string{{origin, origin + "//"}, {origin + "/mcp", origin + "/mcp/"}, {origin + "?x", origin + "?x/"}, {"", "/"}, {"https:", "https:/"}, {"https://", "https:///"}, {origin, "https://MCP.example/"}, {origin, origin + ":443/"}} {
		require.False(t, oauth.SameIdentifier(other[0], other[1]), other)
		require.False(t, oauth.SameIdentifier(other[1], other[0]), other)
	}
	// The same for an issuer that a resource names; never for a configured one.
	for named, own := range map[string]string{"https://as.example/": "https://as.example", "https://as.example": "https://as.example/"} {
		c := fetchtest.JSON(200, document(own, object{"token_endpoint": "https://as.example/token"}))
		d, err := oauth.Discover(t.Context(), c, named, oauth.DiscoverOptions{Learned: true})
		require.NoError(t, err)
		require.Equal(t, own, d.Issuer, "iss must be what the provider itself writes")
		_, err = oauth.Discover(t.Context(), c, named, oauth.DiscoverOptions{})
		require.ErrorIs(t, err, wire.ErrInvalidResponse)
	}
	c := fetchtest.JSON(200, document("https://as.example/t/", nil))
	_, err := oauth.Discover(t.Context(), c, "https://as.example/t", oauth.DiscoverOptions{Learned: true})
	require.ErrorIs(t, err, wire.ErrInvalidResponse)
}

// S42: unless resource is identical, nothing in the document is believed.
func TestS42ResourceIdentical(t *testing.T) {
	for _, other := range []string{"", "https://mcp.example", "https://mcp.example/", "https://mcp.example/mcp/", "https://mcp.example/MCP", "https://MCP.example/mcp", "https://mcp.example:443/mcp", "https://mcp.example/mcp?x", "https://evil.example/mcp", "https://mcp.example/m%63p", "http://mcp.example/mcp"} {
		for _, o := range []oauth.ResourceOptions{{}, {Root: true}, {MetadataURL: "https://mcp.example/meta"}} {
			body := `{"resource":"` + other + `","authorization_servers":["https://evil.example"]}`
			_, err := resourceDiscover(&web{pages: map[string]string{place: body, "https://mcp.example/meta": body}}, o)
			require.ErrorIs(t, err, wire.ErrInvalidResponse, other)
		}
	}
	w := &web{pages: map[string]string{root: `{"resource":"https://mcp.example/other"}`}}
	_, err := resourceDiscover(w, oauth.ResourceOptions{Root: true})
	require.ErrorIs(t, err, wire.ErrInvalidResponse, "the root speaks for itself or for the resource asked about")
}

// S39, S40, S42: other documents that are refused.
func TestS42InvalidDocumentIsRefused(t *testing.T) {
	with := func(members string) string { return `{"resource":"` + resource + `"` + members + `}` }
	for name, body := range map[string]string{
		"empty": "", "null": "null", "list": "[]", "no resource": "{}", "resource a list": `{"resource":["` + resource + `"]}`, "other case": `{"Resource":"` + resource + `"}`,
		"resource twice":      `{"resource":"https://evil.example","resource":"` + resource + `"}`,
		"http issuer":         with(`,"authorization_servers":["https://as.example","http://as.example"]`),
		"loopback issuer":     with(`,"authorization_servers":["http://127.0.0.1:1"]`),
		"issuer with a query": with(`,"authorization_servers":["https://as.example?x"]`), "issuer with a fragment": with(`,"authorization_servers":["https://as.example#x"]`),
		"issuer with userinfo": with(`,"authorization_servers":["https://a@as.example"]`), "issuer javascript": with(`,"authorization_servers":["javascript:x"]`),
		"issuers a string":  with(`,"authorization_servers":"https://as.example"`),
		"two scopes in one": with(`,"scopes_supported":["read admin"]`), "empty scope": with(`,"scopes_supported":[""]`), "scope with an escape": with(`,"scopes_supported":["\u001b"]`),
		"endless list":  with(`,"scopes_supported":["a"` + strings.Repeat(`,"a"`, 256) + `]`),
		"flag a string": with(`,"dpop_bound_access_tokens_required":"true"`),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resourceDiscover(&web{pages: map[string]string{place: body}}, oauth.ResourceOptions{})
			require.ErrorIs(t, err, wire.ErrInvalidResponse)
		})
	}
	for _, members := range []string{`,"bearer_methods_supported":["body","query"]`, `,"bearer_methods_supported":[]`, `,"tls_client_certificate_bound_access_tokens":true`} {
		_, err := resourceDiscover(&web{pages: map[string]string{place: with(members)}}, oauth.ResourceOptions{})
		require.ErrorIs(t, err, errors.ErrUnsupported, members)
	}
	_, err := resourceDiscover(&web{pages: map[string]string{place: with(`,"bearer_methods_supported":[],"dpop_bound_access_tokens_required":true`)}}, oauth.ResourceOptions{})
	require.NoError(t, err)

	ok := with(``)
	_, err = resourceDiscover(&web{pages: map[string]string{place: ok}, ctype: "text/html"}, oauth.ResourceOptions{})
	require.ErrorIs(t, err, wire.ErrInvalidResponse)
	for code, want := range map[int]error{302: wire.ErrInvalidResponse, 307: wire.ErrInvalidResponse, 400: oauth.ErrNoResourceMetadata, 404: oauth.ErrNoResourceMetadata, 410: oauth.ErrNoResourceMetadata} {
		w := &web{pages: map[string]string{place: ok}, codes: map[string]int{place: code}}
		_, err = resourceDiscover(w, oauth.ResourceOptions{Root: true})
		require.ErrorIs(t, err, want, code)
		require.NotContains(t, strings.Join(w.asked, " "), "evil")
	}
	for _, code := range []int{201, 204, 429, 500, 503} {
		_, err = resourceDiscover(&web{pages: map[string]string{place: ok}, codes: map[string]int{place: code}}, oauth.ResourceOptions{Root: true})
		require.Error(t, err)
		require.NotErrorIs(t, err, oauth.ErrNoResourceMetadata, "not known to be absent")
	}
}

// S43: a challenge cannot send the program into its own network.
func TestS43ChallengeLeadsToNoPrivateAddress(t *testing.T) {
	for _, inside := range []string{"https://169.254.169.254/latest", "https://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://2130706433/"} {
		w := &web{pages: map[string]string{inside: `{"resource":"` + resource + `"}`}}
		_, err := resourceDiscover(w, oauth.ResourceOptions{MetadataURL: inside})
		require.ErrorIs(t, err, fetch.ErrAddress, inside)
		require.Empty(t, w.asked)
	}
	for _, bad := range []string{"http://mcp.example/meta", "http://127.0.0.1/", "file:///x", "javascript:x", "https://u@mcp.example/", "//mcp.example/"} {
		w := &web{}
		_, err := resourceDiscover(w, oauth.ResourceOptions{MetadataURL: bad})
		require.ErrorIs(t, err, wire.ErrUnsafeURL, bad)
		require.Empty(t, w.asked)
	}
	w := &web{pages: map[string]string{"https://10.0.0.1/": `{"resource":"` + resource + `"}`}}
	_, err := resourceDiscover(w, oauth.ResourceOptions{MetadataURL: "https://10.0.0.1/", AllowPrivate: true})
	require.NoError(t, err)
	_, err = resourceDiscover(&web{}, oauth.ResourceOptions{MetadataURL: "https://93.184.216.34/"}) // harmless: the document must name this resource
	require.ErrorIs(t, err, oauth.ErrNoResourceMetadata)
}

func FuzzDiscover(f *testing.F) {
	f.Add(`{"resource":"https://mcp.example/mcp","authorization_servers":["https://as.example"],"scopes_supported":["a"]}`)
	f.Fuzz(func(t *testing.T, body string) {
		d, err := resourceDiscover(&web{pages: map[string]string{place: body}}, oauth.ResourceOptions{})
		if err != nil {
			return
		}
		require.Equal(t, resource, d.Resource)
		for _, issuer := range d.AuthorizationServers {
			_, err := wire.URLPolicy{}.Parse(issuer)
			require.NoError(t, err)
		}
	})
}

func FuzzWellKnown(f *testing.F) {
	f.Add("https://h/a?b")
	f.Fuzz(func(t *testing.T, resource string) {
		at, err := oauth.ResourceWellKnown(resource)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrUnsafeURL)
			return
		}
		u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(at)
		require.NoError(t, err)
		r, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(resource)
		require.NoError(t, err)
		require.Equal(t, wire.Origin(r), wire.Origin(u))
		require.True(t, strings.HasPrefix(u.Path, "/.well-known/oauth-protected-resource"))
	})
}
