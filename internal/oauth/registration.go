// Registers a program that nobody registered beforehand (RFC 7591).
//
// The program asks to be a native client (S45). What it gets is kept for the
// issuer that gave it: a registration that went to another issuer would hand
// that one a secret and mix up two providers (S44).

package oauth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrStaleRegistration is matched if a kept registration does not fit: it is
// for another issuer or another request, its secret has expired, or it cannot
// be read. Registering again helps.
var ErrStaleRegistration = errors.New("the kept registration does not fit; register again")

// Authentication methods that a registered client can be told to use (§2).
const (
	AuthNone       = "none"
	AuthBasic      = "client_secret_basic"
	AuthPost       = "client_secret_post"
	AuthPrivateKey = "private_key_jwt"
)

// RegistrationRequest is what the program wants to be registered as (§2). The
// rest is fixed by the flow: a native application (S45) that uses codes.
type RegistrationRequest struct {
	RedirectURIs []string
	GrantTypes   []string // nil: authorization_code and refresh_token
	Scope        string
	AuthMethod   string // "": [AuthNone], a public client
	DPoP         bool   // every token is bound (RFC 9449 §5.2)
	// Offered is the metadata's token_endpoint_auth_methods_supported. It is not
	// sent. It decides for an answer that names no method.
	Offered []string

	ClientName, ClientURI, LogoURI, SoftwareID, SoftwareVersion string
	// Extra holds more members (jwks, contacts, name#lang). It cannot replace
	// those above.
	Extra map[string]any
}

// members returns the request's JSON object.
func (r RegistrationRequest) members() map[string]any {
	m := maps.Clone(r.Extra)
	if m == nil {
		m = map[string]any{}
	}
	for name, value := range map[string]string{
		"scope": r.Scope, "client_name": r.ClientName, "client_uri": r.ClientURI, "logo_uri": r.LogoURI,
		"software_id": r.SoftwareID, "software_version": r.SoftwareVersion,
	} {
		delete(m, name)
		if value != "" {
			m[name] = value
		}
	}
	delete(m, "dpop_bound_access_tokens")
	if r.DPoP {
		m["dpop_bound_access_tokens"] = true
	}
	m["application_type"] = "native"
	m["response_types"] = []string{"code"}
	m["redirect_uris"] = append([]string{}, r.RedirectURIs...)
	m["grant_types"] = r.GrantTypes
	if r.GrantTypes == nil {
		m["grant_types"] = []string{"authorization_code", "refresh_token"}
	}
	m["token_endpoint_auth_method"] = r.authMethod()
	return m
}

func (r RegistrationRequest) authMethod() string { return cmp.Or(r.AuthMethod, AuthNone) }

// RegisteredClient is what the provider made of a request (§3.2.1).
type RegisteredClient struct {
	ID           string
	Secret       wire.Secret // zero: none. In a native program it is not confidential (S49)
	SecretExpiry time.Time   // zero: never
	AuthMethod   string      // what the provider demands; it may differ from the request's
	// Dropped are the redirect URIs of the request that the provider did not
	// accept. The first one is never among them.
	Dropped []string
}

// Register requests a client from the registration endpoint. initial is the
// initial access token (§3), zero if the endpoint is open. The answer's
// registration access token is not kept, because nothing here uses it.
//
// Errors: a [fetch.Error]; an [Error] if the provider refuses (§3.2.2);
// wire.ErrInvalidResponse; errors.ErrUnsupported if it demands a client
// authentication that this SDK does not have.
func Register(
	ctx context.Context, c *fetch.Client, endpoint string, r RegistrationRequest, initial wire.Secret,
) (*RegisteredClient, error) {
	body, err := json.Marshal(r.members())
	if err != nil {
		return nil, fmt.Errorf("registration request: %w", err)
	}
	req, err := fetch.NewRequest(http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("registration_endpoint: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if !initial.IsZero() {
		req.Header.Set("Authorization", "Bearer "+initial.Reveal())
	}
	resp, err := c.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	// §3.2.1 says 201. Several MCP servers say 200 and mean the same.
	if resp.Status != http.StatusCreated && resp.Status != http.StatusOK {
		sent := Request{Form: url.Values{"token": {initial.Reveal()}}} // taken out of the error
		return nil, sent.Refusal(resp)
	}
	client, err := r.parse(resp)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, wire.Invalid("the registration answer is not usable: %w", err)
	}
	return client, err
}

// dropped returns the redirect URIs that the provider did not accept; nil accepted
// means that it did not say. A provider may change the request (§3.2.1). But a login
// ends nowhere without its redirect URI, which is the first one on nearly every
// machine. Some software writes out http's own port.
func (r RegistrationRequest) dropped(accepted []string) (dropped []string, err error) {
	for i, asked := range r.RedirectURIs {
		kept := func(uri string) bool {
			return uri == asked || strings.Replace(uri, ":80/", "/", 1) == asked
		}
		if accepted == nil || slices.ContainsFunc(accepted, kept) {
			continue
		}
		if i == 0 {
			return nil, errors.New("redirect_uris lacks the first one that was asked for; " +
				"register the program by hand and give its client ID")
		}
		dropped = append(dropped, asked)
	}
	return dropped, nil
}

// parse checks a success (§3.2.1). An error that matches errors.ErrUnsupported
// is about what the provider demands, not about the answer's form.
func (r RegistrationRequest) parse(resp *fetch.Response) (*RegisteredClient, error) {
	var m struct {
		ID           string   `json:"client_id"`
		Secret       string   `json:"client_secret"`
		SecretExpiry any      `json:"client_secret_expires_at"`
		AuthMethod   string   `json:"token_endpoint_auth_method"`
		RedirectURIs []string `json:"redirect_uris"`
	}
	if err := decodeJSON(resp, &m); err != nil {
		return nil, err
	}
	if m.ID == "" || !visible(m.ID) {
		return nil, errors.New("client_id is missing, or holds what it must not")
	}
	if !visible(m.Secret) {
		return nil, errors.New("client_secret holds what it must not")
	}
	out := &RegisteredClient{ID: m.ID}
	var err error
	if out.Dropped, err = r.dropped(m.RedirectURIs); err != nil {
		return nil, err
	}
	if m.AuthMethod == "" {
		m.AuthMethod = r.unnamedMethod(m.Secret != "")
	}
	out.AuthMethod = m.AuthMethod
	expiry, ok := number(m.SecretExpiry)
	if !ok {
		return nil, errors.New("client_secret_expires_at is no number")
	}
	switch m.AuthMethod {
	case AuthNone: // a secret beside it is of no use
	case AuthBasic, AuthPost:
		if m.Secret == "" {
			return nil, errors.New("client_secret is missing")
		}
		out.Secret = wire.NewSecret(m.Secret)
		if expiry > 0 {
			// 1<<37 is the year 6325. A time.Time after the year 9999 has no
			// JSON.
			out.SecretExpiry = time.Unix(int64(min(expiry, 1<<37)), 0)
		}
	case AuthPrivateKey:
		if r.authMethod() != AuthPrivateKey {
			return nil, fmt.Errorf("%w: the provider wants private_key_jwt of this client; configure a key",
				errors.ErrUnsupported)
		}
	default:
		return nil, fmt.Errorf("%w: the provider wants another client authentication than none, "+
			"a secret or private_key_jwt", errors.ErrUnsupported)
	}
	return out, nil
}

// unnamedMethod returns the method of a client if the answer names none. It
// should, but the secret says as much: §2's default is client_secret_basic. A
// secret of a provider that offers only none is of no use (several MCP servers
// send one).
func (r RegistrationRequest) unnamedMethod(secret bool) string {
	asked := r.authMethod()
	offers := func(method string) bool { return slices.Contains(r.Offered, method) }
	switch {
	case !secret || asked != AuthNone:
		return asked
	case offers(AuthNone) && !offers(AuthBasic) && !offers(AuthPost):
		return AuthNone
	case offers(AuthPost) && !offers(AuthBasic):
		return AuthPost
	}
	return AuthBasic
}

// visible reports whether s is VSCHAR (RFC 6749, appendix A) of at most 4096
// bytes.
func visible(s string) bool { return len(s) <= 4096 && isVSCHAR(s) }

// keptClient is a registration as it stands in the store, with the issuer and
// the request that it is good for (S44).
type keptClient struct {
	Version      int       `json:"v"`
	Issuer       string    `json:"iss"`
	Fingerprint  string    `json:"req"`
	ID           string    `json:"client_id"`
	Secret       string    `json:"client_secret,omitempty"`
	SecretExpiry time.Time `json:"expires,omitzero"`
	AuthMethod   string    `json:"auth"`
}

// Marshal returns the registration for the store, bound to the issuer that gave
// it and to the request that it answers. It holds the secret.
func (c RegisteredClient) Marshal(issuer string, r RegistrationRequest) (wire.Secret, error) {
	f, err := r.fingerprint()
	if err != nil {
		return wire.Secret{}, err
	}
	b, err := json.Marshal(keptClient{1, issuer, f, c.ID, c.Secret.Reveal(), c.SecretExpiry, c.AuthMethod})
	return wire.NewSecret(string(b)), err
}

// LoadClient reads what [RegisteredClient.Marshal] wrote. Unless issuer and
// request are the same, the error matches [ErrStaleRegistration].
func LoadClient(data []byte, issuer string, r RegistrationRequest) (*RegisteredClient, error) {
	f, err := r.fingerprint()
	if err != nil {
		return nil, err
	}
	var k keptClient
	if err := wire.UnmarshalJSON(data, &k); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStaleRegistration, err)
	}
	switch {
	case k.Version != 1 || k.ID == "":
		return nil, fmt.Errorf("%w: it is damaged, or of a later version", ErrStaleRegistration)
	case k.Issuer != issuer:
		return nil, fmt.Errorf("%w: it is another provider's", ErrStaleRegistration)
	case k.Fingerprint != f:
		return nil, fmt.Errorf("%w: what the program asks for has changed", ErrStaleRegistration)
	case !k.SecretExpiry.IsZero() && !time.Now().Before(k.SecretExpiry):
		return nil, fmt.Errorf("%w: its client secret has expired", ErrStaleRegistration)
	}
	return &RegisteredClient{
		ID: k.ID, Secret: wire.NewSecret(k.Secret), SecretExpiry: k.SecretExpiry, AuthMethod: k.AuthMethod,
	}, nil
}

// fingerprint tells requests apart. encoding/json writes a map in the order of
// its names, so equal requests have equal fingerprints.
func (r RegistrationRequest) fingerprint() (string, error) {
	b, err := json.Marshal(r.members())
	if err != nil {
		return "", fmt.Errorf("registration request: %w", err)
	}
	sum := sha256.Sum256(b)
	return b64(sum[:]), nil
}
