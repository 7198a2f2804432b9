package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrProofKey means that the key that a session's DPoP tokens are bound to cannot be
// had any more. The tokens are of no use without it.
var ErrProofKey = errors.New("the key that the session's tokens are bound to")

// Grant is what a login brought: tokens, and what they are for. A Grant that has
// been stored or loaded is never changed.
type Grant struct {
	Generation uint64
	// Realm, Party and Account are what the key is made of. Realm is the issuer and
	// Party the client, or how those are found.
	Realm   string
	Party   string
	Account string

	Issuer    string
	ClientID  string
	Subject   string // the verified ID token's; "" without OpenID Connect
	Username  string // for display only
	Scopes    []string
	Resources []string // what the login asked for (RFC 8707)

	RefreshToken wire.Secret
	// SessionExpiry is when the provider says that RefreshToken expires. It is
	// shown, and ends nothing. Zero: it does not say.
	SessionExpiry time.Time
	// Tokens begins with the login's own. The others are for one resource or fewer
	// scopes.
	Tokens []Token

	// IDToken was verified. NewIDToken came with this generation's refresh and is
	// verified only after the save (S59, S82). Until then the tokens of this
	// generation are not handed out.
	IDToken    wire.Secret
	NewIDToken wire.Secret
	// IDTokenFrom is the generation that brought IDToken; 0: an import's, which came
	// without a refresh.
	IDTokenFrom uint64
	// IDTokenRejected means that this generation's refresh brought another ID token,
	// which failed a check. It is not stored: the journal says it.
	IDTokenRejected bool

	DPoPKey      wire.Secret // RFC 9449; zero: bearer tokens
	ClientSecret wire.Secret // of a client that registered itself (RFC 7591); zero: none
	ClientAuth   string      // how ClientSecret is sent; "": as the metadata say
	// CacheKey authenticates the provider cache (providercache.go). Zero: an earlier
	// version stored the session, and there is no cache before the next refresh.
	CacheKey wire.Secret
	// CacheSince is when the newest metadata were fetched that this session was used
	// with. A provider cache with older ones was put back by somebody. Zero: none are
	// known.
	CacheSince time.Time
}

// Token is one access token.
type Token struct {
	Resource    string
	Scopes      []string
	AccessToken wire.Secret
	Type        string // "Bearer" or "DPoP"
	Obtained    time.Time
	Expiry      time.Time
	Extra       wire.Secret // the response's other members, a JSON object; zero: none
	New         bool        // it came with NewIDToken, and the at_hash there is of it
}

// life is how long t was valid when it was issued.
func (t *Token) life() time.Duration { return max(t.Expiry.Sub(t.Obtained), 0) }

// travel is how long before its end t is no longer handed out: the way to the API
// takes time.
func (t *Token) travel() time.Duration { return min(t.life()/20, 5*time.Second) }

// shortLife is the life of a token with an expires_in of 0 or less. Such a provider
// means "I do not say", or its clock is wrong: a token that is never used would leave
// no way on, and one that lives for long would be trusted too much (S53).
const shortLife = time.Minute

// NewToken returns the access token of resp, obtained now. assume is its life if
// resp has no positive expires_in; 0: an hour, or a minute if expires_in is 0 or
// less.
func NewToken(resp *oauth.TokenResponse, now time.Time, assume time.Duration) Token {
	life := resp.ExpiresIn
	switch {
	case life > 0:
	case assume > 0:
		life = assume
	case resp.HasExpiry:
		life = shortLife
	default:
		life = time.Hour
	}
	now = now.Truncate(time.Millisecond) // as it is stored
	return Token{
		AccessToken: resp.AccessToken, Type: resp.TokenType, Obtained: now, Expiry: now.Add(life),
		Extra: wire.NewSecret(string(resp.PublicExtra())),
	}
}

// SessionExpiry returns when the refresh token of resp, obtained now, expires. Zero:
// resp does not say.
func SessionExpiry(resp *oauth.TokenResponse, now time.Time) time.Time {
	if resp.RefreshExpiresIn <= 0 {
		return time.Time{}
	}
	return now.Add(resp.RefreshExpiresIn).Truncate(time.Millisecond) // as it is stored
}

// extra returns the members in t.Extra; nil: none.
func (t *Token) extra() map[string]any {
	if t.Extra.IsZero() {
		return nil
	}
	var m map[string]any
	if wire.UnmarshalJSON([]byte(t.Extra.Reveal()), &m) != nil {
		return nil
	}
	return m
}

// keepExtra adds the members of before that t's response did not repeat: many
// providers send them at the login only.
func (t *Token) keepExtra(before *Token) {
	all := before.extra()
	if all == nil {
		return
	}
	maps.Copy(all, t.extra())
	if data, err := json.Marshal(all); err == nil && len(data) <= oauth.MaxExtra {
		t.Extra = wire.NewSecret(string(data))
	}
}

// Refreshed is g after a refresh for s: tok is in its place, and the other tokens
// are there while they live.
func (g *Grant) Refreshed(s *Slot, resp *oauth.TokenResponse, tok Token) *Grant {
	next := *g
	next.IDTokenRejected = false
	if next.CacheKey.IsZero() {
		next.CacheKey = newCacheKey()
	}
	brought := !g.IDToken.IsZero() && !resp.IDToken.IsZero() // if none was asked for, there is nothing to check it against
	if brought {
		next.NewIDToken = resp.IDToken // one that waits for its check must still pass it otherwise
	}
	if !resp.RefreshToken.IsZero() {
		next.RefreshToken, next.SessionExpiry = resp.RefreshToken, time.Time{}
	}
	if end := SessionExpiry(resp, tok.Obtained); !end.IsZero() {
		next.SessionExpiry = end
	}
	tok.Resource, tok.Scopes, tok.New = s.Resource, s.Scopes, brought
	next.Tokens = nil
	for i, old := range g.Tokens {
		old.New = old.New && !brought
		switch {
		case i == 0 && s.Main(), i > 0 && old.Resource == s.Resource && slices.Equal(old.Scopes, s.Scopes):
			continue
		case i == 0 || tok.Obtained.Before(old.Expiry):
			next.Tokens = append(next.Tokens, old)
		}
	}
	if s.Main() {
		tok.keepExtra(&g.Tokens[0])
		next.Tokens = append([]Token{tok}, next.Tokens...)
		next.Scopes = resp.GrantedScopes(g.Scopes)
	} else {
		next.Tokens = append(next.Tokens, tok)
	}
	return &next
}

// without returns g with those tokens alone that before does not have.
func (g *Grant) without(before *Grant) *Grant {
	next := *g
	next.Tokens = slices.DeleteFunc(slices.Clone(g.Tokens), func(t Token) bool {
		return slices.ContainsFunc(before.Tokens, func(old Token) bool { return old.AccessToken.Equal(t.AccessToken) })
	})
	return &next
}

// user is the user of a grant, as far as the provider tells. Without OpenID Connect
// there is no subject, and every user is the same.
type user struct{ issuer, subject string }

func (g *Grant) user() user {
	if g == nil || g.Subject == "" {
		return user{}
	}
	return user{g.Issuer, g.Subject}
}

// promote returns g with its new ID token as the verified one.
func (g *Grant) promote() *Grant {
	p := *g
	p.IDToken, p.NewIDToken = g.NewIDToken, wire.Secret{}
	p.IDTokenFrom = g.Generation
	return &p
}

// keepIDToken returns g with its earlier ID token, since the new one was rejected.
func (g *Grant) keepIDToken() *Grant {
	p := *g
	p.NewIDToken, p.IDTokenRejected = wire.Secret{}, true
	return &p
}

// Pending reports that g's tokens wait for the check of its new ID token.
func (g *Grant) Pending() bool { return !g.NewIDToken.IsZero() }

// Token returns the access token for resource and scopes, both as asked for; nil:
// there is none.
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

// ProofKey returns the key that g's tokens are bound to; zero: bearer tokens. A
// bound token whose key is lost or damaged is ErrProofKey: it is never sent without
// a proof (S87).
func (g *Grant) ProofKey() (oauth.DPoPKey, error) {
	if g.DPoPKey.IsZero() {
		for _, t := range g.Tokens {
			if t.Type == "DPoP" {
				return oauth.DPoPKey{}, fmt.Errorf("%w is lost", ErrProofKey)
			}
		}
		return oauth.DPoPKey{}, nil
	}
	key, err := oauth.ParseDPoPKey(g.DPoPKey)
	if err != nil {
		return oauth.DPoPKey{}, fmt.Errorf("%w is damaged: %w", ErrProofKey, err)
	}
	return key, nil
}

// hash names the refresh token in the journal without being it.
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
	Until       time.Time `json:"until"` // from then on the token is not handed out
	Refreshable bool      `json:"refreshable"`
	// SessionExpiry is Grant's.
	SessionExpiry time.Time `json:"session_expiry,omitzero"`
	Ended         bool      `json:"-"` // the provider is known to refuse it
}

// Row returns g without its secrets.
func (g *Grant) Row() Row {
	main := &g.Tokens[0]
	return Row{
		Account: g.Account, Issuer: g.Issuer, ClientID: g.ClientID, Subject: g.Subject, Username: g.Username,
		Scopes: g.Scopes, Refreshable: !g.RefreshToken.IsZero(),
		Expiry: main.Expiry.UTC(), Until: main.Expiry.Add(-main.travel()).UTC(),
		SessionExpiry: g.SessionExpiry.UTC(),
	}
}

// Prefix begins the keys of every account of one client (party) at one issuer
// (realm).
func Prefix(realm, party string) string { return "s1." + digest(realm, party) + "." }

// Key names the session of one account. It consists of [a-z0-9.] alone, so no
// issuer, client or account can inject into a keychain or a path, and two of them
// cannot collide.
func Key(realm, party, account string) string { return Prefix(realm, party) + digest(account) }

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
