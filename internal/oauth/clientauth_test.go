package oauth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

const (
	clientauthIssuer = "https://op.example/tenant"
	endpoint         = "https://op.example/token"
)

func apply(m oauth.ClientAuth, id string, supported, algs []string) (url.Values, http.Header, error) {
	form, header := url.Values{"grant_type": {"x"}}, http.Header{}
	err := m.Apply(id, clientauthIssuer, endpoint, supported, algs, form, header, time.Now())
	return form, header, err
}

// S49: without a secret there is no Authorization header, whatever the provider
// lists.
func TestS49PublicClientSendsItsIDOnly(t *testing.T) {
	for _, supported := range [][]string{nil, {}, {"none"}, {"client_secret_basic"}, {"private_key_jwt"}} {
		for _, m := range []oauth.ClientAuth{{}, oauth.ClientSecret("")} {
			form, header, err := apply(m, "my-cli", supported, nil)
			require.NoError(t, err)
			require.Equal(t, url.Values{"grant_type": {"x"}, "client_id": {"my-cli"}}, form)
			require.Empty(t, header)
			require.Equal(t, oauth.ClientAuth{}, m)
			require.NoError(t, m.Check())
		}
	}
}

func TestClientSecretGoesAsTheProviderSupports(t *testing.T) {
	m := oauth.ClientSecret("p%: +ü&")
	require.NotEqual(t, oauth.ClientAuth{}, m)
	require.NoError(t, m.Check())
	for _, supported := range [][]string{nil, {"client_secret_basic"}, {"client_secret_post", "client_secret_basic"}} {
		form, header, err := apply(m, "my:cli", supported, nil)
		require.NoError(t, err)
		require.Equal(t, url.Values{"grant_type": {"x"}}, form, "one method a request (RFC 6749 §2.3)")
		scheme, value, _ := strings.Cut(header.Get("Authorization"), " ")
		require.Equal(t, "Basic", scheme)
		pair, err := base64.StdEncoding.DecodeString(value)
		require.NoError(t, err)
		require.Equal(t, "my%3Acli:p%25%3A+%2B%C3%BC%26", string(pair), "form-encoded first (§2.3.1)")
	}
	// A registration's answer decides, whatever the metadata list.
	form, header, err := apply(oauth.RegisteredSecret("s", "client_secret_post"), "c", []string{"client_secret_basic"}, nil)
	require.NoError(t, err)
	require.Equal(t, "s", form.Get("client_secret"))
	require.Empty(t, header)
	_, header, err = apply(oauth.RegisteredSecret("s", "client_secret_basic"), "c", []string{"client_secret_post"}, nil)
	require.NoError(t, err)
	require.NotEmpty(t, header.Get("Authorization"))
	require.Equal(t, oauth.ClientAuth{}, oauth.RegisteredSecret("", "client_secret_post"), "a public client")

	form, header, err = apply(m, "my:cli", []string{"private_key_jwt", "client_secret_post"}, nil)
	require.NoError(t, err)
	require.Empty(t, header)
	require.Equal(t, url.Values{"grant_type": {"x"}, "client_id": {"my:cli"}, "client_secret": {"p%: +ü&"}}, form)

	for _, supported := range [][]string{{}, {"none"}, {"private_key_jwt"}, {"CLIENT_SECRET_BASIC"}} {
		form, header, err := apply(m, "my-cli", supported, nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.Empty(t, header)
		require.Len(t, form, 1, "nothing of the secret is left behind")
	}
	require.Equal(t, "secret [redacted]!", m.Withhold("my:cli", "secret p%: +ü&!"))
	_, header, err = apply(m, "my:cli", nil, nil)
	require.NoError(t, err)
	require.Equal(t, "Basic [redacted], and [redacted]", m.Withhold("my:cli", header.Get("Authorization")+", and "+url.QueryEscape("p%: +ü&")), "S66: as it was sent")
	require.Equal(t, "x", oauth.ClientAuth{}.Withhold("id", "x"))
}

// Private keys of every kind. go-jose checks the signatures.
func TestPrivateKeyJWTVerifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			key     string
			offered []string
			alg     string
		}{
			{"RS256", nil, "RS256"}, {"RS256", []string{"RS256"}, "RS256"}, {"RS256", []string{"RS256", "PS256"}, "PS256"},
			{"ES256", nil, "ES256"}, {"ES256", []string{"ES256", "RS256"}, "ES256"}, {"ES384", nil, "ES384"}, {"ES512", nil, "ES512"}, {"EdDSA", nil, "EdDSA"},
		} {
			k := josetest.New(t, tc.key, "key-1")
			m := oauth.PrivateKeyJWT(opaque{k.Signer}, "key-1")
			require.NoError(t, m.Check())
			seen := map[any]bool{}
			for range 20 { // ECDSA's numbers are sometimes short: they must be padded
				form, header, err := apply(m, "my-cli", []string{"private_key_jwt"}, tc.offered)
				require.NoError(t, err)
				require.Empty(t, header)
				require.Equal(t, "my-cli", form.Get("client_id"))
				require.Equal(t, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", form.Get("client_assertion_type"))
				jws, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(tc.alg)})
				require.NoError(t, err)
				payload, err := jws.Verify(k.Signer.Public())
				require.NoError(t, err, tc.alg)
				require.Equal(t, "key-1", jws.Signatures[0].Protected.KeyID)
				var c map[string]any
				require.NoError(t, json.Unmarshal(payload, &c))
				require.False(t, seen[c["jti"]], "a fresh jti each time")
				seen[c["jti"]] = true
				require.GreaterOrEqual(t, len(c["jti"].(string)), 20)
				delete(c, "jti")
				now := float64(time.Now().Unix())
				require.Equal(t, map[string]any{"iss": "my-cli", "sub": "my-cli", "aud": clientauthIssuer, "iat": now, "exp": now + 60}, c)
			}
		}
	})
	ed := oauth.PrivateKeyJWT(josetest.New(t, "EdDSA", "").Signer, "")
	form := url.Values{}
	require.NoError(t, ed.Apply("my-cli", "", endpoint, nil, nil, form, http.Header{}, time.Now()))
	require.Equal(t, endpoint, audienceOf(t, form), "a provider without an issuer is named by its endpoint")
	_, _, err := apply(ed, "my-cli", []string{"private_key_jwt"}, []string{"RS256"})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, _, err = apply(ed, "my-cli", []string{"client_secret_basic"}, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func audienceOf(t *testing.T, form url.Values) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(form.Get("client_assertion"), ".")[1])
	require.NoError(t, err)
	var c struct{ Aud string }
	require.NoError(t, json.Unmarshal(payload, &c))
	require.NotContains(t, form.Get("client_assertion"), "kid")
	return c.Aud
}

// A server that does not decode gets the pair as it is. A colon in the ID would end
// it elsewhere, so that is an error and nothing is sent. An echo is withheld (S66).
func TestRawBasic(t *testing.T) {
	m := oauth.ClientSecret("p%: +&").RawBasic()
	form, header, err := apply(m, "my-cli", nil, nil)
	require.NoError(t, err)
	require.Len(t, form, 1)
	user, password, _ := (&http.Request{Header: header}).BasicAuth()
	require.Equal(t, []string{"my-cli", "p%: +&"}, []string{user, password})
	require.Equal(t, "Basic [redacted]", m.Withhold("my-cli", header.Get("Authorization")))
	_, header, err = apply(m, "my:cli", nil, nil)
	require.ErrorContains(t, err, "colon")
	require.Empty(t, header)
	require.Equal(t, oauth.ClientAuth{}, oauth.ClientAuth{}.RawBasic())
}

// opaque hides the key, as hardware does.
type opaque struct{ crypto.Signer }

func TestKeysThatCannotSignAreErrors(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	for name, key := range map[string]crypto.Signer{"nil": nil, "RSA-1024": weak, "P-224": p224} {
		m := oauth.PrivateKeyJWT(key, "")
		require.Error(t, m.Check(), name)
		form, _, err := apply(m, "my-cli", nil, nil)
		require.Error(t, err, name)
		require.Len(t, form, 1)
	}
	good := josetest.New(t, "ES256", "")
	for name, sig := range map[string][]byte{"empty": {}, "no ASN.1": []byte("x"), "trailing": {0x30, 6, 2, 1, 1, 2, 1, 1, 0}, "negative": {0x30, 6, 2, 1, 0xff, 2, 1, 1}, "zero": {0x30, 6, 2, 1, 0, 2, 1, 1}} {
		_, _, err := apply(oauth.PrivateKeyJWT(broken{good.Signer, sig, nil}, ""), "my-cli", nil, nil)
		require.Error(t, err, name)
	}
	locked := errors.New("the card is locked")
	_, _, err = apply(oauth.PrivateKeyJWT(broken{good.Signer, nil, locked}, ""), "my-cli", nil, nil)
	require.ErrorIs(t, err, locked)
}

type broken struct {
	crypto.Signer
	sig []byte
	err error
}

func (b broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return b.sig, b.err }

// S66: a ClientAuth prints neither its secret nor its key, also not as an
// unexported field.
func TestS66ClientAuthIsRedacted(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for m, word := range map[oauth.ClientAuth]string{oauth.ClientSecret("canary-5c1d"): "client secret", oauth.PrivateKeyJWT(key, "key-1"): "private key", {}: "none"} {
		type holder struct{ m oauth.ClientAuth }
		for _, v := range []any{m, &m, holder{m}, &holder{m}, []oauth.ClientAuth{m}, map[string]any{"m": m}} {
			var out bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&out, verb, v)
			}
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
			b, err := json.Marshal(v)
			require.NoError(t, err)
			out.Write(b)
			require.NotContains(t, out.String(), "canary")
			require.NotContains(t, out.String(), fmt.Sprint(key[0], " ", key[1], " ", key[2]))
			require.NotContains(t, out.String(), fmt.Sprintf("%x", key[:4]))
		}
		require.Contains(t, m.String(), word)
	}
}
