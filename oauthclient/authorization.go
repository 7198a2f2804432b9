package oauthclient

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/pkce"
)

// transaction is one authorization request, fixed before the browser opens: whatever
// changes meanwhile, the answer is checked against this (RFC 8252 §8.10, S28). It
// lives in memory only.
type transaction struct {
	provider    *provider
	identity    identity
	redirectURI string // "": a device code has none
	state       wire.Secret
	nonce       wire.Secret // zero: no openid was asked for
	verifier    pkce.Verifier
	key         oauth.DPoPKey // zero: bearer tokens
	formPost    bool
	openID      bool
	scopes      []string
	resources   []string
	acrValues   []string
	maxAge      time.Duration
	hasMaxAge   bool
	params      url.Values
	started     time.Time
}

func (l *login) newTransaction(redirectURI string) (*transaction, error) {
	cfg, opts := &l.client.cfg, &l.opts
	t := &transaction{
		provider: l.provider, identity: l.identity, redirectURI: redirectURI,
		state: random(), verifier: pkce.New(), formPost: cfg.Loopback.FormPost,
		openID: slices.Contains(l.scopes, "openid"), scopes: l.scopes, resources: l.resources,
		acrValues: slices.Clone(opts.ACRValues), maxAge: max(opts.MaxAge, 0), hasMaxAge: opts.MaxAge != 0,
		params: url.Values{}, started: time.Now(),
	}
	if t.openID {
		t.nonce = random()
	}
	if l.dpop {
		var err error
		if t.key, err = l.provider.newProofKey(); err != nil {
			return nil, err
		}
	}
	maps.Copy(t.params, cloneValues(cfg.AuthParams))
	maps.Copy(t.params, cloneValues(opts.AuthParams))
	set := func(name, value string) {
		if value != "" {
			t.params.Set(name, value)
		}
	}
	set("prompt", opts.Prompt)
	if t.params.Get("prompt") == "" && redirectURI != "" && l.missesRefreshToken() {
		set("prompt", "consent")
	}
	set("login_hint", opts.LoginHint)
	set("acr_values", strings.Join(t.acrValues, " "))
	if t.hasMaxAge {
		set("max_age", strconv.FormatInt(int64((t.maxAge+time.Second-1)/time.Second), 10))
	}
	return t, nil
}

// missesRefreshToken reports whether the account's last login asked for a refresh
// token and got none, as this one would: many providers give one only with the user's
// consent (OpenID Connect Core §11). Not every login asks for consent, because some
// providers then want an administrator's.
func (l *login) missesRefreshToken() bool {
	const offline = "offline_access"
	return l.before != nil && l.before.RefreshToken.IsZero() && slices.Contains(l.scopes, offline)
}

// request returns the parameters of the authorization request (RFC 6749 §4.1.1, RFC
// 7636 §4.3, OpenID Connect Core §3.1.2.1).
func (t *transaction) request() url.Values {
	q := cloneValues(t.params)
	q.Set("response_type", "code")
	q.Set("client_id", t.identity.id)
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
	if !t.key.IsZero() {
		q.Set("dpop_jkt", t.key.Thumbprint()) // RFC 9449 §10: the code is bound too
	}
	if t.formPost {
		q.Set("response_mode", "form_post")
	}
	for _, r := range t.resources {
		q.Add("resource", r)
	}
	return q
}

// url returns the address to open in the browser. If the provider takes pushed
// authorization requests (RFC 9126), the request is pushed first: nothing of it can
// then be read or changed on its way through the browser. expiry is when the
// provider forgets what was pushed; zero: it was not pushed.
func (t *transaction) url(ctx context.Context) (address string, expiry time.Time, err error) {
	p, doc := t.provider, t.provider.doc
	if doc.PushedAuthorizationRequestEndpoint != "" {
		req := p.request(t.identity, doc.PushedAuthorizationRequestEndpoint, t.request(), t.key)
		pushed, err := oauth.Push(ctx, p.fetch, req)
		if err != nil {
			return "", time.Time{}, fromEndpoint("pushed_authorization_request", err)
		}
		u, err := pushed.URL(doc.AuthorizationEndpoint, t.identity.id)
		if err != nil {
			return "", time.Time{}, invalid("authorization_endpoint: %w", err)
		}
		return u, pushed.Expiry, nil
	}
	switch {
	case p.cfg.RequirePAR:
		return "", time.Time{}, unsupported("RequirePAR is set, and the provider has no pushed_authorization_request_endpoint")
	case doc.RequirePushedAuthorizationRequests:
		return "", time.Time{}, invalid("the provider requires pushed authorization requests, and names no endpoint for them")
	}
	u, err := url.Parse(doc.AuthorizationEndpoint)
	if err != nil {
		return "", time.Time{}, invalid("authorization_endpoint cannot be parsed")
	}
	q := u.Query()
	for name, values := range t.request() {
		q[name] = values
	}
	u.RawQuery = q.Encode()
	return u.String(), time.Time{}, nil
}

// random returns 32 bytes from the system's generator as base64url.
func random() wire.Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails: it would end the program
	return wire.NewSecret(base64.RawURLEncoding.EncodeToString(b))
}

// checkPKCE decides from the metadata whether a code can be protected (S25, S26).
func (p *provider) checkPKCE() error {
	switch p.doc.S256() {
	case oauth.PKCERefused:
		return unsupported("the provider's code_challenge_methods_supported has no S256, and a weaker method is not used")
	case oauth.PKCEUnsaid:
		// The Model Context Protocol's rule for a provider that nobody has vouched for.
		if p.cfg.issuer() == "" {
			return invalid("the provider was named by the resource, and its metadata have no code_challenge_methods_supported; "+
				"if you trust it, set Config.Issuer to %s", p.doc.Issuer)
		}
		p.log.Warn("the provider's metadata do not say that it supports PKCE; S256 is sent all the same",
			"issuer", p.doc.Issuer)
	}
	return nil
}
