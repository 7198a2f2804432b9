// Package jose verifies what a provider has signed (RFC 7515, RFC 7517,
// RFC 8725). The cryptography is go-jose's; which key may verify which token is
// decided here.
package jose
