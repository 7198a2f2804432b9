package jose

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
)

// S73: a key that is weak, off its curve, or meant for another use verifies
// nothing.
func TestS73Keys(t *testing.T) {
	t.Parallel()
	b64 := base64.RawURLEncoding.EncodeToString
	rs, es, ed := josetest.New(t, "RS256", "k1"), josetest.New(t, "ES256", "k1"), josetest.New(t, "EdDSA", "k1")
	for name, tc := range map[string]struct {
		key  *josetest.Key
		omit string
		add  map[string]any
	}{
		"use enc":           {key: rs, add: map[string]any{"use": "enc"}},
		"use SIG":           {key: rs, add: map[string]any{"use": "SIG"}},
		"use 1":             {key: rs, add: map[string]any{"use": 1}},
		"key_ops encrypt":   {key: rs, add: map[string]any{"key_ops": []string{"encrypt"}}},
		"alg ES256":         {key: rs, add: map[string]any{"alg": "ES256"}},
		"alg RSA-OAEP":      {key: rs, add: map[string]any{"alg": "RSA-OAEP"}},
		"alg HS256":         {key: rs, add: map[string]any{"alg": "HS256"}},
		"kty EC":            {key: rs, add: map[string]any{"kty": "EC"}},
		"kty oct":           {key: rs, add: map[string]any{"kty": "oct", "k": "AAAA"}},
		"private":           {key: rs, add: map[string]any{"d": "AQAB"}},
		"e 1":               {key: rs, add: map[string]any{"e": "AQ"}},
		"e even":            {key: rs, add: map[string]any{"e": "BA"}},
		"e huge":            {key: rs, add: map[string]any{"e": b64([]byte(strings.Repeat("\xff", 16)))}},
		"n missing":         {key: rs, omit: "n"},
		"n of 9000 bits":    {key: rs, add: map[string]any{"n": b64([]byte(strings.Repeat("\xff", 1125)))}},
		"point off curve":   {key: es, add: map[string]any{"y": b64([]byte(strings.Repeat("\x01", 32)))}},
		"point at zero":     {key: es, add: map[string]any{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}},
		"curve P-384":       {key: es, add: map[string]any{"crv": "P-384"}},
		"curve secp256k1":   {key: es, add: map[string]any{"crv": "secp256k1"}},
		"y missing":         {key: es, omit: "y"},
		"Ed25519 too short": {key: ed, add: map[string]any{"x": b64(make([]byte, 31))}},
		"Ed25519 low order": {key: ed, add: map[string]any{"x": b64(make([]byte, 32))}},
		"X25519":            {key: ed, add: map[string]any{"crv": "X25519"}},
		"KTY for kty":       {key: rs, omit: "kty", add: map[string]any{"KTY": "RSA"}},
	} {
		k := *tc.key
		k.Add, k.Omit = tc.add, []string{tc.omit}
		keys, err := parse(josetest.Set(&k, tc.key))
		require.NoError(t, err, name)
		require.Len(t, keys, 1, "%s: the bad key is left out, and does not spoil the set", name)
		require.Equal(t, tc.key.Signer.Public(), keys[0].public)
	}

	for _, bits := range []int{1024, 2047} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		require.NoError(t, err)
		weak := &josetest.Key{Alg: "RS256", ID: "k1", Signer: key}
		keys, err := parse(josetest.Set(weak))
		require.NoError(t, err)
		require.Empty(t, keys, bits)
	}
}
