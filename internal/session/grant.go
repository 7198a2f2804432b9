// Package grant keeps what a sign-in left: it is the life of the refresh token, across goroutines, processes and crashes.
//
// Refresh, login and logout share one protocol. Rotating refresh tokens with reuse detection (RFC 9700 §4.14) turn every race and
// every half-done save into a logout of the user, so each step below has its reason in an order of events that loses sessions without it. The
// steps are numbered where they stand in [Keeper]. Words:
//
//   - The refresh lock and the login lock are the store's locks for a key. Login lock first, then refresh lock, never the reverse.
//   - The [Record] is a small file beside the lock, without secrets, that only the holder of the refresh lock writes: it tells the next
//     holder what was under way.
//   - Every stored value carries its generation, allotted under the lock. Newer means a higher generation, never a later expiry.
package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Format is the version of the stored value that this package writes.
const Format = 1

var (
	// ErrNewerFormat means that a later version of the program stored the session. It is left as it is.
	ErrNewerFormat = errors.New("the stored session was written by a newer version of this program: use that version, or sign out and in again")
	// ErrCorrupt means that the stored value cannot be read as a session.
	ErrCorrupt = errors.New("the stored session cannot be read")
)

// Grant is a sign-in and its tokens. A Grant that has been stored or loaded is never changed.
type Grant struct {
	Generation uint64
	Realm      string // with Party and Account what the key is made of: the issuer and the client, or how those are found
	Party      string
	Account    string
	Issuer     string
	ClientID   string
	Subject    string
	Username   string
	Scopes     []string // granted at the sign-in
	Resources  []string // RFC 8707: what the sign-in asked for

	RefreshToken wire.Secret
	Tokens       []Token // the first is the sign-in's own; the others are for one resource or fewer scopes

	// IDToken was verified. NewIDToken came with this generation's refresh and is verified only after the save (S59, S82): until
	// then the tokens of this generation are not handed out.
	IDToken    wire.Secret
	NewIDToken wire.Secret

	DPoPKey      wire.Secret // RFC 9449; zero: bearer tokens
	ClientSecret wire.Secret // of a client that registered itself (RFC 7591); zero: none
}

// Token is one access token.
type Token struct {
	Resource    string
	Scopes      []string
	AccessToken wire.Secret
	Type        string // "Bearer" or "DPoP"
	Obtained    time.Time
	Expiry      time.Time
	New         bool // it came with NewIDToken, whose at_hash is of it
}

// promote returns g with its new ID token as the verified one.
func (g *Grant) promote() *Grant {
	p := *g
	p.IDToken, p.NewIDToken = g.NewIDToken, wire.Secret{}
	return &p
}

// Pending reports that g's tokens wait for the check of its new ID token.
func (g *Grant) Pending() bool { return !g.NewIDToken.IsZero() }

// Token returns the access token for resource and scopes, both as asked for; nil: there is none.
func (g *Grant) Token(resource string, scopes []string) *Token {
	if resource == "" && len(scopes) == 0 {
		return &g.Tokens[0]
	}
	for i := range g.Tokens[1:] {
		if t := &g.Tokens[1+i]; t.Resource == resource && slices.Equal(t.Scopes, scopes) {
			return t
		}
	}
	return nil
}

// hash names the refresh token in the record without being it.
func (g *Grant) hash() string {
	if g == nil || g.RefreshToken.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte("refresh token\x00" + g.RefreshToken.Reveal()))
	return hex.EncodeToString(sum[:16])
}

// Row is what may be listed without reading a secret.
type Row struct {
	Account     string    `json:"account,omitempty"`
	Issuer      string    `json:"issuer"`
	ClientID    string    `json:"client_id"`
	Subject     string    `json:"sub,omitempty"`
	Username    string    `json:"username,omitempty"`
	Scopes      []string  `json:"scopes,omitempty"`
	Expiry      time.Time `json:"expiry"`
	Refreshable bool      `json:"refreshable"`
}

// Row returns g without its secrets.
func (g *Grant) Row() Row {
	r := Row{Account: g.Account, Issuer: g.Issuer, ClientID: g.ClientID, Subject: g.Subject, Username: g.Username, Scopes: g.Scopes, Refreshable: !g.RefreshToken.IsZero()}
	r.Expiry = g.Tokens[0].Expiry.UTC()
	return r
}

// Prefix begins the keys of every account of one client (party) at one issuer (realm).
func Prefix(realm, party string) string {
	return "s1." + digest(realm, party) + "."
}

// Key names the session of one account. It is made of [a-z0-9.] alone, so no issuer, client or account can inject into a keychain or a path,
// and two of them cannot collide.
func Key(realm, party, account string) string {
	return Prefix(realm, party) + digest(account)
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

type storedGrant struct {
	Version      int           `json:"v"`
	Generation   uint64        `json:"gen"`
	Realm        string        `json:"realm"`
	Party        string        `json:"party"`
	Account      string        `json:"account,omitempty"`
	Issuer       string        `json:"issuer"`
	ClientID     string        `json:"client_id"`
	Subject      string        `json:"sub,omitempty"`
	Username     string        `json:"username,omitempty"`
	Scopes       []string      `json:"scopes,omitempty"`
	Resources    []string      `json:"resources,omitempty"`
	RefreshToken string        `json:"refresh_token,omitempty"`
	Tokens       []storedToken `json:"tokens"`
	IDToken      string        `json:"id_token,omitempty"`
	NewIDToken   string        `json:"new_id_token,omitempty"`
	DPoPKey      string        `json:"dpop_key,omitempty"`
	ClientSecret string        `json:"client_secret,omitempty"`
}

type storedToken struct {
	Resource    string   `json:"resource,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`
	AccessToken string   `json:"access_token"`
	Type        string   `json:"type"`
	Obtained    int64    `json:"obtained"` // Unix milliseconds
	Expiry      int64    `json:"expiry"`
	New         bool     `json:"new,omitempty"`
}

// encode is the one place where the secrets become bytes, for the store.
func (g *Grant) encode() ([]byte, error) {
	s := storedGrant{
		Version: Format, Generation: g.Generation, Realm: g.Realm, Party: g.Party, Account: g.Account, Issuer: g.Issuer, ClientID: g.ClientID, Subject: g.Subject,
		Username: g.Username, Scopes: g.Scopes, Resources: g.Resources, RefreshToken: g.RefreshToken.Reveal(),
		IDToken: g.IDToken.Reveal(), NewIDToken: g.NewIDToken.Reveal(), DPoPKey: g.DPoPKey.Reveal(), ClientSecret: g.ClientSecret.Reveal(),
	}
	for _, t := range g.Tokens {
		s.Tokens = append(s.Tokens, storedToken{t.Resource, t.Scopes, t.AccessToken.Reveal(), t.Type, t.Obtained.UnixMilli(), t.Expiry.UnixMilli(), t.New})
	}
	return json.Marshal(s)
}

// decode reads a stored value, of this format or an earlier one.
func decode(data []byte) (*Grant, error) {
	var v struct {
		Version int `json:"v"`
	}
	if err := wire.UnmarshalJSON(data, &v); err != nil || v.Version < 1 {
		return nil, ErrCorrupt
	}
	if v.Version > Format {
		return nil, ErrNewerFormat
	}
	var s storedGrant
	if err := wire.UnmarshalJSON(data, &s); err != nil || len(s.Tokens) == 0 || s.Generation == 0 {
		return nil, ErrCorrupt
	}
	g := &Grant{
		Generation: s.Generation, Realm: s.Realm, Party: s.Party, Account: s.Account, Issuer: s.Issuer, ClientID: s.ClientID, Subject: s.Subject, Username: s.Username,
		Scopes: s.Scopes, Resources: s.Resources, RefreshToken: wire.NewSecret(s.RefreshToken),
		IDToken: wire.NewSecret(s.IDToken), NewIDToken: wire.NewSecret(s.NewIDToken), DPoPKey: wire.NewSecret(s.DPoPKey), ClientSecret: wire.NewSecret(s.ClientSecret),
	}
	for _, t := range s.Tokens {
		g.Tokens = append(g.Tokens, Token{t.Resource, t.Scopes, wire.NewSecret(t.AccessToken), t.Type, time.UnixMilli(t.Obtained), time.UnixMilli(t.Expiry), t.New})
	}
	return g, nil
}
