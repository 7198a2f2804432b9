// Picks what a program may see of a token response's other members.

package oauth

import (
	"encoding/json"
	"strings"
)

// MaxExtra is the most that is kept of a token response's other members, in bytes
// of JSON. They are stored with the session, and a keychain holds little.
const MaxExtra = 16 << 10

// PublicExtra returns the members of Extra that are no secrets, as a JSON object;
// nil: there are none, or they are larger than [MaxExtra]. A member is a secret, at
// any depth, if its name ends in "token" or "secret" or contains "assertion", or if
// its text contains one of r's tokens.
func (r *TokenResponse) PublicExtra() []byte {
	kept, _ := r.public(r.Extra).(map[string]any)
	if len(kept) == 0 {
		return nil
	}
	data, err := json.Marshal(kept)
	if err != nil || len(data) > MaxExtra {
		return nil
	}
	return data
}

// public returns v without secrets; nil: nothing is left of it.
func (r *TokenResponse) public(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			if isSecretName(name) || r.echoes(name) {
				continue
			}
			if member = r.public(member); member != nil {
				out[name] = member
			}
		}
		return out
	case []any:
		out := []any{}
		for _, element := range v {
			if element = r.public(element); element != nil {
				out = append(out, element)
			}
		}
		return out
	case string:
		if r.echoes(v) {
			return nil
		}
	}
	return v
}

func isSecretName(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "token") || strings.HasSuffix(name, "secret") ||
		strings.Contains(name, "assertion")
}

// echoes reports whether text contains one of r's tokens.
func (r *TokenResponse) echoes(text string) bool {
	for _, token := range []string{
		r.AccessToken.Reveal(), r.RefreshToken.Reveal(), r.IDToken.Reveal(),
	} {
		if token != "" && strings.Contains(text, token) {
			return true
		}
	}
	return false
}
