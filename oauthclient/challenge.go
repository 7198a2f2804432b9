package oauthclient

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ParseChallenge reads what a resource asks for in a 401 or 403 (RFC 6750 §3, RFC 9470 §3, RFC 9728 §5.1). ok: signing in with opts, which the
// caller may complete, may help. resp.Body is left alone. A stored session whose token was refused as invalid does not satisfy opts, unless a refresh replaces it.
//
//	opts, ok := oauthclient.ParseChallenge(resp)
//	if ok {
//		session, err = client.SessionOrLogin(ctx, opts) // adopts a session that suffices: no storm
//	}
func ParseChallenge(resp *http.Response) (opts *LoginOptions, ok bool) {
	if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		return nil, false
	}
	d, ok := oauth.PickChallenge(oauth.ParseChallenges(resp.Header), "")
	if !ok {
		return nil, false
	}
	token := ""
	if resp.Request != nil {
		_, token, _ = strings.Cut(resp.Request.Header.Get("Authorization"), " ")
	}
	// What is asked for goes into a URL and before people's eyes: not the token that the resource was sent (S55).
	repeats := func(word string) bool { return token != "" && strings.Contains(word, token) }
	opts = &LoginOptions{
		Scopes: slices.DeleteFunc(d.Scope, repeats), ACRValues: slices.DeleteFunc(d.ACRValues, repeats), ResourceMetadata: d.ResourceMetadata,
	}
	if d.Error == "invalid_token" {
		opts.rejected = wire.NewSecret(token)
	}
	if d.HasMaxAge {
		opts.MaxAge = max(d.MaxAge, time.Second)
		if d.MaxAge == 0 {
			opts.MaxAge = -1
		}
	}
	switch d.Error {
	case "insufficient_user_authentication":
		return opts, len(opts.ACRValues) > 0 || opts.MaxAge != 0
	case "insufficient_scope":
		return opts, len(opts.Scopes) > 0
	case "", "invalid_token":
		return opts, resp.StatusCode == http.StatusUnauthorized
	}
	return nil, false
}
