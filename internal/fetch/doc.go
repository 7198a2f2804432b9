// Package fetch is the one place from which the SDK talks to a provider.
//
// Each call is bounded: no redirects (S40, S47), a deadline (S58), a cap on the
// body, a limit to what is unpacked, and TLS 1.2 or later (S56). An [Error]
// says whether the request can have reached the server, because a refresh token
// that may have been spent must not be treated as one that was not.
package fetch
