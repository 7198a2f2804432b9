package oauthclient

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// UserInfo asks the provider about the user and decodes the answer into v (OpenID Connect Core §5.3). Its sub must be the session's.
// [errors.ErrUnsupported]: the provider has no such endpoint, or no one signed in with openid.
func (s *Session) UserInfo(ctx context.Context, v any) error {
	c := s.account.client
	if err := c.begin(); err != nil {
		return err
	}
	defer c.done()
	claims, err := s.claims()
	if err != nil {
		return err
	}
	g := s.account.grant.Load()
	if g == nil {
		return c.failure(session.ErrAbsent)
	}
	p, err := c.provider(ctx, g.Issuer)
	if err != nil {
		return err
	}
	if p.doc.UserinfoEndpoint == "" {
		return unsupported("the provider has no userinfo_endpoint")
	}
	if _, err := s.Token(ctx); err != nil {
		return err
	}
	sent := &overheard{base: p.fetch.Transport}
	way := &fetch.Client{Transport: &transport{session: s.account.session("", nil), base: sent, provider: true}}
	data, err := oidc.FetchUserinfo(ctx, way, oidc.UserinfoRequest{
		Endpoint: p.doc.UserinfoEndpoint, Subject: claims.Subject, Issuer: p.issuer, ClientID: g.ClientID,
		Keys: p.keys, Algorithms: p.doc.UserinfoAlgorithms(),
	})
	var ue *oidc.UserinfoError
	switch {
	case errors.As(err, &ue):
		return &Error{Endpoint: "userinfo", Code: sent.without(ue.Code), Description: sent.without(ue.Description), Status: ue.Status, RetryAfter: ue.RetryAfter}
	case err != nil:
		return err
	}
	return decode("userinfo", data, v)
}

// overheard remembers what one call sends in confidence: the token, another one after a refresh on the way, the proofs.
type overheard struct {
	base http.RoundTripper
	said []string
}

func (o *overheard) RoundTrip(req *http.Request) (*http.Response, error) {
	_, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	o.said = append(o.said, token, req.Header.Get("DPoP"))
	return o.base.RoundTrip(req)
}

// without returns a server's words, or "" where they repeat what it was sent: whole, or cut off with the text's end.
func (o *overheard) without(words string) string {
	if slices.ContainsFunc(o.said, func(s string) bool { return s != "" && strings.Contains(words, s[:min(len(s), 12)]) }) {
		return ""
	}
	return words
}

func decode(what string, data []byte, v any) error {
	if err := wire.UnmarshalJSON(data, v); err != nil {
		return invalid("%s: %w", what, err)
	}
	return nil
}

// Introspect asks the provider what it makes of the access token and decodes the answer into v (RFC 7662); for debugging. A token that it
// does not honour is {"active": false}. Many providers refuse public clients. [errors.ErrUnsupported]: there is no such endpoint.
func (s *Session) Introspect(ctx context.Context, v any) error {
	c := s.account.client
	if err := c.begin(); err != nil {
		return err
	}
	defer c.done()
	tok, err := s.Token(ctx)
	if err != nil {
		return err
	}
	g := s.account.grant.Load()
	if g == nil {
		return c.failure(session.ErrAbsent)
	}
	p, err := c.provider(ctx, g.Issuer)
	if err != nil {
		return err
	}
	if p.doc.IntrospectionEndpoint == "" {
		return unsupported("the provider has no introspection_endpoint")
	}
	req := c.request(p, c.identityOf(g), p.doc.IntrospectionEndpoint, nil, oauth.DPoPKey{})
	if p.doc.IntrospectionEndpointAuthMethodsSupported != nil {
		req.AuthMethods, req.AuthAlgs = p.doc.IntrospectionEndpointAuthMethodsSupported, p.doc.IntrospectionEndpointAuthSigningAlgValuesSupported
	}
	data, err := oauth.Introspect(ctx, p.fetch, req, wire.NewSecret(tok.AccessToken), "access_token")
	if err != nil {
		return fromEndpoint("introspection", err)
	}
	return decode("introspection", data, v)
}
