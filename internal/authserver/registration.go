package authserver

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// maxRegistered bounds the clients that registered themselves; the oldest goes.
const maxRegistered = 1000

func (s *Server) canRegister() bool { return s.cfg.OpenRegistration || s.cfg.InitialAccessToken != "" }

// registration is what a client says of itself (RFC 7591 §2).
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
	SignedUserinfo         string          `json:"userinfo_signed_response_alg,omitempty"`
	BoundTokens            bool            `json:"dpop_bound_access_tokens,omitempty"`              // RFC 9449 §5.2
	RequirePAR             bool            `json:"require_pushed_authorization_requests,omitempty"` // RFC 9126 §6
}

type registered struct {
	ID            string `json:"client_id"`
	Secret        string `json:"client_secret,omitempty"`
	SecretExpires *int   `json:"client_secret_expires_at,omitempty"`
	IssuedAt      int64  `json:"client_id_issued_at"`
	registration
}

func (s *Server) serveRegistration(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	if s.cfg.InitialAccessToken != "" && !equal(r.Header.Get("Authorization"), "Bearer "+s.cfg.InitialAccessToken) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="authserver", error="invalid_token"`)
		answerRefusal(w, &refusal{status: http.StatusUnauthorized, code: "invalid_token", description: "registration needs the initial access token"})
		return
	}
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		answerRefusal(w, refuse("invalid_client_metadata", "the body must be application/json"))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var asked registration
	if err != nil || wire.UnmarshalJSON(body, &asked) != nil {
		answerRefusal(w, refuse("invalid_client_metadata", "the body is not the JSON that RFC 7591 §2 describes, or is too large"))
		return
	}
	c, e := asked.client()
	if e != nil {
		answerRefusal(w, e)
		return
	}
	now := s.now()
	c.ID = newToken("client_")
	out := registered{ID: c.ID, IssuedAt: now.Unix(), registration: asked}
	if c.Auth == AuthBasic || c.Auth == AuthPost {
		out.Secret, out.SecretExpires = newToken("cs_"), new(int)
		c.Secret = wire.NewSecret(out.Secret)
	}
	if err := c.check(); err != nil {
		code := "invalid_client_metadata"
		if strings.Contains(err.Error(), "redirect URI") {
			code = "invalid_redirect_uri"
		}
		answerRefusal(w, refuse(code, err.Error()))
		return
	}
	out.AuthMethod, out.GrantTypes, out.ResponseTypes = c.Auth, c.Grants, []string{"code"}

	s.mu.Lock()
	s.forgetOldestClient()
	s.clients[c.ID] = c
	s.registered = append(s.registered, c.ID)
	s.mu.Unlock()
	answer(w, http.StatusCreated, out)
}

func (s *Server) forgetOldestClient() {
	if len(s.registered) >= maxRegistered {
		delete(s.clients, s.registered[0])
		s.registered = slices.Delete(s.registered, 0, 1)
	}
}

// client reads what was asked, with the defaults of RFC 7591 §2.
func (a registration) client() (*Client, *refusal) {
	bad := func(why string) (*Client, *refusal) { return nil, refuse("invalid_client_metadata", why) }
	c := &Client{
		Name:                   a.Name,
		RedirectURIs:           a.RedirectURIs,
		PostLogoutRedirectURIs: a.PostLogoutRedirectURIs,
		Auth:                   a.AuthMethod,
		Grants:                 a.GrantTypes,
		RequirePAR:             a.RequirePAR,
		RequireDPoP:            a.BoundTokens,
		SignedUserinfo:         a.SignedUserinfo != "",
	}
	if c.Auth == "" {
		c.Auth = AuthBasic
	}
	if c.Grants == nil {
		c.Grants = []string{grantCode}
	}
	if len(a.JWKS) > 0 {
		c.Keys = &jose.JSONWebKeySet{}
		if json.Unmarshal(a.JWKS, c.Keys) != nil {
			return bad("jwks is malformed")
		}
	}
	switch {
	case len(c.Name) > 100:
		return bad("client_name is too long")
	case len(c.RedirectURIs)+len(c.PostLogoutRedirectURIs) > 20:
		return bad("there are too many redirect URIs")
	case a.JWKSURI != "":
		return bad("jwks_uri is not supported; send jwks")
	case !subset(c.Grants, []string{grantCode, grantRefresh, grantDevice}):
		return bad("grant_types has an unsupported one")
	case !subset(a.ResponseTypes, []string{"code"}):
		return bad("only response type code is supported")
	case slices.Contains(c.Grants, grantCode) && len(c.RedirectURIs) == 0:
		return nil, refuse("invalid_redirect_uri", "redirect_uris is missing")
	case a.ApplicationType != "" && a.ApplicationType != "native" && a.ApplicationType != "web":
		return bad("application_type is neither native nor web")
	case a.ApplicationType != "native" && slices.ContainsFunc(c.RedirectURIs, func(u string) bool { return !strings.HasPrefix(u, "https:") }):
		// OpenID Connect Dynamic Client Registration §2: the default, web, has no loopback redirect.
		return nil, refuse("invalid_redirect_uri", "a redirect URI that is not https needs application_type native")
	}
	return c, nil
}

// AddClient makes a client known, in place of the one with its ID.
func (s *Server) AddClient(c Client) error {
	if err := c.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = &c
	return nil
}

// RemoveClient forgets a client, as a provider does with registrations that it no longer wants.
func (s *Server) RemoveClient(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, id)
}
