package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Resource says what an API asks of the tokens that it takes.
type Resource struct {
	// URL is the API's identifier (RFC 8707, RFC 9728): only tokens that were issued for it are taken, and challenges point to
	// its metadata. "": tokens are taken whatever they were issued for.
	URL string
	// Scope are the scopes a token needs, separated by spaces; "": any token will do.
	Scope string
	// ACR and MaxAge ask for a certain sign-in (RFC 9470): one of these classes, separated by spaces, and not longer ago than this.
	// "" and 0: any.
	ACR    string
	MaxAge time.Duration
	// RequireDPoP refuses bearer tokens.
	RequireDPoP bool
}

// Grant is what a request to a protected API is allowed to do, and for whom.
type Grant struct {
	Subject, ClientID string
	Scope             []string
	DPoP              bool
}

type grantKey struct{}

// GrantFrom returns the grant of a request that [Server.Protect] let through.
func GrantFrom(ctx context.Context) (Grant, bool) {
	g, ok := ctx.Value(grantKey{}).(Grant)
	return g, ok
}

// Protect lets requests with a good access token through to h, and answers the others with a challenge (RFC 6750 §3, RFC 9449 §7.1).
func (s *Server) Protect(res Resource, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme := "http://"
		if r.TLS != nil {
			scheme = "https://"
		}
		t, ok := s.admit(w, r, res, scheme+r.Host+r.URL.EscapedPath())
		if !ok {
			return
		}
		g := Grant{Subject: s.subject(t.grant.user), ClientID: t.grant.client, Scope: t.scope, DPoP: t.jkt != ""}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), grantKey{}, g)))
	})
}

// admit checks the token of a request to target. false: the challenge is written.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, res Resource, target string) (*accessToken, bool) {
	if s.cfg.ResourceNonce {
		w.Header().Set("DPoP-Nonce", s.nonce(noncesOfResource, s.now()))
	}
	challenge := func(status int, code, why string, more ...string) (*accessToken, bool) {
		s.challenge(w, res, status, code, why, more...)
		return nil, false
	}
	if strings.Contains(r.URL.RawQuery, "access_token=") {
		return challenge(http.StatusBadRequest, "invalid_request", "a token has no place in a URL (RFC 9700 §4.3.2)")
	}
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return challenge(http.StatusUnauthorized, "", "") // nothing was tried, so nothing is said of an error (RFC 6750 §3.1)
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 || token == "" || strings.ContainsAny(token, " ,") {
		return challenge(http.StatusBadRequest, "invalid_request", "the Authorization header is malformed, or there are several")
	}
	dpop := strings.EqualFold(scheme, "DPoP")
	if !dpop && !strings.EqualFold(scheme, "Bearer") {
		return challenge(http.StatusUnauthorized, "", "")
	}

	s.mu.Lock()
	t, ok := s.access.get(hash(token), s.now())
	live := ok && s.liveAccess(t)
	s.mu.Unlock()
	switch {
	case !live:
		return challenge(http.StatusUnauthorized, "invalid_token", "the token is unknown, has expired or was revoked")
	case !dpop && t.jkt != "":
		return challenge(http.StatusUnauthorized, "invalid_token", "the token is bound to a DPoP key, and came as a bearer token")
	case dpop && t.jkt == "":
		return challenge(http.StatusUnauthorized, "invalid_token", "the token is not bound to a DPoP key")
	case !dpop && (res.RequireDPoP || s.cfg.RequireDPoP):
		return challenge(http.StatusUnauthorized, "invalid_token", "a token bound to a DPoP key is required")
	}
	if dpop {
		jkt, e := s.checkProof(r, target, token, noncesOfResource, s.cfg.ResourceNonce)
		if e == nil && jkt == "" {
			e = badProof("the DPoP header is missing")
		}
		if e == nil && jkt != t.jkt {
			e = refuse("invalid_token", "the token is bound to another DPoP key")
		}
		if e != nil {
			return challenge(http.StatusUnauthorized, e.code, e.description)
		}
	}
	if res.URL != "" && !slices.Contains(t.audience, res.URL) {
		return challenge(http.StatusUnauthorized, "invalid_token", "the token was issued for another resource")
	}
	if !subset(strings.Fields(res.Scope), t.scope) {
		return challenge(http.StatusForbidden, "insufficient_scope", "the token lacks a scope")
	}
	if res.ACR != "" && !slices.Contains(strings.Fields(res.ACR), t.grant.acr) ||
		res.MaxAge > 0 && s.now().Sub(t.grant.authTime) > res.MaxAge {
		var more []string
		if res.ACR != "" {
			more = append(more, "acr_values", res.ACR)
		}
		if res.MaxAge > 0 {
			more = append(more, "max_age", fmt.Sprint(int(res.MaxAge.Seconds())))
		}
		return challenge(http.StatusUnauthorized, "insufficient_user_authentication", "another, or a more recent, sign-in is required", more...)
	}
	return t, true
}

// challenge writes what a client must bring. Where both schemes would do, both are named.
func (s *Server) challenge(w http.ResponseWriter, res Resource, status int, code, why string, more ...string) {
	params := []string{"realm", "authserver"}
	if code != "" {
		params = append(params, "error", code, "error_description", why)
	}
	if res.Scope != "" {
		params = append(params, "scope", res.Scope)
	}
	if res.URL != "" {
		if meta, err := resourceMetadataURL(res.URL); err == nil {
			params = append(params, "resource_metadata", meta) // RFC 9728 §5.1
		}
	}
	params = append(params, more...)
	proof := code == "use_dpop_nonce" || code == "invalid_dpop_proof"
	if !res.RequireDPoP && !s.cfg.RequireDPoP && !proof {
		w.Header().Add("WWW-Authenticate", "Bearer "+quoteParams(params))
	}
	w.Header().Add("WWW-Authenticate", "DPoP "+quoteParams(append(params, "algs", strings.Join(algorithmNames(), " "))))
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(status), status)
}

func quoteParams(params []string) string {
	var b strings.Builder
	for i := 0; i < len(params); i += 2 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `%s="%s"`, params[i], strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(params[i+1]))
	}
	return b.String()
}

// ResourceMetadata serves a resource's metadata (RFC 9728 §2). It belongs at [ResourceMetadataPath].
func (s *Server) ResourceMetadata(res Resource) http.Handler {
	body, err := json.Marshal(map[string]any{
		"resource":                          res.URL,
		"authorization_servers":             []string{s.cfg.Issuer},
		"scopes_supported":                  append([]string{}, strings.Fields(res.Scope)...),
		"bearer_methods_supported":          []string{"header"},
		"dpop_signing_alg_values_supported": algorithmNames(),
		"dpop_bound_access_tokens_required": res.RequireDPoP || s.cfg.RequireDPoP,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !allow(w, r, http.MethodGet) {
			return
		}
		if err != nil {
			http.Error(w, "the metadata cannot be written as JSON", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
}

const resourceWellKnown = "/.well-known/oauth-protected-resource"

// ResourceMetadataPath returns where the metadata of the resource with this identifier is found on its host: the well-known part
// comes before the path (RFC 9728 §3.1).
func ResourceMetadataPath(resource string) (string, error) {
	u, err := url.Parse(resource)
	if err != nil {
		return "", errors.New("authserver: the resource is no URL")
	}
	return resourceWellKnown + strings.TrimSuffix(u.EscapedPath(), "/"), nil
}

func resourceMetadataURL(resource string) (string, error) {
	path, err := ResourceMetadataPath(resource)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(resource)
	if err != nil {
		return "", err
	}
	return u.Scheme + "://" + u.Host + path, nil
}
