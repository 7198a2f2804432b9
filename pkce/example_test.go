package pkce_test

import (
	"fmt"
	"net/url"

	"github.com/nativeoauth/nativeoauth/pkce"
)

// The challenge goes into the authorization request, the verifier into the token request.
func Example() {
	verifier := pkce.New()

	authorization := url.Values{
		"code_challenge":        {verifier.Challenge()},
		"code_challenge_method": {pkce.Method},
	}
	token := url.Values{
		"code_verifier": {verifier.Reveal()},
	}

	fmt.Println(
		len(authorization.Get("code_challenge")), authorization.Get("code_challenge_method"))
	fmt.Println(len(token.Get("code_verifier")))
	fmt.Println(verifier) // a log line gives nothing away
	// Output:
	// 43 S256
	// 43
	// [redacted]
}

// Parse accepts a verifier that was made elsewhere. This one is from RFC 7636,
// appendix B.
func ExampleParse() {
	verifier, err := pkce.Parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
	fmt.Println(verifier.Challenge(), err)

	_, err = pkce.Parse("too short")
	fmt.Println(err)
	// Output:
	// E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM <nil>
	// pkce: a code verifier has 43 to 128 characters, this one has 9; make one with pkce.New
}
