package session

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Format is the version of the stored value that this package writes.
const Format = 1

var (
	// ErrNewerFormat means that a later version of the program stored the session.
	// It is left as it is.
	ErrNewerFormat = errors.New("the stored session was written by a newer version of this program: " +
		"use that version, or sign out and in again")
	// ErrCorrupt means that the stored value cannot be read as a session.
	ErrCorrupt = errors.New("the stored session cannot be read")
)

// storedGrant is a Grant as the store keeps it.
type storedGrant struct {
	Version      int      `json:"v"`
	Generation   uint64   `json:"gen"`
	Realm        string   `json:"realm"`
	Party        string   `json:"party"`
	Account      string   `json:"account,omitempty"`
	Issuer       string   `json:"issuer"`
	ClientID     string   `json:"client_id"`
	Subject      string   `json:"sub,omitempty"`
	Username     string   `json:"username,omitempty"`
	Scopes       []string `json:"scopes,omitempty"`
	Resources    []string `json:"resources,omitempty"`
	RefreshToken string   `json:"refresh_token,omitempty"`
	// SessionExpiry is in Unix milliseconds; 0: the provider does not say.
	SessionExpiry int64 `json:"session_expiry,omitempty"`

	Tokens       []storedToken `json:"tokens"`
	IDToken      string        `json:"id_token,omitempty"`
	NewIDToken   string        `json:"new_id_token,omitempty"`
	IDTokenFrom  uint64        `json:"id_token_gen,omitempty"`
	DPoPKey      string        `json:"dpop_key,omitempty"`
	ClientSecret string        `json:"client_secret,omitempty"`
	ClientAuth   string        `json:"client_auth,omitempty"`
	CacheKey     string        `json:"cache_key,omitempty"`
	CacheSince   int64         `json:"cache_since,omitempty"` // Unix milliseconds
}

type storedToken struct {
	Resource    string   `json:"resource,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`
	AccessToken string   `json:"access_token"`
	Type        string   `json:"type"`
	Obtained    int64    `json:"obtained"` // Unix milliseconds
	Expiry      int64    `json:"expiry"`   // Unix milliseconds
	New         bool     `json:"new,omitempty"`
	Extra       string   `json:"extra,omitempty"` // a JSON object
}

// encode is the one place in which the secrets become bytes, for the store.
func (g *Grant) encode() ([]byte, error) {
	s := storedGrant{
		Version: Format, Generation: g.Generation, Realm: g.Realm, Party: g.Party, Account: g.Account,
		Issuer: g.Issuer, ClientID: g.ClientID, Subject: g.Subject, Username: g.Username,
		Scopes: g.Scopes, Resources: g.Resources, RefreshToken: g.RefreshToken.Reveal(),
		IDToken: g.IDToken.Reveal(), NewIDToken: g.NewIDToken.Reveal(), IDTokenFrom: g.IDTokenFrom,
		DPoPKey: g.DPoPKey.Reveal(), ClientSecret: g.ClientSecret.Reveal(),
		ClientAuth: g.ClientAuth, CacheKey: g.CacheKey.Reveal(),
	}
	if !g.SessionExpiry.IsZero() {
		s.SessionExpiry = g.SessionExpiry.UnixMilli()
	}
	if !g.CacheSince.IsZero() {
		s.CacheSince = g.CacheSince.UnixMilli()
	}
	for _, t := range g.Tokens {
		s.Tokens = append(s.Tokens, storedToken{
			t.Resource, t.Scopes, t.AccessToken.Reveal(), t.Type,
			t.Obtained.UnixMilli(), t.Expiry.UnixMilli(), t.New, t.Extra.Reveal(),
		})
	}
	return json.Marshal(s)
}

// formatOf returns the format that data names which this program cannot decode: a
// later one may have other types. 0: it names none.
func formatOf(data []byte) int {
	var v struct {
		Version int `json:"v"`
	}
	if wire.UnmarshalOwn(data, &v) != nil {
		return 0
	}
	return v.Version
}

// decode reads a stored value, of this format or an earlier one.
func decode(data []byte) (*Grant, error) {
	var s storedGrant
	err := wire.UnmarshalOwn(data, &s)
	if err != nil {
		s.Version = formatOf(data)
	}
	switch {
	case s.Version > Format:
		return nil, ErrNewerFormat
	case err != nil, s.Version < 1, len(s.Tokens) == 0, s.Generation == 0:
		return nil, ErrCorrupt
	}
	g := &Grant{
		Generation: s.Generation, Realm: s.Realm, Party: s.Party, Account: s.Account,
		Issuer: s.Issuer, ClientID: s.ClientID, Subject: s.Subject, Username: s.Username,
		Scopes: s.Scopes, Resources: s.Resources, RefreshToken: wire.NewSecret(s.RefreshToken),
		IDToken: wire.NewSecret(s.IDToken), NewIDToken: wire.NewSecret(s.NewIDToken), IDTokenFrom: s.IDTokenFrom,
		DPoPKey: wire.NewSecret(s.DPoPKey), ClientSecret: wire.NewSecret(s.ClientSecret),
		ClientAuth: s.ClientAuth, CacheKey: wire.NewSecret(s.CacheKey),
	}
	if s.SessionExpiry != 0 {
		g.SessionExpiry = time.UnixMilli(s.SessionExpiry)
	}
	if s.CacheSince != 0 {
		g.CacheSince = time.UnixMilli(s.CacheSince)
	}
	for _, t := range s.Tokens {
		g.Tokens = append(g.Tokens, Token{
			Resource: t.Resource, Scopes: t.Scopes, AccessToken: wire.NewSecret(t.AccessToken),
			Type: t.Type, Obtained: time.UnixMilli(t.Obtained), Expiry: time.UnixMilli(t.Expiry),
			Extra: wire.NewSecret(t.Extra), New: t.New,
		})
	}
	return g, nil
}
