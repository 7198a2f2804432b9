// Checks characters by the syntax of RFC 6749, appendix A.
//
// Texts of a server end up in headers, forms, scopes and messages. What is not
// of its syntax is refused before it can break out of the place that it is put
// in.

package oauth

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
