package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/dpop"
	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/grant"
	"github.com/nativeoauth/nativeoauth/internal/introspection"
	"github.com/nativeoauth/nativeoauth/internal/secret"
	"github.com/nativeoauth/nativeoauth/internal/strictjson"
	"github.com/nativeoauth/nativeoauth/internal/userinfo"
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
		return c.failure(grant.ErrAbsent)
	}
	p, err := c.provider(ctx, g.Issuer)
	if err != nil {
		return err
	}
	if p.doc.UserinfoEndpoint == "" {
		return unsupported("the provider has no userinfo_endpoint")
	}
	tok, err := s.Token(ctx)
	if err != nil {
		return err
	}
	way := &fetch.Client{Transport: &transport{session: s.account.session("", nil), base: p.fetch.Transport, provider: true}}
	data, err := userinfo.Fetch(ctx, way, userinfo.Request{
		Endpoint: p.doc.UserinfoEndpoint, Subject: claims.Subject, Issuer: p.issuer, ClientID: g.ClientID,
		Keys: p.keys, Algorithms: p.doc.UserinfoAlgorithms(),
	})
	var ue *userinfo.Error
	switch {
	case errors.As(err, &ue):
		return &Error{Endpoint: "userinfo", Code: ue.Code, Description: withoutToken(ue.Description, tok.AccessToken), Status: ue.Status, RetryAfter: ue.RetryAfter}
	case errors.Is(err, userinfo.ErrResponse):
		return fmt.Errorf("%w: %w", ErrInvalidResponse, err)
	case err != nil:
		return err
	}
	return decode("userinfo", data, v)
}

// withoutToken returns a server's words, or "" where they repeat the token that it was sent: whole, or cut off with the text's end. A token that
// was refreshed on the way, or a proof, is known as a word longer than any that people read.
func withoutToken(said, token string) string {
	if strings.Contains(said, token[:min(len(token), 12)]) || slices.ContainsFunc(strings.Fields(said), func(w string) bool { return len(w) > 40 && !strings.Contains(w, "://") }) {
		return ""
	}
	return said
}

func decode(what string, data []byte, v any) error {
	if err := strictjson.Unmarshal(data, v); err != nil {
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
		return c.failure(grant.ErrAbsent)
	}
	p, err := c.provider(ctx, g.Issuer)
	if err != nil {
		return err
	}
	if p.doc.IntrospectionEndpoint == "" {
		return unsupported("the provider has no introspection_endpoint")
	}
	req := c.request(p, c.identityOf(g), p.doc.IntrospectionEndpoint, nil, dpop.Key{})
	if p.doc.IntrospectionEndpointAuthMethodsSupported != nil {
		req.AuthMethods, req.AuthAlgs = p.doc.IntrospectionEndpointAuthMethodsSupported, p.doc.IntrospectionEndpointAuthSigningAlgValuesSupported
	}
	data, err := introspection.Introspect(ctx, p.fetch, req, secret.New(tok.AccessToken), "access_token")
	if errors.Is(err, introspection.ErrResponse) {
		return fmt.Errorf("%w: %w", ErrInvalidResponse, err)
	}
	if err != nil {
		return fromEndpoint("introspection", err)
	}
	return decode("introspection", data, v)
}
