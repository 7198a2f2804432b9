package workload

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

var errNoAudience = errors.New("workload: no audience was given; " +
	"name the authorization server that the token is for")

// accept returns token without the white space around it, if it is a JWT for
// audience alone. what names the token in an error.
func accept(token, audience, what string) (string, error) {
	if audience == "" {
		return "", errNoAudience
	}
	token = strings.TrimSpace(token)
	payload, err := jose.Payload(token)
	if err != nil {
		return "", fmt.Errorf("workload: %s is no JWT that is accepted: %v", what, err) // no server sent it
	}
	var claims struct {
		Audience json.RawMessage `json:"aud"`
	}
	if err := wire.UnmarshalJSON(payload, &claims); err != nil {
		return "", fmt.Errorf("workload: the claims of %s are %w", what, err)
	}
	audiences, err := jose.Audience(claims.Audience)
	if err != nil {
		return "", fmt.Errorf("workload: %s: %w", what, err)
	}
	// RFC 7523bis wants the authorization server as the only audience: each of
	// several could use the token at the others.
	if len(audiences) != 1 || audiences[0] != audience {
		return "", fmt.Errorf("workload: %s is for %s, and one for %q alone is needed; "+
			"make the platform issue it for that", what, list(audiences), wire.SafeText(audience, 200))
	}
	return token, nil
}

// list names audiences in an error. They are no secret, but they are foreign text.
func list(audiences []string) string {
	if len(audiences) == 0 {
		return "nobody"
	}
	quoted := make([]string, min(len(audiences), 3))
	for i := range quoted {
		quoted[i] = fmt.Sprintf("%q", wire.SafeText(audiences[i], 200))
	}
	if more := len(audiences) - len(quoted); more > 0 {
		quoted = append(quoted, fmt.Sprintf("%d more", more))
	}
	return strings.Join(quoted, ", ")
}
