package oauthclient_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// hostile is a provider that lies: what a strict server says is changed on its way to the client. It writes down what it is sent.
type hostile struct {
	*authserver.Server
	cfg oauthclient.Config // a client of it, with a Store of its own

	mu    sync.Mutex
	lies  map[string]func(r heardRequest, a *lyingReply)
	heard map[string][]heardRequest
}

// request is what an endpoint was sent; its body is read.
type heardRequest struct {
	Method string
	URL    *url.URL
	Header http.Header
	Form   url.Values
}

// reply is what an endpoint is about to answer.
type lyingReply struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON changes the members of a JSON reply.
func (a *lyingReply) JSON(change func(m map[string]any)) {
	var m map[string]any
	if json.Unmarshal(a.Body, &m) == nil {
		change(m)
		a.Body, _ = json.Marshal(m)
	}
}

// Location changes the query of a redirect.
func (a *lyingReply) Location(change func(q url.Values)) {
	u, err := url.Parse(a.Header.Get("Location"))
	if err != nil || !u.Query().Has("state") {
		return
	}
	q := u.Query()
	change(q)
	u.RawQuery = q.Encode()
	a.Header.Set("Location", u.String())
}

func newHostile(t *testing.T, cfg authserver.Config) *hostile {
	t.Helper()
	h := &hostile{lies: map[string]func(heardRequest, *lyingReply){}, heard: map[string][]heardRequest{}}
	cfg.Misbehave = func(endpoint string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			form, _ := url.ParseQuery(string(body))
			got := heardRequest{r.Method, r.URL, r.Header.Clone(), form}
			h.mu.Lock()
			h.heard[endpoint] = append(h.heard[endpoint], got)
			lie := h.lies[endpoint]
			h.mu.Unlock()
			rec := &recorder{header: http.Header{}}
			next.ServeHTTP(rec, r)
			a := &lyingReply{rec.status, rec.header, rec.body}
			if lie != nil {
				lie(got, a)
			}
			for name, values := range a.Header {
				w.Header()[name] = values
			}
			w.WriteHeader(max(a.Status, 200))
			_, _ = w.Write(a.Body)
		})
	}
	h.Server, h.cfg = authServer(t, cfg)
	return h
}

// lie has an endpoint's answers changed from now on; nil: no more.
func (h *hostile) lie(endpoint string, change func(r heardRequest, a *lyingReply)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lies[endpoint] = change
}

// got is what an endpoint was sent so far.
func (h *hostile) got(endpoint string) []heardRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.heard[endpoint])
}

// everything is all that was sent to any endpoint.
func (h *hostile) everything() map[string][]heardRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string][]heardRequest{}
	for endpoint, list := range h.heard {
		out[endpoint] = slices.Clone(list)
	}
	return out
}

// key is the provider's own, to sign what it would not.
func (h *hostile) key() *josetest.Key {
	signer, id, alg := h.SigningKey()
	return &josetest.Key{Signer: signer, ID: id, Alg: alg}
}

// claimsOf are those of the ID token in a token response.
func claimsOf(t *testing.T, raw any) map[string]any {
	t.Helper()
	parts := strings.Split(raw.(string), ".")
	require.Len(t, parts, 3)
	var m map[string]any
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(payload, &m))
	return m
}

// forge signs every ID token anew, by sign, after change.
func (h *hostile) forge(t *testing.T, change func(c map[string]any), sign func(c map[string]any) string) {
	if sign == nil {
		k := h.key()
		sign = func(c map[string]any) string { return k.Sign(c) }
	}
	h.lie("token", func(_ heardRequest, a *lyingReply) {
		a.JSON(func(m map[string]any) {
			if m["id_token"] == nil {
				return
			}
			c := claimsOf(t, m["id_token"])
			if change != nil {
				change(c)
			}
			m["id_token"] = sign(c)
		})
	})
}

// requireRejected demands what the Foundation's suite does of a rejection: a typed error, nothing stored, and no userinfo call.
func (h *hostile) requireRejected(t *testing.T, c *oauthclient.Client, err error) {
	t.Helper()
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	h.requireNothingStored(t, c)
	require.Empty(t, h.got("userinfo"))
	require.Zero(t, h.Alive(), "the tokens that are not kept are revoked")
}

// requireNothingStored demands that a login that failed left no session and no
// token behind.
func (h *hostile) requireNothingStored(t *testing.T, c *oauthclient.Client) {
	t.Helper()
	_, err := c.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	accounts, err := c.Accounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, accounts)
	names, err := h.cfg.Store.(*tokenstore.Memory).List(t.Context(), "")
	require.NoError(t, err)
	for _, name := range names {
		data, err := h.cfg.Store.Get(t.Context(), name)
		require.NoError(t, err)
		require.NotContains(t, string(data), "access_token")
		require.NotContains(t, string(data), "refresh_token")
	}
}
