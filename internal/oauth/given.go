// Sends tokens that another party has issued to the client: as client assertion
// (RFC 7523 §2.2), as grant (RFC 7523 §2.1), or as the subject of a token exchange
// (RFC 8693).
//
// Such a token is good at the server that it names, for whoever has it. So it goes
// to that server alone (S110).

package oauth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// maxGiven is larger than any token that a platform issues, and small enough for
// every server's limit of a form.
const maxGiven = 64 << 10

// ClientAssertion returns the parameters that authenticate a client.
func ClientAssertion(assertion string) url.Values {
	return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {assertion}}
}

// CheckGiven reports why token is not sent to the server that audience names. An
// assertion is a JWT with that audience alone (RFC 7523 §3). Another token is checked
// only if it is a JWT, and may have further audiences. The error says nothing of what
// is in the token.
func CheckGiven(token, audience string, assertion bool) error {
	switch {
	case token == "":
		return errors.New("it returned no token")
	case len(token) > maxGiven || strings.ContainsRune(token, ' ') || !isVSCHAR(token):
		return errors.New("what it returned is not one token: it is too long, or has a space or a line end in it")
	}
	found, err := audiencesOf(token)
	switch {
	case err != nil:
		return errors.New("the audience (aud) of the token cannot be read, so it is not sent")
	case found == nil && assertion:
		return errors.New("what it returned is not a JWT with an audience (RFC 7523 §3)")
	case found == nil:
		return nil
	}
	ours := func(a string) bool { return SameIdentifier(a, audience) }
	if slices.ContainsFunc(found, ours) && (len(found) == 1 || !assertion) {
		return nil
	}
	return fmt.Errorf("the token is for another audience than %q, and is not sent; "+
		"get one for that audience, or set Config.Workload.Audience if the provider wants another", audience)
}

// audiencesOf returns the audiences of a JWT, which has not been verified; nil: it
// has none, or token is no JWT.
func audiencesOf(token string) ([]string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, nil
	}
	var claims struct {
		Audience json.RawMessage `json:"aud"`
	}
	if wire.UnmarshalJSON(payload, &claims) != nil {
		return nil, nil
	}
	if claims.Audience == nil || string(claims.Audience) == "null" {
		return nil, nil
	}
	return jose.Audience(claims.Audience)
}
