package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"

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
	p, err := c.provider(ctx)
	if err != nil {
		return err
	}
	if p.doc.UserinfoEndpoint == "" {
		return unsupported("the provider has no userinfo_endpoint")
	}
	ask := func() ([]byte, error) {
		tok, err := s.Token(ctx)
		if err != nil {
			return nil, err
		}
		return userinfo.Fetch(ctx, c.fetch, userinfo.Request{
			Endpoint: p.doc.UserinfoEndpoint, Subject: claims.Subject, Issuer: c.issuer, ClientID: c.cfg.ClientID, Keys: p.keys,
			Algorithms: p.doc.UserinfoSigningAlgValuesSupported,
			Authorize: func(req *http.Request) error {
				req.Header.Set("Authorization", tok.TokenType+" "+tok.AccessToken)
				return nil
			},
		})
	}
	data, err := ask()
	var ue *userinfo.Error
	if errors.As(err, &ue) && ue.Code == "invalid_token" {
		if rerr := s.Refresh(ctx); rerr != nil {
			return rerr
		}
		data, err = ask()
	}
	if errors.As(err, &ue) {
		return &Error{Endpoint: "userinfo", Code: ue.Code, Description: ue.Description, Status: ue.Status, RetryAfter: ue.RetryAfter}
	}
	if errors.Is(err, userinfo.ErrResponse) {
		return fmt.Errorf("%w: %w", ErrInvalidResponse, err)
	}
	if err != nil {
		return err
	}
	if err := strictjson.Unmarshal(data, v); err != nil {
		return invalid("userinfo: %w", err)
	}
	return nil
}
