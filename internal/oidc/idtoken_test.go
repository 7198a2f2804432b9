package oidc_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func TestGoodIDTokenIsAccepted(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	auth := now.Unix() - 10
	c, err := p.verify(t, with(object{"azp": clientID, "acr": "loa2", "auth_time": auth, "email": "a@example"}), want())
	require.NoError(t, err)
	require.Equal(t, []any{issuer, "alice", clientID, nonce, "loa2", []string{clientID}}, []any{c.Issuer, c.Subject, c.AuthorizedParty, c.Nonce, c.ACR, c.Audience})
	require.Equal(t, []time.Time{now.Add(5 * time.Minute), now, now.Add(-10 * time.Second)}, []time.Time{c.Expiry, c.IssuedAt, c.AuthTime})
	require.Contains(t, string(c.Raw), `"email":"a@example"`)
}

// Each row is refused for the reason in its error, and for that alone. The same
// token without the change passes above.
func TestBadClaimIsRefused(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	sub := func(old, new string) []byte {
		return []byte(strings.Replace(string(josetest.JSON(good())), old, new, 1))
	}
	for name, tc := range map[string]struct {
		claims any
		error  string
	}{
		"S70 prefix":           {with(object{"iss": issuer + "/x"}), "iss"},
		"S70 shorter":          {with(object{"iss": "https://op.example"}), "iss"},
		"S70 slash":            {with(object{"iss": issuer + "/"}), "iss"},
		"S70 case":             {with(object{"iss": "https://OP.example/tenant"}), "iss"},
		"S70 array":            {with(object{"iss": []string{issuer}}), "type"},
		"S70 missing":          {with(object{"iss": nil}), "iss is missing"},
		"S71 other":            {with(object{"aud": "other"}), "aud"},
		"S71 missing":          {with(object{"aud": nil}), "aud is missing"},
		"S71 empty":            {with(object{"aud": []string{}}), "aud"},
		"S71 null":             {sub(`"aud":"my-cli"`, `"aud":null`), "aud is missing"},
		"S71 extra":            {with(object{"aud": []string{clientID, "other"}}), "others"},
		"S71 extra, azp right": {with(object{"aud": []string{clientID, "other"}, "azp": clientID}), "others"},
		"S71 numbers":          {with(object{"aud": []any{clientID, 1}}), "aud"},
		"S71 null in list":     {with(object{"aud": []any{clientID, nil}}), "aud"},
		"S71 object":           {with(object{"aud": object{clientID: 1}}), "aud"},
		"S71 prefix":           {with(object{"aud": clientID + "-2"}), "aud"},
		"S71 azp":              {with(object{"azp": "other"}), "azp"},
		"S77 two iss":          {sub(`"iss"`, `"iss":"https://evil.example","iss"`), "duplicate"},
		"S77 two deep":         {sub(`"iss"`, `"x":{"a":1,"a":2},"iss"`), "duplicate"},
		"S77 ISS for iss":      {sub(`"iss"`, `"ISS"`), "iss is missing"},
		"S77 bad UTF-8":        {sub(`alice`, "ali\xff"), "UTF-8"},
		"S77 no object":        {[]byte(`"x"`), "claims"},
		"S77 null":             {[]byte(`null`), "missing"},
		"S77 trailing":         {append(josetest.JSON(good()), '{', '}'), "claims"},
		"S78 no exp":           {with(object{"exp": nil}), "exp is missing"},
		"S78 no iat":           {with(object{"iat": nil}), "iat is missing"},
		"S78 no sub":           {with(object{"sub": nil}), "sub is missing"},
		"S78 sub empty":        {with(object{"sub": ""}), "sub is missing"},
		"S78 sub a number":     {with(object{"sub": 7}), "another type): sub is a number"},
		"S78 exp a string":     {with(object{"exp": "1800000300"}), "another type): exp is a string"},
		"S78 exp 1e400":        {sub(`1800000300`, `1e400`), "type"},
		"S78 exp 1e30":         {sub(`1800000300`, `1e30`), "exp is no date"},
		"S78 exp -1":           {with(object{"exp": -1}), "exp is no date"},
		"S78 exp past":         {with(object{"exp": now.Unix() - 60}), "exp has passed"},
		"S78 iat + 1 h":        {with(object{"iat": now.Unix() + 3600}), "iat"},
		"S78 iat + 61 s":       {with(object{"iat": now.Unix() + 61}), "iat"},
		"S78 nbf":              {with(object{"nbf": now.Unix() + 240}), "nbf"},
		"S78 nbf a string":     {with(object{"nbf": "0"}), "type"},
		"S78 auth_time":        {with(object{"auth_time": now.Unix() + 3600}), "auth_time"},
		"S79 nonce missing":    {with(object{"nonce": nil}), "nonce is missing"},
		"S79 nonce empty":      {with(object{"nonce": ""}), "nonce is missing"},
		"S79 nonce other":      {with(object{"nonce": nonce + "x"}), "nonce"},
		"S79 nonce prefix":     {with(object{"nonce": nonce[:5]}), "nonce"},
		"S79 nonce array":      {with(object{"nonce": []string{nonce}}), "type"},
		"S80 at_hash":          {with(object{"at_hash": atHash256("another")}), "at_hash"},
		"S80 at_hash empty":    {with(object{"at_hash": ""}), "at_hash"},
		"S80 at_hash whole":    {with(object{"at_hash": whole256(access)}), "at_hash"},
		"S80 at_hash padded":   {with(object{"at_hash": atHash256(access) + "=="}), "at_hash"},
	} {
		_, err := p.verify(t, tc.claims, want())
		require.ErrorContains(t, err, tc.error, name)
		require.NotErrorIs(t, err, oidc.ErrStepUp, name)
	}
	for name, c := range map[string]object{
		"S71 azp empty":      with(object{"azp": ""}),
		"S71 array":          with(object{"aud": []string{clientID}}),
		"S78 skew":           with(object{"exp": now.Unix() - 59, "iat": now.Unix() + 60, "nbf": now.Unix() + 60}),
		"S78 fractions":      with(object{"exp": float64(now.Unix()) + 0.5, "iat": float64(now.Unix()) - 0.25}),
		"S77 ISS beside iss": with(object{"ISS": "https://evil.example"}),
		"S80 at_hash":        with(object{"at_hash": atHash256(access)}),
	} {
		_, err := p.verify(t, c, want())
		require.NoError(t, err, name)
	}
	trusting := want()
	trusting.TrustedAudiences = []string{"other"}
	_, err := p.verify(t, with(object{"aud": []string{clientID, "other"}}), trusting)
	require.NoError(t, err)
	_, err = p.verify(t, with(object{"aud": []string{clientID, "other", "third"}}), trusting)
	require.Error(t, err)
	_, err = p.verify(t, with(object{"aud": "other"}), trusting)
	require.Error(t, err, "a trusted audience does not stand for this client")

	for name, none := range map[string]oidc.Expected{"issuer": {ClientID: clientID, Now: now}, "client": {Issuer: issuer, Now: now}} {
		_, err := p.verify(t, with(object{"nonce": nil}), none)
		require.ErrorContains(t, err, "nothing to check", name)
	}
}

// S70: Google may leave out the scheme, and only Google.
func TestS70GoogleWithoutTheScheme(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	google := want()
	google.Issuer = "https://accounts.google.com"
	c, err := p.verify(t, with(object{"iss": "accounts.google.com"}), google)
	require.NoError(t, err)
	require.Equal(t, google.Issuer, c.Issuer)
	require.Contains(t, string(c.Raw), `"iss":"accounts.google.com"`, "the claims stay as they came")
	google.Refreshed = c
	_, err = p.verify(t, with(object{"iss": google.Issuer}), google)
	require.NoError(t, err, "both spellings are one issuer")
	for _, iss := range []string{"http://accounts.google.com", "accounts.google.com/", "Accounts.google.com", "https://accounts.google.com/", "accounts.google.com."} {
		_, err := p.verify(t, with(object{"iss": iss}), google)
		require.ErrorContains(t, err, "iss", iss)
	}
	_, err = p.verify(t, with(object{"iss": "accounts.google.com"}), want())
	require.ErrorContains(t, err, "iss")
	_, err = p.verify(t, with(object{"iss": "op.example/tenant"}), want())
	require.ErrorContains(t, err, "iss")
}

func TestS79NonceUnasked(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	w := want()
	w.Nonce = ""
	_, err := p.verify(t, with(object{"nonce": nil}), w)
	require.NoError(t, err, "the device flow has no nonce")
	_, err = p.verify(t, good(), w)
	require.ErrorContains(t, err, "nonce")
}

func whole256(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

func atHash256(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:16])
}

// S80: at_hash is the left half of the hash that belongs to the algorithm.
func TestS80AtHash(t *testing.T) {
	t.Parallel()
	h384, h512 := sha512.Sum384([]byte(access)), sha512.Sum512([]byte(access))
	halves := map[string]string{
		"256": atHash256(access), "384": base64.RawURLEncoding.EncodeToString(h384[:24]), "512": base64.RawURLEncoding.EncodeToString(h512[:32]),
	}
	for _, alg := range josetest.Algorithms {
		p := newProvider(t, alg)
		right := alg[2:]
		if alg == "EdDSA" {
			right = "512"
		}
		for size, half := range halves {
			_, err := p.verify(t, with(object{"at_hash": half}), want())
			require.Equal(t, size == right, err == nil, "%s with SHA-%s: %v", alg, size, err)
		}
		altered := want()
		altered.AccessToken = wire.NewSecret(access + "x")
		_, err := p.verify(t, with(object{"at_hash": halves[right]}), altered)
		require.ErrorContains(t, err, "at_hash", alg)
	}
	p := newProvider(t, "ES256")
	unknown := want()
	unknown.AccessToken = wire.Secret{}
	_, err := p.verify(t, with(object{"at_hash": "whatever"}), unknown)
	require.NoError(t, err, "no access token to compare with")
}

// S36, S80: max_age and acr.
func TestS36S80StepUp(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	aged := func(d time.Duration) oidc.Expected {
		w := want()
		w.MaxAge, w.HasMaxAge, w.Started = d, true, now.Add(-10*time.Minute) // the user took ten minutes
		return w
	}
	began := now.Unix() - 600
	for name, tc := range map[string]struct {
		authTime any
		maxAge   time.Duration
		ok       bool
	}{
		"missing":                    {nil, time.Hour, false},
		"zero":                       {0, time.Hour, false},
		"signed in again":            {began + 300, 0, true},
		"signed in again, skew":      {began - 60, 0, true},
		"an old sign-in":             {began - 61, 0, false},
		"within max_age":             {began - 3600, time.Hour, true},
		"beyond max_age":             {began - 3661, time.Hour, false},
		"negative max_age is zero":   {began + 1, -time.Hour, true},
		"negative max_age, too old":  {began - 61, -time.Hour, false},
		"max_age beyond all history": {began - 100_000, math.MaxInt64, true},
	} {
		_, err := p.verify(t, with(object{"auth_time": tc.authTime}), aged(tc.maxAge))
		if tc.ok {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, oidc.ErrStepUp, name)
			require.Equal(t, tc.authTime == nil, strings.Contains(err.Error(), "missing"), name)
		}
	}
	acr := want()
	acr.ACRValues = []string{"loa3", "loa2"}
	for value, ok := range map[any]bool{"loa2": true, "loa3": true, "loa1": false, "LOA2": false, nil: false, "": false} {
		_, err := p.verify(t, with(object{"acr": value}), acr)
		require.Equal(t, ok, err == nil, "%v", value)
		require.Equal(t, !ok, errors.Is(err, oidc.ErrStepUp))
	}
	acr.Issuer = "https://other.example"
	_, err := p.verify(t, with(object{"acr": "loa1"}), acr)
	require.NotErrorIs(t, err, oidc.ErrStepUp, "a token that is bad altogether asks for no step-up")
}

// S82: a refreshed ID token is about the same sign-in.
func TestS82RefreshedTokenIsAboutTheSameSignIn(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	login := with(object{"azp": clientID, "auth_time": now.Unix() - 1000, "aud": []string{clientID, "api"}})
	first := want()
	first.TrustedAudiences = []string{"api", "more"}
	earlier, err := p.verify(t, login, first)
	require.NoError(t, err)
	w := first
	w.Nonce, w.Refreshed = "", earlier
	changed := func(c object) object {
		out := maps.Clone(login)
		for name, v := range c {
			out[name] = v
			if v == nil {
				delete(out, name)
			}
		}
		return out
	}
	for name, c := range map[string]object{
		"unchanged": {}, "without nonce": {"nonce": nil}, "nonce empty": {"nonce": ""}, "without auth_time": {"auth_time": nil}, "more audience": {"aud": []string{"more", "api", clientID}},
		"issued later": {"iat": now.Unix() + 30},
	} {
		_, err := p.verify(t, changed(c), w)
		require.NoError(t, err, name)
	}
	for name, tc := range map[string]struct {
		change object
		error  string
	}{
		"sub":            {object{"sub": "mallory"}, "sub"},
		"iss":            {object{"iss": "https://op.example/other"}, "iss"},
		"nonce":          {object{"nonce": "other"}, "nonce"},
		"audience":       {object{"aud": clientID}, "aud"},
		"azp":            {object{"azp": "other"}, "azp"},
		"azp gone":       {object{"azp": nil}, "azp"},
		"auth_time":      {object{"auth_time": now.Unix()}, "auth_time"},
		"expired":        {object{"exp": now.Unix() - 100}, "exp"},
		"at_hash is new": {object{"at_hash": atHash256("the old access token")}, "at_hash"},
	} {
		_, err := p.verify(t, changed(tc.change), w)
		require.ErrorContains(t, err, tc.error, name)
	}
	// A login without nonce or azp gains neither.
	device := want()
	device.Nonce = ""
	earlier, err = p.verify(t, with(object{"nonce": nil}), device)
	require.NoError(t, err)
	device.Refreshed = earlier
	_, err = p.verify(t, with(object{"nonce": "new"}), device)
	require.ErrorContains(t, err, "nonce")
	_, err = p.verify(t, with(object{"nonce": nil, "azp": clientID}), device)
	require.ErrorContains(t, err, "azp")
	// The stored session may be older than the configuration, so both issuers
	// are compared.
	moved := *earlier
	moved.Issuer = "https://old.example"
	device.Refreshed = &moved
	_, err = p.verify(t, with(object{"nonce": nil}), device)
	require.ErrorContains(t, err, "iss")
}

// The rows of the OpenID Foundation's relying-party plans that concern the ID
// token, under their own names.
func TestConformance(t *testing.T) {
	t.Parallel()
	rs, other := josetest.New(t, "RS256", "k1"), josetest.New(t, "RS256", "k2")
	es, ps := josetest.New(t, "ES256", "e1"), josetest.New(t, "PS256", "p1")
	all := cache(rs, other, es, ps)
	spoilt := func(token string) string {
		b := []byte(token)
		at := strings.LastIndexByte(token, '.') + 10
		if b[at] == 'A' {
			b[at] = 'B'
		} else {
			b[at] = 'A'
		}
		return string(b)
	}
	unsigned := func(header string, c object) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(josetest.JSON(c)) + "."
	}
	none := object{"kid": nil}
	only := func(algs ...string) oidc.Expected {
		w := want()
		w.Algorithms = algs
		return w
	}
	const oidcc, fapi = "oidcc-client-test", "fapi2-security-profile-final-client-test-"
	type row struct {
		token  string
		want   oidc.Expected
		keys   *jose.KeySet
		accept bool
	}
	for name, tc := range map[string]row{
		oidcc:                               {rs.Sign(good()), want(), all, true},
		oidcc + "-idtoken-sig-rs256":        {rs.Sign(good()), only("RS256"), all, true},
		oidcc + "-invalid-iss":              {rs.Sign(with(object{"iss": "https://op.example/tenant1"})), want(), all, false},
		oidcc + "-invalid-aud":              {rs.Sign(with(object{"aud": clientID + "1"})), want(), all, false},
		oidcc + "-missing-aud":              {rs.Sign(with(object{"aud": nil})), want(), all, false},
		oidcc + "-missing-sub":              {rs.Sign(with(object{"sub": nil})), want(), all, false},
		oidcc + "-missing-iat":              {rs.Sign(with(object{"iat": nil})), want(), all, false},
		oidcc + "-nonce-invalid":            {rs.Sign(with(object{"nonce": nonce + "1"})), want(), all, false},
		oidcc + "-idtoken-sig-none":         {unsigned(`{"alg":"none"}`, good()), want(), all, false},
		oidcc + "-invalid-sig-rs256":        {spoilt(rs.Sign(good())), want(), all, false},
		oidcc + "-invalid-sig-es256":        {spoilt(es.Sign(good())), want(), all, false},
		oidcc + "-invalid-sig-hs256":        {josetest.HMAC([]byte("not the secret"), []byte(`{"alg":"HS256"}`), josetest.JSON(good())), want(), all, false},
		oidcc + "-kid-absent-single-jwks":   {rs.SignWith(none, good()), want(), cache(rs), true},
		oidcc + "-kid-absent-multiple-jwks": {rs.SignWith(none, good()), want(), all, true}, // we try all suitable keys
		oidcc + "-invalid-athash":           {rs.Sign(with(object{"at_hash": atHash256(access + "1")})), want(), all, false},
		oidcc + "-missing-athash":           {rs.Sign(good()), want(), all, true},
		oidcc + "-aggregated-claims":        {rs.Sign(with(object{"_claim_names": object{"a": "src1"}, "_claim_sources": object{"src1": object{"JWT": "x"}}})), want(), all, true},
		fapi + "happy-path":                 {ps.Sign(good()), only("PS256", "ES256"), all, true},
		fapi + "invalid-iss":                {ps.Sign(with(object{"iss": issuer + "/"})), want(), all, false},
		fapi + "invalid-aud":                {ps.Sign(with(object{"aud": "other"})), want(), all, false},
		fapi + "invalid-missing-iss":        {ps.Sign(with(object{"iss": nil})), want(), all, false},
		fapi + "invalid-missing-aud":        {ps.Sign(with(object{"aud": nil})), want(), all, false},
		fapi + "invalid-secondary-aud":      {ps.Sign(with(object{"aud": []string{clientID, "other"}})), want(), all, false},
		fapi + "valid-aud-as-array":         {ps.Sign(with(object{"aud": []string{clientID}})), want(), all, true},
		fapi + "invalid-expired-exp":        {ps.Sign(with(object{"exp": now.Unix() - 300})), want(), all, false},
		fapi + "invalid-missing-exp":        {ps.Sign(with(object{"exp": nil})), want(), all, false},
		fapi + "invalid-nonce":              {ps.Sign(with(object{"nonce": "other"})), want(), all, false},
		fapi + "invalid-null-alg":           {unsigned(`{"alg":"none","kid":"p1"}`, good()), want(), all, false},
		fapi + "invalid-alternate-alg":      {rs.Sign(good()), only("PS256"), all, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := oidc.VerifyIDToken(t.Context(), tc.token, tc.keys, tc.want)
			if tc.accept {
				require.NoError(t, err)
				require.Equal(t, "alice", got.Subject)
				return
			}
			require.ErrorIs(t, err, oidc.ErrIDToken)
			require.Nil(t, got)
		})
	}
	t.Run(oidcc+"-refresh-token", func(t *testing.T) {
		login, err := oidc.VerifyIDToken(t.Context(), rs.Sign(good()), all, want())
		require.NoError(t, err)
		w := want()
		w.Refreshed = login
		_, err = oidc.VerifyIDToken(t.Context(), rs.Sign(with(object{"nonce": nil})), all, w)
		require.NoError(t, err)
		for row, change := range map[string]object{"-invalid-issuer": {"iss": issuer + "1"}, "-invalid-sub": {"sub": "bob"}} {
			t.Run(row[1:], func(t *testing.T) {
				_, err := oidc.VerifyIDToken(t.Context(), rs.Sign(with(change)), all, w)
				require.ErrorIs(t, err, oidc.ErrIDToken)
			})
		}
	})
}

// A failure to fetch the keys says nothing about the token, and differs from a
// refusal.
func TestUnavailableKeysAreNoRefusal(t *testing.T) {
	t.Parallel()
	k := josetest.New(t, "ES256", "k1")
	down := &fetch.Client{Transport: failing{}}
	_, err := oidc.VerifyIDToken(t.Context(), k.Sign(good()), jose.NewKeySet(down, "https://op.example/jwks"), want())
	var fe *fetch.Error
	require.ErrorAs(t, err, &fe)
	require.NotErrorIs(t, err, oidc.ErrIDToken)
	_, err = oidc.VerifyIDToken(t.Context(), k.Sign(good()), jose.NewKeySet(fetchtest.JSON(503, ""), "https://op.example/jwks"), want())
	require.ErrorIs(t, err, jose.ErrKeySet)
	require.NotErrorIs(t, err, oidc.ErrIDToken)
}

func TestParseIDTokenReadsAStoredToken(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	raw := p.Sign(with(object{"auth_time": now.Unix() - 5.0}))
	verified, err := oidc.VerifyIDToken(t.Context(), raw, p.cache, want())
	require.NoError(t, err)
	parsed, err := oidc.ParseIDToken(raw)
	require.NoError(t, err)
	require.Equal(t, verified, parsed)
	for _, raw := range []string{"", "a.b", "a.b.c", p.Sign([]byte(`{}`)), rand.Text()} {
		_, err := oidc.ParseIDToken(raw)
		require.ErrorIs(t, err, oidc.ErrIDToken)
	}
}

func FuzzVerify(f *testing.F) {
	k := josetest.New(f, "ES256", "k1")
	keys := cache(k)
	f.Add(`{"alg":"ES256","kid":"k1"}`, string(josetest.JSON(good())), "")
	f.Add(`{"alg":"none"}`, string(josetest.JSON(good())), "x.y.z")
	f.Add(`{"alg":"ES256","jwk":{}}`, `{"aud":["my-cli",null]}`, k.Sign(good()))
	f.Add(`{"alg":"ES256","ALG":"none"}`, `{"exp":1e400,"iat":-0.0}`, "..")
	f.Fuzz(func(t *testing.T, header, payload, raw string) {
		// Any bytes, signed by the real key: a token that passes has exactly
		// the claims.
		if c, err := oidc.VerifyIDToken(t.Context(), k.SignRaw([]byte(header), []byte(payload)), keys, want()); err == nil {
			require.Equal(t, issuer, c.Issuer)
			require.NotEmpty(t, c.Subject)
			require.Contains(t, c.Audience, clientID)
			require.Equal(t, nonce, c.Nonce)
			require.True(t, c.Expiry.After(now.Add(-time.Minute)))
			require.False(t, c.IssuedAt.After(now.Add(time.Minute)))
			require.Equal(t, payload, string(c.Raw))
		} else {
			require.ErrorIs(t, err, oidc.ErrIDToken)
		}
		// Not signed: nothing passes. (The seed's signature is new in every
		// process, so the corpus cannot hold it.)
		if raw != "" && strings.Count(raw, ".") == 2 {
			if c, err := oidc.VerifyIDToken(t.Context(), raw+"A", keys, want()); err == nil {
				t.Fatalf("accepted %+v", c)
			}
		}
		_, _ = oidc.ParseIDToken(raw)
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		p := newProvider(b, alg)
		raw, w := p.Sign(with(object{"azp": clientID, "email": "alice@example.com", "name": "Alice"})), want()
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := oidc.VerifyIDToken(b.Context(), raw, p.cache, w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	p := newProvider(b, "ES256")
	raw := josetest.HMAC([]byte("secret"), []byte(`{"alg":"HS256"}`), josetest.JSON(good()))
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := oidc.VerifyIDToken(b.Context(), raw, p.cache, want()); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
