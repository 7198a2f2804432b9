package authserver

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// maxRegistered bounds the clients that registered themselves. The oldest is
// forgotten first.
const maxRegistered = 1000

// canRegister reports whether there is a registration endpoint.
func (s *Server) canRegister() bool {
	return s.cfg.OpenRegistration || s.cfg.InitialAccessToken != ""
}

// registration is the metadata that a client registers itself with (RFC 7591
// §2).
type registration struct {
	RedirectURIs           []string        `json:"redirect_uris,omitempty"`
	PostLogoutRedirectURIs []string        `json:"post_logout_redirect_uris,omitempty"`
	AuthMethod             string          `json:"token_endpoint_auth_method,omitempty"`
	GrantTypes             []string        `json:"grant_types,omitempty"`
	ResponseTypes          []string        `json:"response_types,omitempty"`
	ApplicationType        string          `json:"application_type,omitempty"`
	Name                   string          `json:"client_name,omitempty"`
	JWKS                   json.RawMessage `json:"jwks,omitempty"`
	JWKSURI                string          `json:"jwks_uri,omitempty"`
	// RFC 9449 §5.2
	BoundTokens bool `json:"dpop_bound_access_tokens,omitempty"`
	// RFC 9126 §6
	RequirePAR bool `json:"require_pushed_authorization_requests,omitempty"`
}

// registered is the response to a registration (RFC 7591 §3.2.1).
type registered struct {
	ID            string `json:"client_id"`
	Secret        string `json:"client_secret,omitempty"`
	SecretExpires *int   `json:"client_secret_expires_at,omitempty"`
	IssuedAt      int64  `json:"client_id_issued_at"`
	registration
}

// serveRegistration is the registration endpoint (RFC 7591 §3).
func (s *Server) serveRegistration(r *request) (*reply, *oauthError) {
	wanted, e := s.readRegistration(r)
	if e != nil {
		return nil, e
	}
	c, e := wanted.client()
	if e != nil {
		return nil, e
	}
	c.ID = newToken("client_")
	out := registered{ID: c.ID, IssuedAt: s.now().Unix(), registration: wanted}
	if c.Auth == AuthBasic || c.Auth == AuthPost {
		out.Secret, out.SecretExpires = newToken("cs_"), new(int) // 0: it does not expire
		c.Secret = wire.NewSecret(out.Secret)
	}
	if err := c.check(); err != nil {
		if strings.Contains(err.Error(), "redirect URI") {
			return nil, fail("invalid_redirect_uri", err.Error())
		}
		return nil, badMetadata(err.Error())
	}
	out.AuthMethod, out.GrantTypes, out.ResponseTypes = c.Auth, c.Grants, []string{"code"}

	s.mu.Lock()
	s.forgetOldestClient()
	s.clients[c.ID] = c
	s.registered = append(s.registered, c.ID)
	s.mu.Unlock()
	return jsonReply(http.StatusCreated, out)
}

// readRegistration reads the body after it has checked the initial access
// token, so that a stranger cannot make the server parse anything.
func (s *Server) readRegistration(r *request) (wanted registration, e *oauthError) {
	token := s.cfg.InitialAccessToken
	if token != "" && !equal(r.Header.Get("Authorization"), "Bearer "+token) {
		e = invalidToken("registration needs the initial access token")
		e.challenge = `Bearer realm="authserver", error="invalid_token"`
		return wanted, e
	}
	if !hasMediaType(r.Request, "application/json") {
		return wanted, badMetadata("the body must be application/json")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || wire.UnmarshalJSON(body, &wanted) != nil {
		return wanted, badMetadata(
			"the body is not the JSON that RFC 7591 §2 describes, or is too large")
	}
	return wanted, nil
}

func badMetadata(why string) *oauthError { return fail("invalid_client_metadata", why) }

// forgetOldestClient keeps the number of clients within maxRegistered. It is
// called with s.mu held.
func (s *Server) forgetOldestClient() {
	if len(s.registered) >= maxRegistered {
		delete(s.clients, s.registered[0])
		s.registered = slices.Delete(s.registered, 0, 1)
	}
}

// client returns the client that a registration describes, with the defaults of
// RFC 7591 §2.
func (a registration) client() (*Client, *oauthError) {
	c := &Client{
		Name:                   a.Name,
		RedirectURIs:           a.RedirectURIs,
		PostLogoutRedirectURIs: a.PostLogoutRedirectURIs,
		Auth:                   cmp.Or(a.AuthMethod, AuthBasic),
		Grants:                 a.GrantTypes,
		RequirePAR:             a.RequirePAR,
		RequireDPoP:            a.BoundTokens,
	}
	if c.Grants == nil {
		c.Grants = []string{grantCode}
	}
	if len(a.JWKS) > 0 {
		c.Keys = &jose.JSONWebKeySet{}
		if json.Unmarshal(a.JWKS, c.Keys) != nil {
			return nil, badMetadata("jwks is malformed")
		}
	}
	notHTTPS := func(uri string) bool { return !strings.HasPrefix(uri, "https:") }
	switch {
	case len(c.Name) > 100:
		return nil, badMetadata("client_name is too long")
	case len(c.RedirectURIs)+len(c.PostLogoutRedirectURIs) > 20:
		return nil, badMetadata("there are too many redirect URIs")
	case a.JWKSURI != "":
		return nil, badMetadata("jwks_uri is not supported; send jwks")
	case !subset(c.Grants, []string{grantCode, grantRefresh, grantDevice}):
		return nil, badMetadata("grant_types has an unsupported one")
	case !subset(a.ResponseTypes, []string{"code"}):
		return nil, badMetadata("only response type code is supported")
	case slices.Contains(c.Grants, grantCode) && len(c.RedirectURIs) == 0:
		return nil, fail("invalid_redirect_uri", "redirect_uris is missing")
	case a.ApplicationType != "" && a.ApplicationType != "native" && a.ApplicationType != "web":
		return nil, badMetadata("application_type is neither native nor web")
	case a.ApplicationType != "native" && slices.ContainsFunc(c.RedirectURIs, notHTTPS):
		// The default is web, which has no loopback redirect (OpenID Connect
		// Dynamic Client Registration §2).
		return nil, fail("invalid_redirect_uri",
			"a redirect URI that is not https needs application_type native")
	}
	return c, nil
}
