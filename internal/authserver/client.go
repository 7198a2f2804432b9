package authserver

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// The ways in which a client authenticates itself (RFC 6749 §2.3, RFC 7523
// §2.2, RFC 7591 §2).
const (
	AuthNone          = "none"
	AuthBasic         = "client_secret_basic"
	AuthPost          = "client_secret_post"
	AuthPrivateKeyJWT = "private_key_jwt"
)

// The grant types that a client may use.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"

	grantClient    = "client_credentials"
	grantAssertion = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantExchange  = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// Token types (RFC 8693 §3). The last is an identity assertion.
const (
	tokenTypeID    = "urn:ietf:params:oauth:token-type:id_token"
	tokenTypeIDJAG = "urn:ietf:params:oauth:token-type:id-jag"
)

// grants are the grant types that the server supports.
func (s *Server) grants() []string {
	all := []string{grantCode, grantRefresh, grantDevice, grantClient, grantExchange}
	if len(s.cfg.Trusted) > 0 {
		all = append(all, grantAssertion)
	}
	return all
}

// Client is a program that users sign in to.
type Client struct {
	ID   string
	Name string // shown to users; "" means ID
	// RedirectURIs are compared as strings. In those on http://127.0.0.1,
	// http://[::1] and http://localhost any port will do (RFC 8252 §7.3).
	RedirectURIs           []string
	PostLogoutRedirectURIs []string

	// Auth is one of the Auth constants; "" means AuthNone. A client
	// authenticates itself in this way and in no other.
	Auth   string
	Secret wire.Secret         // for AuthBasic and AuthPost
	Keys   *jose.JSONWebKeySet // for AuthPrivateKeyJWT
	// Platform and Subject are iss and sub of a JWT that authenticates the client with
	// AuthPrivateKeyJWT, in place of Keys. Platform is one of [Config.Trusted].
	Platform, Subject string

	// Grants are the grant types that it may use; nil means all.
	Grants []string
	// RequirePAR and RequireDPoP are as in [Config], for this client only.
	RequirePAR, RequireDPoP bool
}

// check returns what is wrong with a client's own definition.
func (c *Client) check() error {
	if c.ID == "" {
		return errors.New("it has no ID")
	}
	switch c.auth() {
	case AuthNone:
	case AuthBasic, AuthPost:
		if c.Secret.IsZero() {
			return errors.New("its Auth needs a Secret")
		}
	case AuthPrivateKeyJWT:
		if c.Platform != "" && c.Subject != "" {
			break
		}
		if c.Keys == nil || len(c.Keys.Keys) == 0 {
			return errors.New("its Auth needs Keys")
		}
		for _, k := range c.Keys.Keys {
			if !goodKey(&k) {
				return errors.New("one of its Keys is weak, or not a valid public key")
			}
		}
	default:
		return errors.New("its Auth is unknown")
	}
	for _, raw := range slices.Concat(c.RedirectURIs, c.PostLogoutRedirectURIs) {
		if err := checkRedirectURI(raw); err != nil {
			return err
		}
	}
	return nil
}

// checkRedirectURI accepts https, http on a loopback address, and private-use
// schemes with a dot (RFC 8252 §7).
func checkRedirectURI(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || strings.Contains(raw, "#") {
		return errors.New("a redirect URI is malformed or has a fragment")
	}
	if u.Scheme != "http" && u.Scheme != "https" && strings.Contains(u.Scheme, ".") {
		return nil
	}
	if _, err := (wire.URLPolicy{LoopbackHTTP: true}).Parse(raw); err != nil {
		return errors.New("a redirect URI is neither https, nor http on a loopback address, " +
			"nor of a private scheme like com.example.app (RFC 8252 §7)")
	}
	return nil
}

// auth returns how the client authenticates itself.
func (c *Client) auth() string { return cmp.Or(c.Auth, AuthNone) }

// title returns what a user sees of the client.
func (c *Client) title() string { return cmp.Or(c.Name, c.ID) }

// may reports whether the client may use a grant type.
func (c *Client) may(grant string) bool {
	return c.Grants == nil || slices.Contains(c.Grants, grant)
}

// registeredURI reports whether uri is one of registered: the same string,
// except for the port of a loopback address.
func registeredURI(registered []string, uri string) bool {
	return slices.ContainsFunc(registered, func(r string) bool {
		if r == uri {
			return true
		}
		host, path, ok := splitLoopback(r)
		otherHost, otherPath, otherOK := splitLoopback(uri)
		return ok && otherOK && host == otherHost && path == otherPath
	})
}

// splitLoopback splits http://127.0.0.1:1234/callback into "http://127.0.0.1"
// and "/callback". It cuts the text and does not normalise it, so that nothing
// but the port can differ.
func splitLoopback(uri string) (host, rest string, ok bool) {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]", "http://localhost"} {
		rest, ok := strings.CutPrefix(uri, host)
		if !ok {
			continue
		}
		if digits, ok := strings.CutPrefix(rest, ":"); ok {
			rest = strings.TrimLeft(digits, "0123456789")
			port, err := strconv.ParseUint(digits[:len(digits)-len(rest)], 10, 16)
			if err != nil || port == 0 {
				return "", "", false
			}
		}
		return host, rest, rest == "" || rest[0] == '/' || rest[0] == '?'
	}
	return "", "", false
}

func (s *Server) client(id string) *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[id]
}

// jwtBearer is the client_assertion_type of RFC 7523 §2.2.
const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// credential is what a client authenticates itself with.
type credential struct {
	id     string
	method string // one of the Auth constants
	value  string // the secret or the assertion; "" with AuthNone
}

// readCredential finds the credential of a request. It does not check it. A
// request with two of them is malformed (RFC 6749 §2.3).
func readCredential(r *http.Request, form url.Values) (c credential, e *oauthError) {
	c = credential{id: form.Get("client_id"), method: AuthNone}
	var given int
	if headers := r.Header.Values("Authorization"); len(headers) > 0 {
		user, pass, ok := r.BasicAuth()
		if !ok || len(headers) > 1 {
			return c, invalidClient(r)
		}
		// Both are form-encoded before they are joined (RFC 6749 §2.3.1).
		user, err1 := url.QueryUnescape(user)
		pass, err2 := url.QueryUnescape(pass)
		if err1 != nil || err2 != nil || c.id != "" && c.id != user {
			return c, invalidClient(r)
		}
		given++
		c = credential{user, AuthBasic, pass}
	}
	if form.Has("client_secret") {
		given++
		c.method, c.value = AuthPost, form.Get("client_secret")
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		given++
		c.method, c.value = AuthPrivateKeyJWT, form.Get("client_assertion")
		if form.Get("client_assertion_type") != jwtBearer {
			return c, invalidRequest("client_assertion_type is not jwt-bearer")
		}
		if c.id == "" {
			c.id = unverifiedSubject(c.value)
		}
	}
	if given > 1 {
		return c, invalidRequest("the client authenticated in two ways at once")
	}
	return c, nil
}

// invalidClient does not say whether the client or its secret is wrong. A
// client that tried HTTP Basic gets a challenge for it (RFC 6749 §5.2).
func invalidClient(r *http.Request) *oauthError {
	e := unauthorized("invalid_client", "the client is unknown, or its authentication failed")
	if r.Header.Get("Authorization") != "" {
		e.challenge = `Basic realm="authserver", charset="UTF-8"`
	}
	return e
}

// authenticate returns the client that sent form. The client must have proved
// its identity in the one way that it is registered for.
func (s *Server) authenticate(r *http.Request, form url.Values) (*Client, *oauthError) {
	given, e := readCredential(r, form)
	if e != nil {
		return nil, e
	}
	c := s.client(given.id)
	if c == nil || c.auth() != given.method {
		return nil, invalidClient(r)
	}
	switch given.method {
	case AuthBasic, AuthPost:
		if !c.Secret.Equal(wire.NewSecret(given.value)) {
			return nil, invalidClient(r)
		}
	case AuthPrivateKeyJWT:
		if why := s.checkAssertion(c, given.value); why != "" {
			e := invalidClient(r)
			e.description = "client_assertion: " + why
			return nil, e
		}
	}
	return c, nil
}

// asymmetric are the algorithms that clients may sign assertions and DPoP
// proofs with.
var asymmetric = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.PS256, jose.RS256}

// algorithmNames are the names of asymmetric, for metadata and challenges.
func algorithmNames() []string {
	names := make([]string, len(asymmetric))
	for i, a := range asymmetric {
		names[i] = string(a)
	}
	return names
}

// assertionClaims are the claims of a client's assertion (RFC 7523 §3).
type assertionClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  any      `json:"aud"`
	Expiry    *float64 `json:"exp"`
	NotBefore *float64 `json:"nbf"`
	ID        string   `json:"jti"`
}

// unverifiedSubject returns the client that an assertion says it is from. Its
// signature has not been checked.
func unverifiedSubject(assertion string) string {
	jws, err := jose.ParseSignedCompact(assertion, asymmetric)
	if err != nil {
		return ""
	}
	var claims assertionClaims
	_ = wire.UnmarshalJSON(jws.UnsafePayloadWithoutVerification(), &claims)
	return claims.Subject
}

// verifyAssertion returns the payload of a client's assertion, or nil if none
// of the client's keys verifies it.
func verifyAssertion(c *Client, jws *jose.JSONWebSignature) []byte {
	header := jws.Signatures[0].Protected
	for _, k := range c.Keys.Keys {
		if header.KeyID != "" && k.KeyID != "" && header.KeyID != k.KeyID ||
			k.Algorithm != "" && k.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := jws.Verify(k.Key); err == nil {
			return payload
		}
	}
	return nil
}

// checkAssertion returns what is wrong with a client's assertion (RFC 7523 §3),
// or "". Its audience must be the issuer and nothing else: another server could
// have tricked the client into making one that names an endpoint.
func (s *Server) checkAssertion(c *Client, assertion string) string {
	if c.Platform != "" {
		return s.checkFederated(c, assertion)
	}
	jws, err := jose.ParseSignedCompact(assertion, asymmetric)
	if err != nil {
		return "it is no JWT signed with an accepted algorithm"
	}
	payload := verifyAssertion(c, jws)
	if payload == nil {
		return "none of the client's keys verifies its signature"
	}
	var claims assertionClaims
	if wire.UnmarshalJSON(payload, &claims) != nil {
		return "its claims are malformed"
	}
	now := s.now()
	switch {
	case claims.Issuer != c.ID || claims.Subject != c.ID:
		return "iss and sub must be the client_id"
	case claims.Audience != s.cfg.Issuer:
		return "aud must be the issuer, as a single string"
	case claims.Expiry == nil || now.After(unixTime(*claims.Expiry)):
		return "it has expired"
	case unixTime(*claims.Expiry).After(now.Add(10 * time.Minute)):
		return "exp is too far away"
	case claims.NotBefore != nil && unixTime(*claims.NotBefore).After(now.Add(maxSkew)):
		return "nbf lies ahead"
	case claims.ID == "" || len(claims.ID) > 256:
		return "jti is missing or too long"
	case !s.firstSight("assertion "+c.ID+" "+claims.ID, unixTime(*claims.Expiry)):
		return "it was used before"
	}
	return ""
}

// firstSight remembers id until a time, and reports whether it was new.
func (s *Server) firstSight(id string, until time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, again := s.seen.get(id)
	if !again {
		s.seen.put(id, struct{}{}, until.Sub(s.now()))
	}
	return !again
}

// unixTime clamps f, because a client chooses it and a conversion that
// overflows could turn a far future into the past.
func unixTime(f float64) time.Time {
	const year9999 = 253402300799
	return time.Unix(int64(min(max(f, 0), year9999)), 0)
}
