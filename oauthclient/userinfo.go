package oauthclient

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// UserInfo asks the provider about the user and decodes the answer into v (OpenID
// Connect Core §5.3), a pointer to a struct or map. Names match exactly. The
// answer's sub must be the session's. UserInfo fails with [errors.ErrUnsupported] if
// the provider has no such endpoint, or if the login did not ask for openid.
func (s *Session) UserInfo(ctx context.Context, v any) error {
	c := s.client
	if err := c.begin(); err != nil {
		return err
	}
	defer c.done()
	claims, err := s.claims()
	if err != nil {
		return err
	}
	g, err := s.account.GrantOf(s.slot)
	if err != nil {
		return failure(err)
	}
	p, err := c.providers.get(ctx, g.Issuer)
	if err != nil {
		return err
	}
	if p.doc.UserinfoEndpoint == "" {
		return unsupported("the provider has no userinfo_endpoint")
	}
	if _, err := s.Token(ctx); err != nil { // here its error is still what it was
		return err
	}
	sent := &overheard{base: p.fetch.Transport}
	own := &transport{session: s.like("", nil), base: sent, provider: true}
	data, err := p.userinfo(ctx, &fetch.Client{Transport: own}, g.ClientID, claims.Subject)
	var ue *oidc.UserinfoError
	switch {
	case errors.As(err, &ue):
		return &Error{
			Endpoint: "userinfo", Code: sent.without(ue.Code), Description: sent.without(ue.Description),
			Status: ue.Status, RetryAfter: ue.RetryAfter,
		}
	case err != nil:
		return err
	}
	return decode("userinfo", data, v)
}

// overheard remembers what one call sends in confidence: the token, another one if
// a refresh came between, and the proofs. A server may repeat them in its error.
type overheard struct {
	base http.RoundTripper
	said []string
}

func (o *overheard) RoundTrip(req *http.Request) (*http.Response, error) {
	_, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	o.said = append(o.said, token, req.Header.Get("DPoP"))
	return o.base.RoundTrip(req)
}

// without returns a server's words, or "" if they repeat what it was sent: whole, or
// cut off with the text's end.
func (o *overheard) without(words string) string {
	repeats := func(s string) bool { return s != "" && strings.Contains(words, s[:min(len(s), 12)]) }
	if slices.ContainsFunc(o.said, repeats) {
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

// Introspect asks the provider what it makes of the access token and decodes the
// answer into v (RFC 7662), a pointer to a struct or map. It is for debugging. The
// answer for a token that the provider does not honour is {"active": false}. Many
// providers refuse public clients. Introspect fails with [errors.ErrUnsupported] if
// there is no such endpoint.
func (s *Session) Introspect(ctx context.Context, v any) error {
	c := s.client
	if err := c.begin(); err != nil {
		return err
	}
	defer c.done()
	tok, err := s.Token(ctx)
	if err != nil {
		return err
	}
	g, err := s.account.GrantOf(s.slot)
	if err != nil {
		return failure(err)
	}
	p, err := c.providers.get(ctx, g.Issuer)
	if err != nil {
		return err
	}
	data, err := p.introspect(ctx, c.cfg.identityOf(g), wire.NewSecret(tok.AccessToken))
	if err != nil {
		return err
	}
	return decode("introspection", data, v)
}
