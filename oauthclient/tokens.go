package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// request is a form for one of the provider's endpoints, with the client's authentication, and proofs by key unless it is zero.
func (c *Client) request(p *provider, id identity, endpoint string, form url.Values, key oauth.DPoPKey) oauth.Request {
	r := oauth.Request{
		Endpoint: endpoint, ClientID: id.id, Issuer: p.issuer, Auth: id.auth,
		AuthMethods: p.doc.TokenEndpointAuthMethodsSupported, AuthAlgs: p.doc.TokenEndpointAuthSigningAlgValuesSupported, Form: form,
	}
	if !key.IsZero() {
		if target, err := url.Parse(endpoint); err == nil {
			prover := c.nonces.Prover(key, http.MethodPost, target, wire.Secret{})
			r.Prove, r.Nonce = prover.Prove, prover.Nonce
		}
	}
	return r
}

// exchange trades the code for tokens, once, and checks everything before anything is used (RFC 6749 §4.1.3, RFC 7636 §4.5).
func (c *Client) exchange(ctx context.Context, t *transaction, code, account string) (*session.Grant, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {t.redirectURI}, "code_verifier": {t.verifier.Reveal()},
	}
	if len(t.resources) > 0 {
		form["resource"] = t.resources
	}
	resp, err := oauth.RequestToken(ctx, t.provider.fetch, c.request(t.provider, t.identity, t.provider.doc.TokenEndpoint, form, t.key))
	if err != nil {
		return nil, fromEndpoint("token", err)
	}
	return c.accept(ctx, t, resp, account)
}

// accept makes a grant of the answer to a login's token request, if that passes every check. What is refused is revoked, as well as can be.
func (c *Client) accept(ctx context.Context, t *transaction, resp *oauth.TokenResponse, account string) (*session.Grant, error) {
	var key wire.Secret
	if !t.key.IsZero() {
		var err error
		if key, err = t.key.Marshal(); err != nil {
			return nil, err
		}
	}
	g := &session.Grant{
		Realm: c.realm(), Party: c.party(), Account: account, Issuer: t.provider.issuer, ClientID: t.identity.id, ClientSecret: t.identity.secret,
		Scopes: granted(resp, t.scopes), Resources: t.resources, RefreshToken: resp.RefreshToken,
		Tokens: []session.Token{c.newToken(resp, time.Now())}, DPoPKey: key,
	}
	if err := c.recognize(ctx, t, resp, g); err != nil {
		t.attempt.discard(ctx, c, g)
		return nil, err
	}
	if g.RefreshToken.IsZero() && slices.Contains(t.scopes, "offline_access") {
		c.log.Warn("offline_access was asked for and no refresh token came; a login with prompt=consent may bring one", "issuer", g.Issuer)
	}
	return g, nil
}

// recognize learns from the ID token who signed in, and how.
func (c *Client) recognize(ctx context.Context, t *transaction, resp *oauth.TokenResponse, g *session.Grant) error {
	if !t.openID {
		if len(t.acrValues) > 0 || t.hasMaxAge {
			return fmt.Errorf("%w: ACRValues and MaxAge can only be checked in an ID token; add \"openid\" to the scopes", ErrStepUp)
		}
		return nil
	}
	if resp.IDToken.IsZero() {
		return invalid("openid was asked for and the token endpoint sent no id_token")
	}
	claims, err := c.verifyIDToken(ctx, t.provider, t.identity.id, resp.IDToken.Reveal(), oidc.Expected{
		Nonce: t.nonce.Reveal(), AccessToken: resp.AccessToken, MaxAge: t.maxAge, HasMaxAge: t.hasMaxAge, Started: t.started,
		ACRValues: t.acrValues,
	})
	if err != nil {
		return err
	}
	g.IDToken, g.Subject, g.Username = resp.IDToken, claims.Subject, username(claims)
	return nil
}

func (c *Client) verifyIDToken(ctx context.Context, p *provider, clientID, raw string, want oidc.Expected) (*oidc.IDToken, error) {
	if p.keys == nil {
		return nil, invalid("the metadata have no jwks_uri, so the ID token cannot be verified")
	}
	want.Issuer, want.ClientID, want.TrustedAudiences, want.TenantIssuer = p.issuer, clientID, c.cfg.TrustedAudiences, c.cfg.TenantIssuer
	want.Algorithms, want.Now = p.doc.IDTokenAlgorithms(), time.Now()
	claims, err := oidc.VerifyIDToken(ctx, raw, p.keys, want)
	switch {
	case err == nil:
		return claims, nil
	case errors.Is(err, oidc.ErrStepUp):
		return nil, fmt.Errorf("%w: %w", ErrStepUp, err)
	case errors.Is(err, oidc.ErrIDToken):
		return nil, err
	}
	return nil, fmt.Errorf("the provider's keys: %w", err)
}

// granted returns the scopes of an answer: those asked for where it does not say (RFC 6749 §5.1). GitHub joins them with commas, which a
// scope may contain: what was not asked for as it stands, while each part was, is such a list.
func granted(resp *oauth.TokenResponse, asked []string) []string {
	if !resp.HasScope {
		return slices.Clone(asked)
	}
	var scopes []string
	for _, s := range strings.Fields(resp.Scope) {
		parts := strings.Split(s, ",")
		if slices.Contains(asked, s) || slices.ContainsFunc(parts, func(p string) bool { return !slices.Contains(asked, p) }) {
			parts = []string{s}
		}
		scopes = append(scopes, parts...)
	}
	return scopes
}

func (c *Client) newToken(resp *oauth.TokenResponse, now time.Time) session.Token {
	life := resp.ExpiresIn
	if !resp.HasExpiry {
		life = c.cfg.AssumeLifetime
		if life == 0 {
			life = time.Hour
		}
	}
	now = now.Truncate(time.Millisecond) // as it is stored
	return session.Token{AccessToken: resp.AccessToken, Type: resp.TokenType, Obtained: now, Expiry: now.Add(life)}
}

// username picks what to show of a person.
func username(claims *oidc.IDToken) string {
	var v struct {
		Preferred any `json:"preferred_username"`
		Email     any `json:"email"`
		Name      any `json:"name"`
	}
	if wire.UnmarshalJSON(claims.Raw, &v) != nil {
		return ""
	}
	for _, candidate := range []any{v.Preferred, v.Email, v.Name} {
		if s, ok := candidate.(string); ok && s != "" {
			return wire.SafeText(s, 100)
		}
	}
	return ""
}

// discard revokes tokens that were issued and will not be used, as well as can be.
func (c *Client) discard(ctx context.Context, g *session.Grant) {
	if err := c.revoke(ctx, g); err != nil {
		c.log.Info("unused tokens were not revoked", "err", err)
	}
}

// refreshTimeout bounds one call of the token endpoint for a refresh.
const refreshTimeout = 20 * time.Second

// sendRefresh sends g's refresh token for slot's token (RFC 6749 §6), and returns what is to be stored.
func (c *Client) sendRefresh(ctx context.Context, g *session.Grant, s *slot) (*session.Grant, error) {
	// Once sent it is seen through: a caller that goes away must not lose the answer.
	held := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	p, err := c.provider(ctx, g.Issuer)
	if err != nil {
		return nil, &session.SendError{Outcome: session.NotSent, Err: err}
	}
	key, err := proofKey(g)
	if err != nil {
		return nil, &session.SendError{Outcome: session.Refused, Err: err}
	}
	if held.Err() != nil { // the lock was lost meanwhile, and another may be sending this refresh token
		return nil, &session.SendError{Outcome: session.NotSent, Err: context.Cause(held)}
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken.Reveal()}}
	switch {
	case s.resource != "":
		form.Set("resource", s.resource)
	case len(g.Resources) > 0:
		form["resource"] = g.Resources
	}
	for _, sc := range s.scopes { // S62, and what was granted may have changed since For
		if !slices.Contains(g.Scopes, sc) {
			return nil, &session.SendError{Outcome: session.Refused, Err: fmt.Errorf("scope %q was not granted at the sign-in; ask for it with Login: %w", sc, ErrStepUp)}
		}
	}
	if len(s.scopes) > 0 {
		form.Set("scope", strings.Join(s.scopes, " "))
	}
	resp, err := oauth.RequestToken(ctx, p.fetch, c.request(p, c.identityOf(g), p.doc.TokenEndpoint, form, key))
	var refused *oauth.ResponseError
	switch {
	case err == nil:
		return c.successor(g, s, resp), nil
	case errors.As(err, &refused) && !refused.RefreshToken.IsZero():
		next := *g
		next.RefreshToken, next.NewIDToken = refused.RefreshToken, wire.Secret{}
		return &next, classify(err)
	}
	return nil, classify(err)
}

// proofKey returns the key that g's tokens are bound to, zero for bearer tokens. Without it the tokens are of no use (S87).
func proofKey(g *session.Grant) (oauth.DPoPKey, error) {
	if g.DPoPKey.IsZero() {
		for _, t := range g.Tokens {
			if t.Type == "DPoP" {
				return oauth.DPoPKey{}, &loginRequired{why: "the key that the session's tokens are bound to is lost"}
			}
		}
		return oauth.DPoPKey{}, nil
	}
	key, err := oauth.ParseDPoPKey(g.DPoPKey)
	if err != nil {
		return oauth.DPoPKey{}, &loginRequired{why: "the key that the session's tokens are bound to is damaged", cause: err}
	}
	return key, nil
}

// successor is g after a refresh: the new token in its place, the others while they live.
func (c *Client) successor(g *session.Grant, s *slot, resp *oauth.TokenResponse) *session.Grant {
	now := time.Now()
	next := *g
	next.NewIDToken = wire.Secret{}
	if !g.IDToken.IsZero() { // else it was never asked for: not checked, not kept
		next.NewIDToken = resp.IDToken
	}
	if !resp.RefreshToken.IsZero() {
		next.RefreshToken = resp.RefreshToken
	}
	tok := c.newToken(resp, now)
	tok.Resource, tok.Scopes, tok.New = s.resource, s.scopes, true
	main := s.resource == "" && len(s.scopes) == 0
	next.Tokens = nil
	for i, old := range g.Tokens {
		old.New = false
		switch {
		case i == 0 && main, i > 0 && old.Resource == s.resource && slices.Equal(old.Scopes, s.scopes):
			continue
		case i == 0 || now.Before(old.Expiry):
			next.Tokens = append(next.Tokens, old)
		}
	}
	if main {
		next.Tokens = append([]session.Token{tok}, next.Tokens...)
		next.Scopes = granted(resp, g.Scopes)
	} else {
		next.Tokens = append(next.Tokens, tok)
	}
	return &next
}

// ended reports a token endpoint's error that ends a refresh token or a code for good: invalid_grant (RFC 6749 §5.2), and what GitHub says in its place.
func ended(code string) bool { return code == "invalid_grant" || code == "bad_refresh_token" }

// classify tells the keeper what a failed refresh means for the refresh token.
func classify(err error) error {
	out := &session.SendError{Outcome: session.Unknown, Err: fromEndpoint("token", err)}
	var te *oauth.Error
	var fe *fetch.Error
	switch {
	case errors.As(err, &te):
		switch {
		case ended(te.Code):
			out.Outcome = session.Dead
		case te.Status == 429 || te.Status == 503:
			out.Outcome, out.Status, out.After = session.Paused, te.Status, max(te.RetryAfter, 2*time.Second)
		case te.Status < 500:
			out.Outcome = session.Refused
		}
	case errors.As(err, &fe) && !fe.Sent:
		out.Outcome = session.NotSent
	}
	return out
}

// verifyRefreshed checks the ID token that a refresh brought against the session's (OpenID Connect Core §12.2, S82).
func (c *Client) verifyRefreshed(ctx context.Context, g *session.Grant) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	p, err := c.provider(ctx, g.Issuer)
	if err != nil {
		return err
	}
	before, err := oidc.ParseIDToken(g.IDToken.Reveal())
	if err != nil {
		return fmt.Errorf("%w: stored ID token: %w", session.ErrRejected, err)
	}
	newest := g.Tokens[0]
	for _, t := range g.Tokens {
		if t.New {
			newest = t
		}
	}
	_, err = c.verifyIDToken(ctx, p, g.ClientID, g.NewIDToken.Reveal(), oidc.Expected{AccessToken: newest.AccessToken, Refreshed: before})
	if errors.Is(err, oidc.ErrIDToken) { // keys that cannot be had say nothing about the token
		return fmt.Errorf("%w: %w", session.ErrRejected, err)
	}
	return err
}

// revoke tells the provider that g has ended (RFC 7009): the refresh token, which takes the access tokens with it, else they themselves.
func (c *Client) revoke(ctx context.Context, g *session.Grant) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	p, err := c.provider(ctx, g.Issuer)
	if err != nil {
		return err
	}
	if p.doc.RevocationEndpoint == "" {
		return unsupported("the provider has no revocation_endpoint")
	}
	req := c.request(p, c.identityOf(g), p.doc.RevocationEndpoint, nil, oauth.DPoPKey{})
	if p.doc.RevocationEndpointAuthMethodsSupported != nil {
		req.AuthMethods, req.AuthAlgs = p.doc.RevocationEndpointAuthMethodsSupported, p.doc.RevocationEndpointAuthSigningAlgValuesSupported
	}
	var errs []error
	if !g.RefreshToken.IsZero() {
		errs = append(errs, fromEndpoint("revocation", oauth.Revoke(ctx, p.fetch, req, g.RefreshToken, "refresh_token")))
	}
	for _, t := range g.Tokens {
		if !t.AccessToken.IsZero() && time.Now().Before(t.Expiry) {
			errs = append(errs, fromEndpoint("revocation", oauth.Revoke(ctx, p.fetch, req, t.AccessToken, "access_token")))
		}
	}
	return errors.Join(errs...)
}
