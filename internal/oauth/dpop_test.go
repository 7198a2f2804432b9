package oauth_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func newKey(t testing.TB) oauth.DPoPKey {
	k, err := oauth.NewDPoPKey()
	require.NoError(t, err)
	return k
}

func parse(t testing.TB, raw string) *url.URL {
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}

// open verifies a proof as a server does, with go-jose.
func open(t testing.TB, proof string) (header jose.Header, rawHeader, claims map[string]any) {
	jws, err := jose.ParseSignedCompact(proof, []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(t, err)
	header = jws.Signatures[0].Protected
	payload, err := jws.Verify(header.JSONWebKey)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(payload, &claims))
	first, _, _ := strings.Cut(proof, ".")
	b, err := base64.RawURLEncoding.DecodeString(first)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &rawHeader))
	return header, rawHeader, claims
}

// S85: the members of a proof.
func TestS85ProofHoldsWhatTheRFCSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t)
		proof, err := key.Proof("POST", parse(t, "HTTPS://As.Example:443/token?code=x#y"), wire.Secret{}, "", time.Now())
		require.NoError(t, err)
		header, raw, claims := open(t, proof)
		require.Equal(t, "dpop+jwt", raw["typ"])
		require.Equal(t, "ES256", raw["alg"])
		require.Len(t, raw, 3)
		require.True(t, header.JSONWebKey.IsPublic())
		jwk := raw["jwk"].(map[string]any)
		require.Len(t, jwk, 4, "kty, crv, x, y: no private part, no kid")
		require.NotContains(t, jwk, "d")

		require.Len(t, claims["jti"], 26) // base32: 130 bits
		delete(claims, "jti")
		require.Equal(t, map[string]any{"htm": "POST", "htu": "https://as.example/token", "iat": float64(time.Now().Unix())}, claims)

		proof, err = key.Proof("", parse(t, "https://api.example/x"), wire.NewSecret("token"), "n-1", time.Now())
		require.NoError(t, err)
		_, _, claims = open(t, proof)
		sum := sha256.Sum256([]byte("token"))
		require.Equal(t, base64.RawURLEncoding.EncodeToString(sum[:]), claims["ath"])
		require.Equal(t, "n-1", claims["nonce"])
		require.Equal(t, "GET", claims["htm"])
	})
}

// S85: each proof has a jti of its own.
func TestS85EachProofHasAFreshID(t *testing.T) {
	key, u, seen := newKey(t), parse(t, "https://h/"), map[any]bool{}
	for range 100 {
		proof, err := key.Proof("GET", u, wire.Secret{}, "", time.Now())
		require.NoError(t, err)
		_, _, claims := open(t, proof)
		require.False(t, seen[claims["jti"]])
		seen[claims["jti"]] = true
	}
}

// S85: htu is what the server sees, with case and default port normalised.
func TestS85TargetIsNormalised(t *testing.T) {
	key := newKey(t)
	for in, want := range map[string]string{
		"https://h":                    "https://h/",
		"https://h?q":                  "https://h/",
		"https://h/#f":                 "https://h/",
		"HTTPS://EXAMPLE.com:443/A?x":  "https://example.com/A",
		"https://h:80/":                "https://h:80/",
		"http://127.0.0.1:80/x":        "http://127.0.0.1/x",
		"http://[::1]:8080/x":          "http://[::1]:8080/x",
		"https://h/a%2Fb/%7e/c;d?x=%2": "https://h/a%2Fb/%7e/c;d",
		"https://h/a b/é":              "https://h/a%20b/%C3%A9",
		"https://u:p@h/":               "https://h/",
		"https://h/a/../b//c/.":        "https://h/a/../b//c/.",
		"https://h/\"<&>":              "https://h/%22%3C&%3E",
	} {
		proof, err := key.Proof("GET", parse(t, in), wire.Secret{}, "", time.Now())
		require.NoError(t, err)
		_, _, claims := open(t, proof)
		require.Equal(t, want, claims["htu"], in)
	}
	for _, in := range []string{"", "/x", "mailto:x", "ftp://h/", "https:x", "https:///x", "https://例え.jp/"} {
		_, err := key.Proof("GET", parse(t, in), wire.Secret{}, "", time.Now())
		require.ErrorIs(t, err, oauth.ErrDPoPURL, in)
	}
	_, err := key.Proof("GET", nil, wire.Secret{}, "", time.Now())
	require.ErrorIs(t, err, oauth.ErrDPoPURL)
}

// S85: htu equals what net/http puts on the wire, for a path that it escapes.
func TestS85TargetIsTheRequestLine(t *testing.T) {
	key := newKey(t)
	for _, raw := range []string{"https://h", "https://h/a%2Fb?x", "https://h/a b/é", "https://h/%7E/*'()"} {
		req, err := http.NewRequest("GET", raw, nil)
		require.NoError(t, err)
		proof, err := key.Proof("GET", req.URL, wire.Secret{}, "", time.Now())
		require.NoError(t, err)
		_, _, claims := open(t, proof)
		path, _, _ := strings.Cut(req.URL.RequestURI(), "?")
		require.Equal(t, "https://h"+path, claims["htu"])
	}
}

// S87: the thumbprint is RFC 7638's, so that dpop_jkt names the key that
// proves.
func TestS87Thumbprint(t *testing.T) {
	key := newKey(t)
	proof, err := key.Proof("GET", parse(t, "https://h/"), wire.Secret{}, "", time.Now())
	require.NoError(t, err)
	header, _, _ := open(t, proof)
	sum, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, base64.RawURLEncoding.EncodeToString(sum), key.Thumbprint())
	require.NotEqual(t, key.Thumbprint(), newKey(t).Thumbprint())
}

// S87: the key comes back from the stored session as the same key. A damaged
// one is a typed error.
func TestS87KeySurvivesTheStore(t *testing.T) {
	key := newKey(t)
	stored, err := key.Marshal()
	require.NoError(t, err)
	require.Len(t, stored.Reveal(), 49)
	back, err := oauth.ParseDPoPKey(stored)
	require.NoError(t, err)
	require.Equal(t, key.Thumbprint(), back.Thumbprint())
	proof, err := back.Proof("GET", parse(t, "https://h/"), wire.Secret{}, "", time.Now())
	require.NoError(t, err)
	open(t, proof)

	text := stored.Reveal()
	zero := strings.Repeat("A", 43)
	order := base64.RawURLEncoding.EncodeToString([]byte("\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51"))
	for _, bad := range []string{"", "ES256", "ES256.", text[:48], text + "A", text + "\n", strings.TrimPrefix(text, "ES256."), "ES512" + text[5:], "es256" + text[5:], "ES256." + zero, "ES256." + order, "ES256.!" + text[7:]} {
		_, err := oauth.ParseDPoPKey(wire.NewSecret(bad))
		require.ErrorIs(t, err, oauth.ErrDPoPKey)
		require.Equal(t, oauth.ErrDPoPKey.Error(), err.Error())
	}

	_, err = oauth.DPoPKey{}.Marshal()
	require.ErrorIs(t, err, oauth.ErrDPoPKey)
	_, err = oauth.DPoPKey{}.Proof("GET", parse(t, "https://h/"), wire.Secret{}, "", time.Now())
	require.ErrorIs(t, err, oauth.ErrDPoPKey)
	require.Empty(t, oauth.DPoPKey{}.Thumbprint())
	require.True(t, oauth.DPoPKey{}.IsZero())
}

// S66, S87: no verb or encoder shows the key.
func TestS66S87KeyIsRedacted(t *testing.T) {
	key := newKey(t)
	stored, err := key.Marshal()
	require.NoError(t, err)
	scalar := strings.TrimPrefix(stored.Reveal(), "ES256.")
	d, err := base64.RawURLEncoding.DecodeString(scalar)
	require.NoError(t, err)
	canaries := []string{scalar, fmt.Sprintf("%x", d), fmt.Sprint(d), fmt.Sprintf("%d", d), fmt.Sprintf("%#v", d)}
	prover := new(oauth.Nonces).Prover(key, "GET", parse(t, "https://h/"), wire.NewSecret("access-canary"))
	for _, v := range []any{key, &key, struct{ k oauth.DPoPKey }{key}, []oauth.DPoPKey{key}, prover, *prover} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			out := fmt.Sprintf(verb, v)
			for _, c := range append(canaries, "access-canary") {
				require.NotContains(t, out, c, verb)
			}
		}
		b, err := json.Marshal(v)
		require.NoError(t, err)
		require.NotContains(t, string(b), scalar)
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		for _, c := range canaries {
			require.NotContains(t, log.String(), c)
		}
	}
	require.Equal(t, "[redacted]", fmt.Sprintf("%+v", key))
}

// server plays one origin that accepts one nonce only. It counts its requests.
type server struct {
	t      *testing.T
	u      *url.URL
	accept string // the nonce it wants; "": none
	give   func() string
	seen   []map[string]any
}

func (s *server) answer(h http.Header) (int, http.Header) {
	_, _, claims := open(s.t, h.Get("DPoP"))
	s.seen = append(s.seen, claims)
	out := http.Header{}
	if give := s.give(); give != "" {
		out.Set("DPoP-Nonce", give)
	}
	if s.accept != "" && claims["nonce"] != s.accept {
		out.Set("WWW-Authenticate", `Bearer, dPoP error="use_dpop_nonce"`)
		return 401, out
	}
	return 200, out
}

// call is what HTTPClient does with a Prover.
func call(t *testing.T, n *oauth.Nonces, k oauth.DPoPKey, s *server) int {
	p := n.Prover(k, "GET", s.u, wire.NewSecret("t"))
	for {
		h := http.Header{}
		require.NoError(t, p.Prove(context.Background(), h))
		status, answer := s.answer(h)
		if !p.Retry(status, answer) {
			return status
		}
		require.LessOrEqual(t, len(s.seen), 20, "it asks for ever")
	}
}

// S86: one retry with a fresh jti; afterwards the nonce is known.
func TestS86RetryWithTheNonce(t *testing.T) {
	var nonces oauth.Nonces
	s := &server{t: t, u: parse(t, "https://rs.example/a"), accept: "n1", give: func() string { return "n1" }}
	key := newKey(t)
	require.Equal(t, 200, call(t, &nonces, key, s))
	require.Len(t, s.seen, 2)
	require.NotContains(t, s.seen[0], "nonce")
	require.NotEqual(t, s.seen[0]["jti"], s.seen[1]["jti"])

	s.u = parse(t, "https://RS.example:443/b")
	require.Equal(t, 200, call(t, &nonces, key, s))
	require.Len(t, s.seen, 3, "the nonce is the origin's, not the path's")
}

// S86: a server that demands a new nonce each time gets two requests.
func TestS86SecondNonceIsNotTried(t *testing.T) {
	n := 0
	for name, give := range map[string]func() string{
		"always another":  func() string { n++; return fmt.Sprint("n", n) },
		"always the same": func() string { return "same" },
		"none":            func() string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{t: t, u: parse(t, "https://rs.example/"), accept: "never", give: give}
			require.Equal(t, 401, call(t, new(oauth.Nonces), newKey(t), s))
			require.LessOrEqual(t, len(s.seen), 2)
		})
	}
	// The refused nonce comes back unchanged, so a second request could not
	// succeed.
	var nonces oauth.Nonces
	s := &server{t: t, u: parse(t, "https://rs.example/"), give: func() string { return "stale" }}
	require.Equal(t, 200, call(t, &nonces, newKey(t), s))
	s.accept = "other"
	require.Equal(t, 401, call(t, &nonces, newKey(t), s))
	require.Len(t, s.seen, 2)
}

// S86: a 200 brings the next nonce.
func TestS86AdoptFromSuccess(t *testing.T) {
	var nonces oauth.Nonces
	n := 0
	s := &server{t: t, u: parse(t, "https://rs.example/"), give: func() string { n++; return fmt.Sprint("n", n) }}
	require.Equal(t, 200, call(t, &nonces, newKey(t), s))
	require.Equal(t, 200, call(t, &nonces, newKey(t), s))
	require.Len(t, s.seen, 2)
	require.Equal(t, "n1", s.seen[1]["nonce"])
}

// S86: a nonce of one origin is used at no other.
func TestS86NoncesStayAtTheirOrigin(t *testing.T) {
	var nonces oauth.Nonces
	key := newKey(t)
	as := &server{t: t, u: parse(t, "https://as.example/token"), give: func() string { return "as-nonce" }}
	require.Equal(t, 200, call(t, &nonces, key, as))
	for _, other := range []string{"https://rs.example/", "https://as.example:8443/", "http://as.example/", "https://as.example.evil.example/"} {
		rs := &server{t: t, u: parse(t, other), give: func() string { return "" }}
		require.Equal(t, 200, call(t, &nonces, key, rs))
		require.NotContains(t, rs.seen[0], "nonce", other)
	}
	require.Equal(t, 200, call(t, &nonces, key, as))
	require.Equal(t, "as-nonce", as.seen[1]["nonce"])
}

// S86: only one well-formed nonce is adopted.
func TestS86MalformedNonceIsNotAdopted(t *testing.T) {
	u := parse(t, "https://h/")
	for _, values := range [][]string{nil, {""}, {"a", "b"}, {"a b"}, {"a\"b"}, {`a\b`}, {"é"}, {"a\x00"}, {strings.Repeat("n", 1025)}} {
		var nonces oauth.Nonces
		a := nonces.Prover(newKey(t), "GET", u, wire.Secret{})
		h := http.Header{}
		require.NoError(t, a.Prove(context.Background(), h))
		require.False(t, a.Nonce(http.Header{"Dpop-Nonce": values}), "%q", values)
		require.NoError(t, a.Prove(context.Background(), h))
		_, _, claims := open(t, h.Get("DPoP"))
		require.NotContains(t, claims, "nonce")
	}
}

// The memory for nonces is bounded, however many hosts a program calls.
func TestNoncesAreBounded(t *testing.T) {
	var nonces oauth.Nonces
	key := newKey(t)
	nonceAt := func(i int) any {
		h := http.Header{}
		a := nonces.Prover(key, "GET", parse(t, fmt.Sprintf("https://h%d/", i)), wire.Secret{})
		require.NoError(t, a.Prove(context.Background(), h))
		_, _, claims := open(t, h.Get("DPoP"))
		return claims["nonce"]
	}
	for i := range 65 {
		nonces.Prover(key, "GET", parse(t, fmt.Sprintf("https://h%d/", i)), wire.Secret{}).Nonce(http.Header{"Dpop-Nonce": {"n"}})
	}
	require.Nil(t, nonceAt(0), "the first is forgotten")
	require.Equal(t, "n", nonceAt(1))
	require.Equal(t, "n", nonceAt(64))
}

func TestRetryNeedsStatusSchemeAndError(t *testing.T) {
	key, u := newKey(t), parse(t, "https://h/")
	retry := func(status int, challenges ...string) bool {
		return new(oauth.Nonces).Prover(key, "GET", u, wire.Secret{}).Retry(status, http.Header{"Www-Authenticate": challenges, "Dpop-Nonce": {"n"}})
	}
	require.True(t, retry(401, `DPoP error="use_dpop_nonce", error_description="x"`))
	require.True(t, retry(401, `Bearer error="invalid_token"`, `DPOP error=use_dpop_nonce`))
	require.False(t, retry(200, `DPoP error="use_dpop_nonce"`))
	require.False(t, retry(401, `Bearer error="use_dpop_nonce"`))
	require.False(t, retry(401, `DPoP error="invalid_token"`))
	require.False(t, retry(401))
}

// S86: at the token endpoint there is one retry for each request, also if
// requests share a Prover.
func TestS86TokenEndpointRetriesOnce(t *testing.T) {
	n, seen := 0, []any{}
	as := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, claims := open(t, r.Header.Get("DPoP"))
		seen = append(seen, claims["nonce"])
		n++
		w.Header().Set("DPoP-Nonce", fmt.Sprint("n", n))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		fmt.Fprint(w, `{"error":"use_dpop_nonce"}`)
	}))
	defer as.Close()
	p := new(oauth.Nonces).Prover(newKey(t), "POST", parse(t, as.URL+"/token"), wire.Secret{})
	r := oauth.Request{Endpoint: as.URL + "/token", ClientID: "c", Prove: p.Prove, Nonce: p.Nonce}
	for range 2 {
		_, err := oauth.RequestToken(context.Background(), &fetch.Client{Transport: as.Client().Transport}, r)
		var refused *oauth.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "use_dpop_nonce", refused.Code)
	}
	require.Equal(t, []any{nil, "n1", "n2", "n3"}, seen)
}

func TestNoncesMayBeUsedConcurrently(t *testing.T) {
	var nonces oauth.Nonces
	key := newKey(t)
	done := make(chan bool)
	for i := range 8 {
		go func() {
			defer func() { done <- true }()
			for j := range 50 {
				a := nonces.Prover(key, "GET", &url.URL{Scheme: "https", Host: fmt.Sprintf("h%d", j)}, wire.Secret{})
				a.Nonce(http.Header{"Dpop-Nonce": {fmt.Sprint(i)}})
				_ = a.Prove(context.Background(), http.Header{})
			}
		}()
	}
	for range 8 {
		<-done
	}
}

func FuzzParseKey(f *testing.F) {
	k, err := newKey(f).Marshal()
	require.NoError(f, err)
	f.Add(k.Reveal())
	f.Add("ES256.AA")
	f.Fuzz(func(t *testing.T, s string) {
		key, err := oauth.ParseDPoPKey(wire.NewSecret(s))
		if err != nil {
			require.ErrorIs(t, err, oauth.ErrDPoPKey)
			return
		}
		back, err := key.Marshal()
		require.NoError(t, err)
		require.Equal(t, s, back.Reveal(), "one key has one text")
	})
}

func FuzzNonce(f *testing.F) {
	f.Add("eyJ7S_zG.eyJH0-Z.HX4w-7v", "https://h/p")
	key := newKey(f)
	f.Fuzz(func(t *testing.T, nonce, target string) {
		u, err := url.Parse(target)
		if err != nil {
			return
		}
		a := new(oauth.Nonces).Prover(key, "GET", u, wire.Secret{})
		a.Nonce(http.Header{"Dpop-Nonce": {nonce}})
		h := http.Header{}
		if err := a.Prove(context.Background(), h); err != nil {
			require.ErrorIs(t, err, oauth.ErrDPoPURL)
			return
		}
		_, _, claims := open(t, h.Get("DPoP"))
		if got, ok := claims["nonce"]; ok {
			require.Equal(t, nonce, got)
		}
		require.NotContains(t, claims["htu"], "?")
		require.NotContains(t, claims["htu"], "#")
	})
}

func BenchmarkProof(b *testing.B) {
	key, u, token := newKey(b), parse(b, "https://api.example/v1/things?x=1"), wire.NewSecret(strings.Repeat("t", 1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.Proof("GET", u, token, "nonce", time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewKey(b *testing.B) {
	for b.Loop() {
		newKey(b)
	}
}
