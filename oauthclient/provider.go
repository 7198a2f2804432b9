package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// refreshTimeout bounds a request for a stored session: a refresh, its checks, or a
// revocation.
const refreshTimeout = 20 * time.Second

// provider is an authorization server: its metadata, its keys, and the guarded way
// to it. Requests for a login are its methods. Those for a stored session are methods
// of providers, which find the provider by the session's issuer.
type provider struct {
	*providers
	issuer    string
	doc       *oauth.Metadata
	keys      *jose.KeySet // nil: the metadata name none
	fetch     *fetch.Client
	fetchedAt time.Time
	goesOn    time.Time // until then it is used, whatever its age; zero: by its age
	cached    bool      // it is from a provider cache: this process has not asked for it
}

// request is a form for one of the provider's endpoints, with the client's
// authentication, and with proofs by key unless that is zero (RFC 9449).
func (p *provider) request(id identity, endpoint string, form url.Values, key oauth.DPoPKey) oauth.Request {
	if p.cfg.Deviations.RawBasicAuth {
		id.auth = id.auth.RawBasic()
	}
	r := oauth.Request{
		Endpoint: endpoint, ClientID: id.id, Issuer: p.issuer, Auth: id.auth, Form: form, Clock: &p.nonces.Clock,
		AuthMethods: p.doc.TokenEndpointAuthMethodsSupported,
		AuthAlgs:    p.doc.TokenEndpointAuthSigningAlgValuesSupported,
	}
	if !key.IsZero() {
		if target, err := url.Parse(endpoint); err == nil {
			prover := p.nonces.Prover(key, http.MethodPost, target, wire.Secret{})
			r.Prove, r.Nonce = prover.Prove, prover.Nonce
		}
	}
	return r
}

// tokenRequest is request for the token endpoint, with Config.TokenParams.
func (p *provider) tokenRequest(id identity, form url.Values, key oauth.DPoPKey) oauth.Request {
	maps.Copy(form, p.cfg.TokenParams)
	return p.request(id, p.doc.TokenEndpoint, form, key)
}

// newProofKey returns a key for DPoP, if the provider offers that (RFC 9449 §5.1).
func (p *provider) newProofKey() (oauth.DPoPKey, error) {
	algs := p.doc.DPoPSigningAlgValuesSupported
	if algs == nil && p.cfg.Endpoints == nil { // Endpoints say nothing about DPoP
		return oauth.DPoPKey{}, unsupported("the provider does not offer DPoP: " +
			"its metadata have no dpop_signing_alg_values_supported")
	}
	if algs != nil && !slices.Contains(algs, oauth.DPoPAlgorithm) {
		return oauth.DPoPKey{}, unsupported("the provider's dpop_signing_alg_values_supported has no %s", oauth.DPoPAlgorithm)
	}
	return oauth.NewDPoPKey()
}

// redeem trades an authorization code for tokens, once (RFC 6749 §4.1.3, RFC 7636
// §4.5).
func (p *provider) redeem(ctx context.Context, t *transaction, code string) (*oauth.TokenResponse, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {t.redirectURI},
		"code_verifier": {t.verifier.Reveal()},
	}
	if len(t.resources) > 0 {
		form["resource"] = t.resources
	}
	resp, err := oauth.RequestToken(ctx, p.fetch, p.tokenRequest(t.identity, form, t.key))
	if err != nil {
		return nil, fromEndpoint("token", err)
	}
	return resp, nil
}

// logDeviations logs how a token response bends the specification.
func (ps *providers) logDeviations(issuer string, resp *oauth.TokenResponse) {
	for _, d := range resp.Deviations {
		ps.log.Info("the token response deviates from the specification", "issuer", issuer, "deviation", d)
	}
}

// refresh sends g's refresh token for s (RFC 6749 §6), and returns the grant to
// store. It is session.Accounts.Send.
func (ps *providers) refresh(held context.Context, g *session.Grant, s *session.Slot) (*session.Grant, error) {
	// Once sent, it is seen through: a caller that goes away must not lose the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(held), refreshTimeout)
	defer cancel()
	starting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ps.starting, stop)() // before it is sent, Client.Close ends it
	p, err := ps.of(starting, g)
	if err != nil {
		return nil, &session.SendError{Failure: session.NotSent, Err: err}
	}
	ps.renewBeside(p, g)
	key, err := g.ProofKey()
	if err != nil {
		return nil, &session.SendError{Failure: session.Refused, Err: err}
	}
	if held.Err() != nil { // the lock was lost, and another process may be sending this token
		return nil, &session.SendError{Failure: session.LockLost, Err: context.Cause(held)}
	}
	next, failed := p.sendRefresh(ctx, g, s, key)
	if next == nil && failed != nil && p.cached {
		again := ps.afresh(starting, p, g, failed)
		if again != nil && held.Err() == nil && starting.Err() == nil {
			next, failed = again.sendRefresh(ctx, g, s, key)
		}
	}
	if failed != nil {
		return next, failed
	}
	return next, nil
}

// sendRefresh is the request of refresh, with proofs by key. It returns what refresh
// returns.
func (p *provider) sendRefresh(
	ctx context.Context, g *session.Grant, s *session.Slot, key oauth.DPoPKey,
) (*session.Grant, *session.SendError) {
	cfg := p.cfg
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken.Reveal()}}
	switch {
	case s.Resource != "":
		form.Set("resource", asPublished(g, s.Resource))
	case len(g.Resources) > 0:
		form["resource"] = g.Resources
	}
	for _, sc := range s.Scopes { // S62: what was granted may have changed since For
		if !slices.Contains(g.Scopes, sc) {
			return nil, &session.SendError{Failure: session.Refused, Err: notGranted("scope", sc)}
		}
	}
	if len(s.Scopes) > 0 {
		form.Set("scope", strings.Join(s.Scopes, " "))
	}
	resp, err := oauth.RequestToken(ctx, p.fetch, p.tokenRequest(cfg.identityOf(g), form, key))
	if err == nil {
		p.logDeviations(g.Issuer, resp)
		next := g.Refreshed(s, resp, session.NewToken(resp, time.Now(), cfg.AssumeLifetime))
		next.CacheSince = p.cacheSince(g)
		if g.Generation == 0 && g.IDToken.IsZero() && !resp.IDToken.IsZero() { // an import
			p.identifyRefreshed(ctx, next, resp)
		}
		return next, nil
	}
	failed := session.Classify(err, g.ClientID, cfg.registered(g.ClientID))
	failed.Err = fromEndpoint("token", err)
	var unusable *oauth.ResponseError
	if errors.As(err, &unusable) && !unusable.RefreshToken.IsZero() { // S59
		next := *g
		next.RefreshToken = unusable.RefreshToken
		return &next, failed
	}
	return nil, failed
}

// verifyIDToken checks raw, an ID token for the client id (OpenID Connect Core
// §3.1.3.7). The provider may have changed its keys a moment ago, so they are fetched
// once more before a token is refused that none of them signed.
func (p *provider) verifyIDToken(ctx context.Context, id, raw string, want oidc.Expected) (*oidc.IDToken, error) {
	if p.keys == nil {
		return nil, invalid("the metadata have no jwks_uri, so the ID token cannot be verified")
	}
	want.Issuer, want.ClientID = p.issuer, id
	want.TrustedAudiences, want.TenantIssuer = p.cfg.TrustedAudiences, p.cfg.TenantIssuer
	want.AllowMissingNonce = p.cfg.Deviations.AllowMissingNonce
	want.AcceptAudiences = p.cfg.Deviations.AcceptAudiences
	want.Algorithms = p.doc.IDTokenAlgorithms()
	claims, err := oidc.VerifyIDToken(ctx, raw, p.keys, want)
	if errors.Is(err, jose.ErrNotRenewed) {
		if err = p.keys.Renew(ctx); err == nil {
			claims, err = oidc.VerifyIDToken(ctx, raw, p.keys, want)
		}
	}
	switch {
	case err == nil:
		return claims, nil
	case errors.Is(err, oidc.ErrStepUp):
		return nil, fmt.Errorf("%w: %w", ErrStepUp, err)
	case errors.Is(err, oidc.ErrIDToken), errors.Is(err, jose.ErrKeySet): // their messages say all
		return nil, err
	}
	return nil, fmt.Errorf("the provider's keys: %w", err)
}

// verifyRefreshed checks the ID token that a refresh brought against the session's
// (OpenID Connect Core §12.2, S82). It is session.Keeper.Verify.
func (ps *providers) verifyRefreshed(ctx context.Context, g *session.Grant) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	before, err := oidc.ParseIDToken(g.IDToken.Reveal())
	if err != nil {
		return fmt.Errorf("%w: stored ID token: %w", session.ErrRejected, err)
	}
	var newest session.Token // zero: the token that it came with has been replaced
	for _, t := range g.Tokens {
		if t.New {
			newest = t
		}
	}
	err = ps.verifyNew(ctx, g,
		oidc.Expected{AccessToken: newest.AccessToken, Refreshed: before, ClockOffset: ps.nonces.Clock.Ahead()})
	switch {
	case errors.Is(err, jose.ErrUnsigned): // which may pass, so it is not called an invalid response
		return session.ErrUnsigned
	case errors.Is(err, oidc.ErrIdentity):
		return fmt.Errorf("%w: %w", session.ErrMismatch, err)
	case errors.Is(err, oidc.ErrIDToken):
		return fmt.Errorf("%w: %w", session.ErrRejected, err)
	}
	return err // keys that cannot be had say nothing about the token
}

// verifyNew checks g.NewIDToken. If it fails by metadata from a provider cache, they
// are fetched and it is checked once more: the provider may have moved its keys. Cached
// metadata never end a session.
func (ps *providers) verifyNew(ctx context.Context, g *session.Grant, want oidc.Expected) error {
	p, err := ps.of(ctx, g)
	if err != nil {
		return err
	}
	if !p.cached {
		_, err = p.verifyIDToken(ctx, g.ClientID, g.NewIDToken.Reveal(), want)
		return err
	}
	brief, cancel := context.WithTimeout(ctx, besideWait) // the server of its keys may hang
	defer cancel()
	_, failed := p.verifyIDToken(brief, g.ClientID, g.NewIDToken.Reveal(), want)
	if failed == nil {
		return nil
	}
	p, err = ps.get(ctx, g.Issuer)
	switch {
	case err != nil:
		return err
	case p.cached && (errors.Is(failed, jose.ErrUnsigned) || errors.Is(failed, oidc.ErrIdentity)):
		return errors.New("the refreshed ID token cannot be checked, because the provider's metadata " +
			"cannot be fetched; try again in a minute")
	case p.cached:
		return failed
	}
	if p.keys != nil {
		_ = p.keys.Retry(ctx) // a failure from before the metadata were fetched counts no more
	}
	_, err = p.verifyIDToken(ctx, g.ClientID, g.NewIDToken.Reveal(), want)
	return err
}

// revoke tells the provider that g has ended (RFC 7009). The refresh token comes
// first, since it usually takes the access tokens with it. It is
// session.Keeper.Revoke.
func (ps *providers) revoke(ctx context.Context, g *session.Grant) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	p, err := ps.get(ctx, g.Issuer)
	if err != nil {
		return err
	}
	if p.doc.RevocationEndpoint == "" {
		return unsupported("the provider has no revocation_endpoint")
	}
	id := ps.cfg.identityOf(g)
	req := p.request(id, p.doc.RevocationEndpoint, nil, oauth.DPoPKey{})
	if p.doc.RevocationEndpointAuthMethodsSupported != nil {
		req.AuthMethods = p.doc.RevocationEndpointAuthMethodsSupported
		req.AuthAlgs = p.doc.RevocationEndpointAuthSigningAlgValuesSupported
	}
	var errs []error
	ended := false // the session, with its refresh token
	revoke := func(token wire.Secret, hint string) {
		req, err := p.authenticated(ctx, id, req)
		if err == nil {
			err = oauth.Revoke(ctx, p.fetch, req, token, hint)
		}
		var refused *oauth.Error
		if ended && errors.As(err, &refused) &&
			slices.Contains([]string{"invalid_token", "unsupported_token_type", "invalid_request"}, refused.Code) {
			err = nil // it ended with the refresh token, or cannot be revoked by itself
		}
		errs = append(errs, ps.failed("revocation", err))
		ended = ended || err == nil && hint == "refresh_token"
	}
	if !g.RefreshToken.IsZero() {
		revoke(g.RefreshToken, "refresh_token")
	}
	for _, t := range g.Tokens {
		if !t.AccessToken.IsZero() && time.Now().Before(t.Expiry) {
			revoke(t.AccessToken, "access_token")
		}
	}
	return errors.Join(errs...)
}

// failed returns the error of a request to endpoint as a program sees it. nil stays nil.
func (ps *providers) failed(endpoint string, err error) error {
	var own *workloadError
	if errors.As(err, &own) { // the request was not sent
		return &functionError{own}
	}
	err = fromEndpoint(endpoint, err)
	if e, ok := err.(*Error); ok {
		e.workload = !ps.cfg.keeps()
	}
	return err
}

// discard revokes tokens that were issued and will not be used, on a best-effort
// basis.
func (ps *providers) discard(ctx context.Context, g *session.Grant) {
	if err := ps.revoke(context.WithoutCancel(ctx), g); err != nil {
		ps.log.Info("unused tokens were not revoked", "err", err)
	}
}

// userinfo fetches the claims of the user whose token client adds (OpenID Connect
// Core §5.3). Their sub must be subject.
func (p *provider) userinfo(ctx context.Context, client *fetch.Client, clientID, subject string) ([]byte, error) {
	return oidc.FetchUserinfo(ctx, client, oidc.UserinfoRequest{
		Endpoint: p.doc.UserinfoEndpoint, Subject: subject, Issuer: p.issuer, ClientID: clientID,
		Keys: p.keys, Algorithms: p.doc.UserinfoAlgorithms(),
	})
}

// introspect asks what the provider makes of an access token (RFC 7662).
func (p *provider) introspect(ctx context.Context, id identity, token wire.Secret) ([]byte, error) {
	if p.doc.IntrospectionEndpoint == "" {
		return nil, unsupported("the provider has no introspection_endpoint")
	}
	req := p.request(id, p.doc.IntrospectionEndpoint, nil, oauth.DPoPKey{})
	if p.doc.IntrospectionEndpointAuthMethodsSupported != nil {
		req.AuthMethods = p.doc.IntrospectionEndpointAuthMethodsSupported
		req.AuthAlgs = p.doc.IntrospectionEndpointAuthSigningAlgValuesSupported
	}
	req, err := p.authenticated(ctx, id, req)
	if err != nil {
		return nil, p.failed("introspection", err)
	}
	data, err := oauth.Introspect(ctx, p.fetch, req, token, "access_token")
	return data, p.failed("introspection", err)
}
