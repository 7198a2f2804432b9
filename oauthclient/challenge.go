package oauthclient

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ParseChallenge reads what an API requires in a 401 or 403 response (RFC 6750 §3,
// RFC 9470 §3, RFC 9728 §5.1). ok means that a login with opts may help; if it is
// false, ignore opts. The caller may add to opts. resp.Body is not read.
//
//	opts, ok := oauthclient.ParseChallenge(resp)
//	if ok {
//		session, err = client.SessionOrLogin(ctx, opts)
//	}
//
// SessionOrLogin first looks for a stored session that satisfies opts, so that many
// processes with the same challenge cause one login. If the API rejected the token,
// a session with that token satisfies opts only after a refresh, and only if the
// API's metadata still name the session's issuer.
func ParseChallenge(resp *http.Response) (opts *LoginOptions, ok bool) {
	if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		return nil, false
	}
	challenges := oauth.ParseChallenges(resp.Header)
	d, ok := oauth.PickChallenge(challenges, "")
	if !ok {
		return nil, false
	}
	token := ""
	if resp.Request != nil {
		_, token, _ = strings.Cut(resp.Request.Header.Get("Authorization"), " ")
	}
	// These words go into a URL and are shown to the user. A hostile API must not
	// get the token there by repeating it (S55).
	repeats := func(word string) bool { return token != "" && strings.Contains(word, token) }
	opts = &LoginOptions{
		Scopes:           slices.DeleteFunc(d.Scope, repeats),
		ACRValues:        slices.DeleteFunc(d.ACRValues, repeats),
		ResourceMetadata: d.ResourceMetadata,
	}
	takesBearer := func(c oauth.Challenge) bool { return c.Scheme == oauth.BearerScheme }
	opts.DPoP = !slices.ContainsFunc(challenges, takesBearer)
	// A challenge without an error is for a request without a token (RFC 6750 §3.1),
	// but many APIs answer a token that they reject alike.
	if d.Error == "invalid_token" || d.Error == "" {
		opts.rejected = wire.NewSecret(token)
	}
	if d.HasMaxAge {
		opts.MaxAge = max(d.MaxAge, time.Second)
		if d.MaxAge == 0 { // a new login, which 0 does not mean in LoginOptions
			opts.MaxAge = -1
		}
	}
	// A login helps only if the challenge says what was lacking. Without that, it
	// would bring the same token again.
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
