package jose_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const uri = "https://op.example/jwks"

var claims = map[string]any{"sub": "alice"}

func cache(keys ...*josetest.Key) *jose.KeySet {
	return jose.NewKeySet(fetchtest.Client(josetest.Handler(keys...)), uri)
}

func verify(t *testing.T, c *jose.KeySet, token string, algs ...string) error {
	t.Helper()
	payload, _, err := c.Verify(t.Context(), token, algs)
	require.Equal(t, err == nil, payload != nil, "a refused token gives no payload")
	return err
}

func TestEveryAlgorithmVerifies(t *testing.T) {
	t.Parallel()
	for _, alg := range josetest.Algorithms {
		k := josetest.New(t, alg, "k1")
		for name, omit := range map[string][]string{"with alg": nil, "without alg": {"alg"}, "bare": {"alg", "use", "kid"}} { // S73: Entra's JWKs lack alg
			k.Omit = omit
			token := k.Sign(claims)
			if name == "bare" {
				token = k.SignWith(map[string]any{"kid": nil, "typ": nil}, claims)
			}
			payload, got, err := cache(k).Verify(t.Context(), token, []string{alg})
			require.NoError(t, err, "%s %s", alg, name)
			require.Equal(t, alg, got)
			require.JSONEq(t, `{"sub":"alice"}`, string(payload))
			require.NoError(t, verify(t, cache(k), token), "nil algorithms are all of them")
		}
		k.Omit = nil
		other := josetest.New(t, alg, "k1")
		require.ErrorIs(t, verify(t, cache(other), k.Sign(claims)), jose.ErrToken, alg)
		token := k.Sign(claims)
		require.ErrorIs(t, verify(t, cache(k), token[:len(token)-4]+"AAAA"), jose.ErrToken, alg)
		parts := strings.Split(token, ".")
		forged := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"mallory"}`)) + "." + parts[2]
		require.ErrorIs(t, verify(t, cache(k), forged), jose.ErrToken, alg)
	}
}

// Keys as some providers publish them: padded, in standard base64, only as a
// certificate, without a kid beside a token that has one.
func TestKeysAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RS256", "ES256"} {
		k := josetest.New(t, alg, "k1")
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, k.Signer.Public(), k.Signer)
		require.NoError(t, err)
		chain := []string{base64.StdEncoding.EncodeToString(der)}
		standard := map[string]any{}
		for name, v := range k.JWK() {
			if text, ok := v.(string); ok && len(name) == 1 {
				raw, err := base64.RawURLEncoding.DecodeString(text)
				require.NoError(t, err)
				v = base64.StdEncoding.EncodeToString(raw)
			}
			standard[name] = v
		}
		anonymous := k.JWK()
		delete(anonymous, "kid")
		for name, jwk := range map[string]map[string]any{
			"standard base64": standard, "without kid": anonymous,
			"x5c only": {"kid": "k1", "use": "sig", "x5c": chain}, "x5c with kty": {"kid": "k1", "kty": k.JWK()["kty"], "x5c": chain},
		} {
			set := string(josetest.JSON(map[string]any{"keys": []any{jwk}}))
			require.NoError(t, verify(t, jose.NewKeySet(fetchtest.JSON(200, "\ufeff"+set), uri), k.Sign(claims)), alg+" "+name)
			other := josetest.New(t, alg, "k1")
			require.ErrorIs(t, verify(t, jose.NewKeySet(fetchtest.JSON(200, set), uri), other.Sign(claims)), jose.ErrToken, alg+" "+name)
		}
		for name, jwk := range map[string]map[string]any{
			"for encryption": {"kid": "k1", "use": "enc", "x5c": chain}, "another kty": {"kid": "k1", "kty": "OKP", "x5c": chain},
			"no certificate": {"kid": "k1", "x5c": []string{"MAo="}}, "another kid": {"kid": "k2", "x5c": chain},
		} {
			set := string(josetest.JSON(map[string]any{"keys": []any{jwk}}))
			require.ErrorIs(t, verify(t, jose.NewKeySet(fetchtest.JSON(200, set), uri), k.Sign(claims)), jose.ErrToken, alg+" "+name)
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024) // S73: a certificate makes no key stronger
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, small.Public(), small)
	require.NoError(t, err)
	set := string(josetest.JSON(map[string]any{"keys": []any{map[string]any{"kid": "k1", "x5c": []string{base64.StdEncoding.EncodeToString(der)}}}}))
	weak := &josetest.Key{Signer: small, ID: "k1", Alg: "RS256"}
	require.ErrorIs(t, verify(t, jose.NewKeySet(fetchtest.JSON(200, set), uri), weak.Sign(claims)), jose.ErrToken)
}

// S72: the algorithm comes from the allowlist and the key, never from the token
// alone.
func TestS72Algorithms(t *testing.T) {
	t.Parallel()
	rs := josetest.New(t, "RS256", "k1")
	c := cache(rs)
	der, err := x509.MarshalPKIXPublicKey(rs.Signer.Public())
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	ps := *rs
	ps.Alg = "PS256"
	payload := josetest.JSON(claims)
	for name, token := range map[string]string{
		"none":                   strings.TrimRight(rs.SignRaw([]byte(`{"alg":"none"}`), payload), "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
		"none, signed":           rs.SignRaw([]byte(`{"alg":"none","kid":"k1"}`), payload),
		"nOnE":                   rs.SignRaw([]byte(`{"alg":"nOnE","kid":"k1"}`), payload),
		"rs256 in lower case":    rs.SignRaw([]byte(`{"alg":"rs256","kid":"k1"}`), payload),
		"HS256 with public PEM":  josetest.HMAC(public, []byte(`{"alg":"HS256","kid":"k1"}`), payload),
		"HS256 with public DER":  josetest.HMAC(der, []byte(`{"alg":"HS256","kid":"k1"}`), payload),
		"PS256, key says RS256":  ps.Sign(claims),
		"ES256, key is RSA":      rs.SignRaw([]byte(`{"alg":"ES256","kid":"k1"}`), payload),
		"no alg":                 rs.SignRaw([]byte(`{"kid":"k1"}`), payload),
		"alg null":               rs.SignRaw([]byte(`{"alg":null,"kid":"k1"}`), payload),
		"alg a list":             rs.SignRaw([]byte(`{"alg":["RS256"],"kid":"k1"}`), payload),
		"alg twice":              rs.SignRaw([]byte(`{"alg":"none","alg":"RS256","kid":"k1"}`), payload),
		"ALG overrides alg":      rs.SignRaw([]byte(`{"alg":"none","ALG":"RS256","kid":"k1"}`), payload),
		"header is null":         rs.SignRaw([]byte(`null`), payload),
		"header is not JSON":     rs.SignRaw([]byte(`alg`), payload),
		"RS384 with RS256's key": rs.SignRaw([]byte(`{"alg":"RS384","kid":"k1"}`), payload),
	} {
		require.ErrorIs(t, verify(t, c, token), jose.ErrToken, name)
		require.ErrorIs(t, verify(t, c, token, "RS256", "none", "HS256", "nOnE", ""), jose.ErrToken, name)
	}
	require.NoError(t, verify(t, c, rs.Sign(claims)))

	rs.Omit = []string{"alg"}
	c = cache(rs)
	require.NoError(t, verify(t, c, ps.Sign(claims), "RS256", "PS256"))
	require.ErrorIs(t, verify(t, c, ps.Sign(claims), "RS256"), jose.ErrToken, "unlisted PS256")
	require.ErrorIs(t, verify(t, c, rs.Sign(claims), "none"), jose.ErrToken)
	require.Empty(t, jose.Algorithms([]string{"none", "HS256", "ES256K", ""}))
	require.Equal(t, []string{"RS256", "EdDSA"}, jose.Algorithms([]string{"EdDSA", "HS256", "RS256"}))
}

// S74: what the header says of keys is not read and causes no fetch.
func TestS74HeaderKeys(t *testing.T) {
	t.Parallel()
	good, evil := josetest.New(t, "RS256", "k1"), josetest.New(t, "RS256", "k1")
	var asked []string
	var mu sync.Mutex
	c := jose.NewKeySet(fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.String())
		mu.Unlock()
		josetest.Handler(good)(w, r)
	}), uri)
	for name, h := range map[string]map[string]any{
		"jwk": {"jwk": evil.JWK()}, "jwk without kid": {"jwk": evil.JWK(), "kid": nil}, "jku": {"jku": "https://evil.example/jwks"},
		"x5u": {"x5u": "https://evil.example/c"}, "x5c": {"x5c": []string{"AAAA"}},
		"path": {"kid": "../../dev/null"}, "url": {"kid": "https://evil.example/k"}, "sql": {"kid": "x' OR 1=1 --"}, "nul": {"kid": "k1\x00"}, "kid a number": {"kid": 1},
	} {
		require.ErrorIs(t, verify(t, c, evil.SignWith(h, claims)), jose.ErrToken, name)
	}
	mu.Lock()
	defer mu.Unlock()
	require.NotEmpty(t, asked)
	for _, u := range asked {
		require.Equal(t, uri, u)
	}
}

// S75, S76, S77: the form of the token, before any of it is believed.
func TestS75S76S77Form(t *testing.T) {
	t.Parallel()
	k := josetest.New(t, "ES256", "k1")
	c := cache(k)
	good := k.Sign(claims)
	p := strings.Split(good, ".")
	with := func(name string, v any) string { return k.SignWith(map[string]any{name: v}, claims) }
	raw := func(h string) string { return k.SignRaw([]byte(h), josetest.JSON(claims)) }
	for name, token := range map[string]string{
		"S75 crit":                with("crit", []string{"exp"}),
		"S75 crit b64":            k.SignWith(map[string]any{"crit": []string{"b64"}, "b64": true}, claims),
		"S75 crit empty":          with("crit", []string{}),
		"S75 crit null":           raw(`{"alg":"ES256","kid":"k1","crit":null}`),
		"S76 b64 false":           with("b64", false),
		"S76 zip":                 with("zip", "DEF"),
		"S76 enc":                 with("enc", "A128GCM"),
		"S76 at+jwt":              with("typ", "at+jwt"),
		"S76 logout+jwt":          with("typ", "logout+jwt"),
		"S76 dpop+jwt":            with("typ", "dpop+jwt"),
		"S76 typ a number":        with("typ", 1),
		"S76 empty":               "",
		"S76 one part":            p[0],
		"S76 two parts":           p[0] + "." + p[1],
		"S76 four parts":          good + ".",
		"S76 five parts":          good + ".AAAA.AAAA",
		"S76 dots":                strings.Repeat(".", 100_000),
		"S76 huge":                k.Sign(map[string]any{"sub": strings.Repeat("x", 256<<10)}),
		"S76 unencoded payload":   unencoded(k),
		"S76 huge header":         with("x", strings.Repeat("x", 10_000)),
		"S76 JSON serialization":  `{"protected":"` + p[0] + `","payload":"` + p[1] + `","signature":"` + p[2] + `"}`,
		"S76 no signature":        p[0] + "." + p[1] + ".",
		"S77 padding":             good + "=",
		"S77 line break":          p[0] + "." + p[1] + "\n." + p[2],
		"S77 line break in sig":   p[0] + "." + p[1] + "." + p[2][:10] + "\r\n" + p[2][10:],
		"S77 space":               good + " ",
		"S77 base64":              p[0] + "." + p[1] + "+/." + p[2],
		"S77 stray bits":          stray(good),
		"S77 duplicate in header": raw(`{"alg":"ES256","kid":"k1","kid":"k1"}`),
		"S77 duplicate unknown":   raw(`{"alg":"ES256","kid":"k1","x":1,"x":2}`),
		"S77 bad UTF-8":           raw("{\"alg\":\"ES256\",\"kid\":\"k1\",\"x\":\"\xff\"}"),
		"S77 trailing":            raw(`{"alg":"ES256","kid":"k1"}{}`),
		"S77 deep":                raw(`{"alg":"ES256","kid":"k1","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`),
	} {
		err := verify(t, c, token)
		require.ErrorIs(t, err, jose.ErrToken, name)
		require.Less(t, len(err.Error()), 200, name)
	}
	require.NoError(t, verify(t, c, good))
	require.NoError(t, verify(t, c, with("typ", nil)))
	require.NoError(t, verify(t, c, with("typ", "jwt")))
	require.NoError(t, verify(t, c, with("typ", "application/JWT")))
	require.NoError(t, verify(t, c, with("x5t", "abc")))
}

// unencoded signs as RFC 7797 does, but without crit. Only a verifier that
// reads b64 would accept it.
func unencoded(k *josetest.Key) string {
	p := strings.Split(k.SignWith(map[string]any{"b64": false}, claims), ".")
	return p[0] + "." + p[1] + "." + k.SignInput(p[0]+"."+string(josetest.JSON(claims)))
}

// stray sets the unused low bits of a signature's last character. That is a
// second spelling of the same bytes.
func stray(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[i|1])
}

func TestWithoutKidEverySuitableKeyIsTried(t *testing.T) {
	t.Parallel()
	a, b, es := josetest.New(t, "RS256", "a"), josetest.New(t, "RS256", "b"), josetest.New(t, "ES256", "c")
	none := map[string]any{"kid": nil}
	require.NoError(t, verify(t, cache(a), a.SignWith(none, claims)))
	require.NoError(t, verify(t, cache(es, a, b), b.SignWith(none, claims)), "every suitable key is tried")
	require.ErrorIs(t, verify(t, cache(es, a), b.SignWith(none, claims)), jose.ErrToken)
	require.ErrorIs(t, verify(t, cache(a, b), a.SignWith(map[string]any{"kid": "b"}, claims)), jose.ErrToken, "kid binds")
	require.ErrorIs(t, verify(t, cache(a), a.SignWith(map[string]any{"kid": ""}, claims)), jose.ErrToken, "an empty kid is a kid")
	es.ID = "a" // one kid, two types (RFC 7517 §4.5 allows it)
	require.NoError(t, verify(t, cache(es, a), a.Sign(claims)))
}

func TestInvalidKeySetSaysNothingOfTheToken(t *testing.T) {
	t.Parallel()
	k := josetest.New(t, "ES256", "k1")
	many := make([]*josetest.Key, 101)
	for i := range many {
		many[i] = k
	}
	for name, body := range map[string]string{
		"HTML": "<html>", "empty": "", "no keys": `{}`, "keys null": `{"keys":null}`, "keys an object": `{"keys":{}}`, "KEYS": `{"KEYS":[]}`, "twice": `{"keys":[],"keys":[]}`,
		"a list": `[]`, "trailing": string(josetest.Set(k)) + "x", "too many": string(josetest.Set(many...)), "a duplicate in a key": `{"keys":[{"kty":"RSA","kty":"EC"}]}`,
	} {
		err := verify(t, jose.NewKeySet(fetchtest.JSON(200, body), uri), k.Sign(claims))
		require.ErrorIs(t, err, jose.ErrKeySet, name)
		require.NotErrorIs(t, err, jose.ErrToken, "%s: that says nothing about the token", name)
	}
	for _, status := range []int{302, 404, 500, 503} {
		require.ErrorIs(t, verify(t, jose.NewKeySet(fetchtest.JSON(status, string(josetest.Set(k))), uri), k.Sign(claims)), jose.ErrKeySet)
	}
	require.ErrorIs(t, verify(t, jose.NewKeySet(fetchtest.JSON(200, `{"keys":[]}`), uri), k.Sign(claims)), jose.ErrToken)
	require.ErrorIs(t, verify(t, jose.NewKeySet(fetchtest.JSON(200, `{"keys":[null,1,"x",[],{}]}`), uri), k.Sign(claims)), jose.ErrToken)
	for _, bad := range []string{"", "http://op.example/jwks"} {
		require.ErrorIs(t, verify(t, jose.NewKeySet(fetchtest.JSON(200, "{}"), bad), k.Sign(claims)), jose.ErrKeySet)
	}
	require.ErrorIs(t, verify(t, nil, k.Sign(claims)), jose.ErrKeySet)

	down := errors.New("down")
	err := verify(t, jose.NewKeySet(&fetch.Client{Transport: failing{down}}, uri), k.Sign(claims))
	var fe *fetch.Error
	require.ErrorAs(t, err, &fe, "the network's failure is told apart")
	require.ErrorIs(t, err, down)
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// S81: tokens with unknown key IDs cause at most one fetch a minute.
func TestS81RandomKidsFetchOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := josetest.New(t, "ES256", "k1")
		var fetches atomic.Int32
		c := jose.NewKeySet(fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
			fetches.Add(1)
			josetest.Handler(k)(w, r)
		}), uri)
		require.NoError(t, c.Prefetch(t.Context()))
		require.NoError(t, c.Prefetch(t.Context()))
		require.EqualValues(t, 1, fetches.Load())

		flood := func(n int) {
			for range n {
				require.ErrorIs(t, verify(t, c, k.SignWith(map[string]any{"kid": rand.Text()}, claims)), jose.ErrToken)
			}
		}
		flood(1000)
		require.EqualValues(t, 2, fetches.Load(), "the prefetch does not count")
		time.Sleep(59 * time.Second)
		flood(10)
		require.EqualValues(t, 2, fetches.Load())
		time.Sleep(time.Second)
		flood(10)
		require.EqualValues(t, 3, fetches.Load())
		require.NoError(t, verify(t, c, k.Sign(claims)), "and the good key still serves")
		require.EqualValues(t, 3, fetches.Load())
	})
}

// oidcc-client-test-signing-key-rotation and -just-before-signing.
func TestRotatedKeyIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := josetest.New(t, "ES256", "k1"), josetest.New(t, "ES256", "k2")
		same := josetest.New(t, "ES256", "k2") // a careless server: a new key under the old ID
		var now atomic.Pointer[josetest.Key]
		now.Store(first)
		c := jose.NewKeySet(fetchtest.Client(func(w http.ResponseWriter, r *http.Request) { josetest.Handler(now.Load())(w, r) }), uri)
		require.NoError(t, c.Prefetch(t.Context()))
		now.Store(second)
		require.NoError(t, verify(t, c, second.Sign(claims)), "rotated between the prefetch and the signing")
		require.ErrorIs(t, verify(t, c, first.Sign(claims)), jose.ErrToken, "a key that is gone is gone")
		time.Sleep(time.Minute)
		now.Store(same)
		require.NoError(t, verify(t, c, same.Sign(claims)))
	})
}

// A fetch that fails says nothing about a token, also not in the minute in
// which no other fetch is made: its key may be new.
func TestTokenIsNotRejectedAfterAFailedFetch(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"HTTP 503":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"no key set": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	} {
		synctest.Test(t, func(t *testing.T) {
			old, next := josetest.New(t, "ES256", "k1"), josetest.New(t, "ES256", "k2")
			var fetches atomic.Int32
			var handler atomic.Value
			handler.Store(josetest.Handler(old))
			c := jose.NewKeySet(fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
				fetches.Add(1)
				handler.Load().(http.HandlerFunc)(w, r)
			}), uri)
			require.NoError(t, verify(t, c, old.Sign(claims)))
			handler.Store(answer)
			for range 10 {
				err := verify(t, c, next.Sign(claims))
				require.ErrorIs(t, err, jose.ErrKeySet, name)
				require.NotErrorIs(t, err, jose.ErrToken, name)
			}
			require.EqualValues(t, 2, fetches.Load(), "and the limit holds (S81)")
			require.NoError(t, verify(t, c, old.Sign(claims)), "the keys at hand still serve")

			handler.Store(josetest.Handler(next))
			require.ErrorIs(t, verify(t, c, next.Sign(claims)), jose.ErrKeySet)
			time.Sleep(time.Minute)
			require.NoError(t, verify(t, c, next.Sign(claims)))
			require.ErrorIs(t, verify(t, c, old.Sign(claims)), jose.ErrToken, "a fetch that succeeds counts")
		})
	}
}

// A retry fetches again within the minute, but only after a fetch that failed
// (S81). Its answer is final.
func TestS81RetryOnlyAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next, forged := josetest.New(t, "ES256", "k1"), josetest.New(t, "ES256", "k2"), josetest.New(t, "ES256", "k3")
		var fetches atomic.Int32
		var handler atomic.Value
		handler.Store(josetest.Handler(old))
		c := jose.NewKeySet(fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
			fetches.Add(1)
			handler.Load().(http.HandlerFunc)(w, r)
		}), uri)
		require.NoError(t, verify(t, c, old.Sign(claims)))
		for range 10 {
			require.NoError(t, c.Retry(t.Context()))
			require.ErrorIs(t, verify(t, c, forged.Sign(claims)), jose.ErrToken)
		}
		require.EqualValues(t, 2, fetches.Load(), "the refetch brought keys: nothing to retry")

		time.Sleep(time.Minute)
		handler.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
		require.ErrorIs(t, verify(t, c, next.Sign(claims)), jose.ErrKeySet)
		require.ErrorIs(t, c.Retry(t.Context()), jose.ErrKeySet)
		require.EqualValues(t, 4, fetches.Load())
		time.Sleep(30 * time.Second)
		handler.Store(josetest.Handler(next))
		require.NoError(t, c.Retry(t.Context()))
		require.NoError(t, verify(t, c, next.Sign(claims)))
		require.ErrorIs(t, verify(t, c, forged.Sign(claims)), jose.ErrToken, "the keys are new: that is a verdict")
		time.Sleep(59 * time.Second)
		require.ErrorIs(t, verify(t, c, forged.Sign(claims)), jose.ErrToken)
		require.EqualValues(t, 5, fetches.Load(), "the minute begins with the retry")
	})
}

func TestOldKeysServeForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := josetest.New(t, "ES256", "k1")
		var fetches atomic.Int32
		var down, withdrawn atomic.Bool
		c := jose.NewKeySet(fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
			fetches.Add(1)
			switch {
			case down.Load():
				w.WriteHeader(503)
			case withdrawn.Load():
				josetest.Handler()(w, r)
			default:
				josetest.Handler(k)(w, r)
			}
		}), uri)
		ok := func() error { return verify(t, c, k.Sign(claims)) }
		require.NoError(t, ok())
		time.Sleep(time.Hour)
		require.NoError(t, ok())
		require.EqualValues(t, 1, fetches.Load())
		time.Sleep(time.Second)
		require.NoError(t, ok())
		require.EqualValues(t, 2, fetches.Load(), "an hour old: asked again")

		down.Store(true)
		time.Sleep(2 * time.Hour)
		for range 10 {
			require.NoError(t, ok(), "the provider's outage does not stop a refresh")
		}
		require.EqualValues(t, 3, fetches.Load(), "nor is it asked more than once a minute")
		time.Sleep(23 * time.Hour)
		require.ErrorIs(t, ok(), jose.ErrKeySet, "but a day is the end")
		require.ErrorIs(t, ok(), jose.ErrKeySet)
		require.EqualValues(t, 4, fetches.Load())

		down.Store(false)
		withdrawn.Store(true)
		time.Sleep(time.Minute)
		require.ErrorIs(t, ok(), jose.ErrToken, "a withdrawn key ends")
	})
}

// S81: callers that overlap share one fetch. A caller that goes away does not
// end it for the others.
func TestS81OverlappingCallersShareAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := josetest.New(t, "ES256", "k1")
		var fetches atomic.Int32
		slow := slowly{time.Second, &fetches, josetest.Handler(k)}
		c := jose.NewKeySet(&fetch.Client{Transport: slow}, uri)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { gone <- c.Prefetch(ctx) }()
		synctest.Wait()
		results := make(chan error, 50)
		for range 50 {
			go func() {
				_, _, err := c.Verify(t.Context(), k.Sign(claims), nil)
				results <- err
			}()
		}
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-gone, context.Canceled)
		for range 50 {
			require.NoError(t, <-results)
		}
		require.EqualValues(t, 1, fetches.Load())
	})
}

// A fetch that nobody waits for any more ends at once.
func TestAbandonedFetchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := josetest.New(t, "ES256", "k1")
		var fetches atomic.Int32
		c := jose.NewKeySet(&fetch.Client{Transport: slowly{20 * time.Second, &fetches, josetest.Handler(k)}}, uri)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.Prefetch(ctx), context.DeadlineExceeded)
		synctest.Wait()
		require.Equal(t, time.Second, time.Since(start))
		require.NoError(t, verify(t, c, k.Sign(claims)), "the next caller begins anew")
		require.EqualValues(t, 2, fetches.Load())
	})
}

type slowly struct {
	delay   time.Duration
	fetches *atomic.Int32
	handler http.HandlerFunc
}

func (s slowly) RoundTrip(req *http.Request) (*http.Response, error) {
	s.fetches.Add(1)
	select {
	case <-time.After(s.delay):
		return fetchtest.Client(s.handler).Transport.RoundTrip(req)
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

func TestPayloadChecksTheForm(t *testing.T) {
	k := josetest.New(t, "EdDSA", "")
	payload, err := jose.Payload(k.Sign(claims))
	require.NoError(t, err)
	require.JSONEq(t, `{"sub":"alice"}`, string(payload))
	_, err = jose.Payload("x.y")
	require.ErrorIs(t, err, jose.ErrToken)
}

func FuzzJWKS(f *testing.F) {
	k := josetest.New(f, "ES256", "k1")
	token := k.Sign(claims)
	other := josetest.New(f, "RS256", "k2")
	f.Add(josetest.Set(k))
	f.Add(josetest.Set(k, other))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"k1"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`))
	f.Fuzz(func(t *testing.T, set []byte) {
		// Only a set that holds the signer's own point verifies.
		c := jose.NewKeySet(fetchtest.JSON(200, string(set)), uri)
		_, _, err := c.Verify(t.Context(), token, nil)
		if err == nil {
			var m map[string]any
			require.NoError(t, json.Unmarshal(set, &m))
			require.Contains(t, fmt.Sprint(m), k.JWK()["x"])
			return
		}
		require.True(t, errors.Is(err, jose.ErrToken) || errors.Is(err, jose.ErrKeySet) || errors.Is(err, fetch.ErrTooLarge), "%v", err)
	})
}
