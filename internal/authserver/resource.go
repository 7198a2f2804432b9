package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Resource says which tokens an API accepts. The zero Resource accepts every
// access token of the server.
type Resource struct {
	// URL is the API's identifier (RFC 8707, RFC 9728). Only tokens that were
	// issued for it are accepted, and challenges point to its metadata. ""
	// accepts tokens whatever they were issued for.
	URL string
	// Scope are the scopes that a token needs, separated by spaces; "" means
	// none.
	Scope string
	// ACR and MaxAge demand a certain sign-in (RFC 9470): one of these classes,
	// separated by spaces, and not longer ago than this. "" and 0 mean any.
	ACR    string
	MaxAge time.Duration
	// RequireDPoP rejects bearer tokens.
	RequireDPoP bool
}

// Grant says for which user, and by which client, a protected API is called.
type Grant struct {
	Subject, ClientID string
}

type grantKey struct{}

// GrantFrom returns the grant of a request that [Server.Protect] let through.
func GrantFrom(ctx context.Context) (Grant, bool) {
	g, ok := ctx.Value(grantKey{}).(Grant)
	return g, ok
}

// Protect passes requests with a good access token to h, and answers the others
// with a challenge (RFC 6750 §3, RFC 9449 §7.1).
func (s *Server) Protect(res Resource, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme := "http://"
		if r.TLS != nil {
			scheme = "https://"
		}
		t, e := s.admit(w.Header(), r, res, scheme+r.Host+r.URL.EscapedPath())
		if e != nil {
			s.challenge(res, e).send(w)
			return
		}
		g := Grant{Subject: s.subjectOf(t.grant), ClientID: t.grant.client}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), grantKey{}, g)))
	})
}

// unauthorized is an error with status 401. code "" is for a request that did
// not try: its challenge has no error (RFC 6750 §3.1).
func unauthorized(code, why string) *oauthError {
	return &oauthError{http.StatusUnauthorized, code, why, ""}
}

func invalidToken(why string) *oauthError { return unauthorized("invalid_token", why) }

// admit returns the access token of a request to target, after all checks. It
// sets the header of the response that brings the next DPoP nonce.
func (s *Server) admit(
	header http.Header, r *http.Request, res Resource, target string,
) (*token, *oauthError) {
	if s.cfg.ResourceNonce {
		header.Set("DPoP-Nonce", s.nonce(noncesOfResource, s.now()))
	}
	value, dpop, e := readToken(r)
	if e != nil {
		return nil, e
	}
	s.mu.Lock()
	t := s.find(value)
	ok := t != nil && !t.refresh && s.good(t)
	s.mu.Unlock()
	switch {
	case !ok:
		return nil, invalidToken("the token is unknown, has expired or was revoked")
	case !dpop && t.jkt != "":
		// Otherwise a thief could drop the proof and use the token as a bearer
		// token (RFC 9449 §7.2).
		return nil, invalidToken("the token is bound to a DPoP key, and came as a bearer token")
	case dpop && t.jkt == "":
		return nil, invalidToken("the token is not bound to a DPoP key")
	case !dpop && (res.RequireDPoP || s.cfg.RequireDPoP):
		return nil, invalidToken("a token bound to a DPoP key is required")
	}
	if dpop {
		jkt, e := s.checkProof(r, target, value, noncesOfResource, s.cfg.ResourceNonce)
		switch {
		case e != nil:
			return nil, unauthorized(e.code, e.description)
		case jkt == "":
			return nil, unauthorized("invalid_dpop_proof", "the DPoP header is missing")
		case jkt != t.jkt:
			return nil, invalidToken("the token is bound to another DPoP key")
		}
	}
	return t, s.sufficient(t, res)
}

// readToken reads the Authorization header. dpop tells its scheme: DPoP or
// Bearer.
func readToken(r *http.Request) (token string, dpop bool, e *oauthError) {
	if strings.Contains(r.URL.RawQuery, "access_token=") {
		return "", false, invalidRequest("a token is not allowed in a URL (RFC 9700 §4.3.2)")
	}
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", false, unauthorized("", "")
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 || token == "" || strings.ContainsAny(token, " ,") {
		return "", false, invalidRequest(
			"the Authorization header is malformed, or there are several")
	}
	dpop = strings.EqualFold(scheme, "DPoP")
	if !dpop && !strings.EqualFold(scheme, "Bearer") {
		return "", false, unauthorized("", "")
	}
	return token, dpop, nil
}

// sufficient checks whether a valid token is enough for a resource.
func (s *Server) sufficient(t *token, res Resource) *oauthError {
	if res.URL != "" && !slices.Contains(t.audience, res.URL) {
		return invalidToken("the token was issued for another resource")
	}
	if !subset(strings.Fields(res.Scope), t.scope) {
		why := "the token lacks a scope"
		return &oauthError{http.StatusForbidden, "insufficient_scope", why, ""}
	}
	badACR := res.ACR != "" && !slices.Contains(strings.Fields(res.ACR), t.grant.acr)
	if badACR || res.MaxAge > 0 && s.now().Sub(t.grant.authTime) > res.MaxAge {
		return unauthorized(needsSignIn, "another, or a more recent, sign-in is required")
	}
	return nil
}

// needsSignIn is the error code of RFC 9470 §3.
const needsSignIn = "insufficient_user_authentication"

// challenge is the response to a request whose token is not enough. It names
// both schemes if either would do.
func (s *Server) challenge(res Resource, e *oauthError) *reply {
	params := []string{"realm", "authserver"}
	if e.code != "" {
		params = append(params, "error", e.code, "error_description", e.description)
	}
	if res.Scope != "" {
		params = append(params, "scope", res.Scope)
	}
	if u, err := url.Parse(res.URL); err == nil && res.URL != "" { // RFC 9728 §5.1
		meta := u.Scheme + "://" + u.Host + resourceMetadataPath(u)
		params = append(params, "resource_metadata", meta)
	}
	if e.code == needsSignIn && res.ACR != "" {
		params = append(params, "acr_values", res.ACR)
	}
	if e.code == needsSignIn && res.MaxAge > 0 {
		params = append(params, "max_age", fmt.Sprint(int(res.MaxAge.Seconds())))
	}
	var values []string
	proof := e.code == "use_dpop_nonce" || e.code == "invalid_dpop_proof"
	if !res.RequireDPoP && !s.cfg.RequireDPoP && !proof {
		values = append(values, "Bearer "+quoteParams(params))
	}
	params = append(params, "algs", strings.Join(algorithmNames(), " "))
	values = append(values, "DPoP "+quoteParams(params))
	header := http.Header{"Www-Authenticate": values}
	return &reply{e.status, header, []byte(http.StatusText(e.status))}
}

// quoteParams writes pairs of names and values as the parameters of a challenge
// (RFC 9110 §11.2).
func quoteParams(params []string) string {
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for i := 0; i < len(params); i += 2 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `%s="%s"`, params[i], escape.Replace(params[i+1]))
	}
	return b.String()
}

// ResourceMetadata serves a resource's metadata (RFC 9728 §2). It belongs at
// [ResourceMetadataPath].
func (s *Server) ResourceMetadata(res Resource) http.Handler {
	handle := func(*request) (*reply, *oauthError) {
		return jsonReply(http.StatusOK, map[string]any{
			"resource":                          res.URL,
			"authorization_servers":             []string{s.cfg.Issuer},
			"scopes_supported":                  append([]string{}, strings.Fields(res.Scope)...),
			"bearer_methods_supported":          []string{"header"},
			"dpop_signing_alg_values_supported": algorithmNames(),
			"dpop_bound_access_tokens_required": res.RequireDPoP || s.cfg.RequireDPoP,
		})
	}
	return s.adapt(&endpoint{methods: []string{http.MethodGet}, handle: handle})
}

// ResourceMetadataPath returns the path of a resource's metadata on its host.
// The well-known part comes before the resource's own path (RFC 9728 §3.1).
func ResourceMetadataPath(resource string) (string, error) {
	u, err := url.Parse(resource)
	if err != nil {
		return "", errors.New("authserver: the resource is no URL")
	}
	return resourceMetadataPath(u), nil
}

func resourceMetadataPath(resource *url.URL) string {
	return "/.well-known/oauth-protected-resource" + strings.TrimSuffix(resource.EscapedPath(), "/")
}
