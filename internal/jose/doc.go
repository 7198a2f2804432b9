// Package jose verifies what a provider has signed (RFC 7515, RFC 7517, RFC
// 8725). The cryptography is go-jose's. This package decides which key may
// verify which token.
//
// Two errors are told apart everywhere. [ErrToken] is a verdict on a token.
// [ErrKeySet], and a failure of the network, say nothing about the token: it
// may be good, and the call can be repeated later.
package jose
