// Checks client IDs that are URLs
// (draft-ietf-oauth-client-id-metadata-document).
//
// The provider fetches the URL to learn about the client, and compares it as a
// string. A second spelling would be a second client, or name another document
// (S45).

package oauth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrDocumentURL is matched by the refusal of a client ID that is a URL.
var ErrDocumentURL = errors.New("this URL cannot be a client ID")

// IsDocumentURL reports whether a client ID is meant as the URL of a client ID
// metadata document. Providers that know no such documents accept any string,
// so only https:// means it.
func IsDocumentURL(clientID string) bool {
	return len(clientID) >= 8 && strings.EqualFold(clientID[:8], "https://")
}

// CheckDocumentURL checks the URL of a client ID metadata document: https, a
// path that is more than "/", no "." or ".." segments, no fragment, no user
// name or password (S45). The scheme and host must be in lower case, without a
// default port. Errors match [ErrDocumentURL].
func CheckDocumentURL(clientID string) error {
	u, err := wire.URLPolicy{}.Parse(clientID)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDocumentURL, err)
	}
	if strings.Trim(u.Path, "/") == "" {
		return fmt.Errorf("%w: it needs a path, as in https://example.com/client.json", ErrDocumentURL)
	}
	// u.Path is decoded: %2e is a dot, and %2F may be taken for a slash.
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("%w: its path has a . or .. segment", ErrDocumentURL)
		}
	}
	if !strings.HasPrefix(clientID, wire.Origin(u)+"/") {
		return fmt.Errorf("%w: write its scheme and host in lower case, and without the port 443", ErrDocumentURL)
	}
	return nil
}
