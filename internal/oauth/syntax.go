// Checks characters by the syntax of RFC 6749, appendix A.
//
// Texts of a server end up in headers, forms, scopes and messages. What is not
// of its syntax is refused before it can break out of the place that it is put
// in.

package oauth

import (
	"encoding/json"
	"strconv"
	"strings"
)

// isVSCHAR reports whether s holds visible ASCII and spaces only: a token, a
// client ID, a client secret.
func isVSCHAR(s string) bool {
	return eachByte(s, func(c byte) bool { return c >= ' ' && c <= '~' })
}

// isNQSCHAR reports whether s holds visible ASCII and spaces, without quotes
// and backslashes: an error code, a list of scopes.
func isNQSCHAR(s string) bool {
	return eachByte(s, func(c byte) bool { return c == ' ' || nqchar(c) })
}

// isNQCHAR is isNQSCHAR without spaces: a scope, a nonce. A scope with a space
// would be two scopes.
func isNQCHAR(s string) bool { return eachByte(s, nqchar) }

func nqchar(c byte) bool { return c > ' ' && c <= '~' && c != '"' && c != '\\' }

func eachByte(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// number reads a number or the string that several providers make of it, with
// or without a fraction. nil is 0. Out of range it is ±Inf.
func number(v any) (n float64, ok bool) {
	switch v := v.(type) {
	case nil:
		return 0, true
	case float64:
		return v, true
	case string:
		// The grammar is that of a JSON number: ParseFloat alone takes "inf",
		// "0x10", "1_0".
		if !json.Valid([]byte(v)) || strings.Trim(v, "+-.eE0123456789") != "" {
			return 0, false
		}
		n, _ = strconv.ParseFloat(v, 64)
		return n, true
	}
	return 0, false
}
