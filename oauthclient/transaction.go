package oauthclient

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/metadata"
	"github.com/nativeoauth/nativeoauth/internal/secret"
	"github.com/nativeoauth/nativeoauth/pkce"
)

// transaction is one login, fixed before the browser opens: whatever changes meanwhile, what comes back is held against
// this (RFC 8252 §8.10, S28). It lives in memory only.
type transaction struct {
	provider    *provider
	clientID    string
	redirectURI string
	state       secret.String
	nonce       secret.String // zero: no openid asked
	verifier    pkce.Verifier
	scopes      []string
	resources   []string
	acrValues   []string
	maxAge      time.Duration
	hasMaxAge   bool
	params      url.Values
	started     time.Time
}

func (c *Client) newTransaction(p *provider, redirectURI string, opts *LoginOptions, scopes []string) *transaction {
	t := &transaction{
		provider: p, clientID: c.cfg.ClientID, redirectURI: redirectURI, state: random(), verifier: pkce.New(),
		scopes: scopes, resources: c.cfg.Resources, acrValues: slices.Clone(opts.ACRValues),
		maxAge: max(opts.MaxAge, 0), hasMaxAge: opts.MaxAge != 0, params: url.Values{}, started: time.Now(),
	}
	if slices.Contains(scopes, "openid") {
		t.nonce = random()
	}
	maps.Copy(t.params, cloneValues(c.cfg.AuthParams))
	maps.Copy(t.params, cloneValues(opts.AuthParams))
	set := func(name, value string) {
		if value != "" {
			t.params.Set(name, value)
		}
	}
	set("prompt", opts.Prompt)
	set("login_hint", opts.LoginHint)
	set("acr_values", strings.Join(t.acrValues, " "))
	if t.hasMaxAge {
		set("max_age", strconv.FormatInt(int64(t.maxAge/time.Second), 10))
	}
	return t
}

// request returns the parameters of the authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1).
func (t *transaction) request() url.Values {
	q := cloneValues(t.params)
	q.Set("response_type", "code")
	q.Set("client_id", t.clientID)
	q.Set("redirect_uri", t.redirectURI)
	q.Set("state", t.state.Reveal())
	q.Set("code_challenge", t.verifier.Challenge())
	q.Set("code_challenge_method", pkce.Method)
	if len(t.scopes) > 0 {
		q.Set("scope", strings.Join(t.scopes, " "))
	}
	if !t.nonce.IsZero() {
		q.Set("nonce", t.nonce.Reveal())
	}
	for _, r := range t.resources {
		q.Add("resource", r)
	}
	return q
}

// url joins the authorization endpoint, which may have a query of its own, and parameters.
func (t *transaction) url(params url.Values) (string, error) {
	u, err := url.Parse(t.provider.doc.AuthorizationEndpoint)
	if err != nil {
		return "", invalid("authorization_endpoint cannot be parsed")
	}
	q := u.Query()
	for name := range params {
		q[name] = params[name]
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// random returns 32 bytes from the system's generator as base64url.
func random() secret.String {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: it would end the program
	return secret.New(base64.RawURLEncoding.EncodeToString(b))
}

// pkceSupport decides about PKCE from the metadata (S25, S26).
func (c *Client) pkceSupport(doc *metadata.Document) error {
	switch doc.S256() {
	case metadata.Refused:
		return unsupported("the provider's code_challenge_methods_supported has no S256, and a weaker method is not used")
	case metadata.Unsaid:
		c.log.Warn("the provider's metadata do not say that it supports PKCE; S256 is sent all the same", "issuer", c.issuer)
	}
	return nil
}
