package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

// S78: a request that is refused for its time is made anew by the Date of the
// refusal, once. Nothing else is sent again.
func TestS78RefusedTimesAreCorrectedOnce(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signs := oauth.PrivateKeyJWT(key, "")
	for name, tc := range map[string]struct {
		auth         oauth.ClientAuth
		grant, error string
		ahead        time.Duration
		want         int
		learned      bool
	}{
		"slow":               {signs, "refresh_token", "invalid_client", 5 * time.Minute, 2, true},
		"fast":               {signs, "refresh_token", "invalid_client", -9 * time.Minute, 2, true},
		"right":              {signs, "refresh_token", "invalid_client", 2 * time.Second, 1, false},
		"far away":           {signs, "refresh_token", "invalid_client", 11 * time.Minute, 1, false},
		"a code":             {signs, "authorization_code", "invalid_client", 5 * time.Minute, 1, true},
		"a secret":           {oauth.ClientSecret("s"), "refresh_token", "invalid_client", 5 * time.Minute, 1, true},
		"no DPoP":            {signs, "refresh_token", "invalid_dpop_proof", 5 * time.Minute, 1, true},
		"for another reason": {signs, "refresh_token", "invalid_grant", 5 * time.Minute, 1, true},
	} {
		sent := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			sent++
			w.Header().Set("Date", time.Now().Add(tc.ahead).UTC().Format(http.TimeFormat))
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"` + tc.error + `"}`))
		}))
		var clock oauth.Clock
		_, err := oauth.Post(t.Context(), &fetch.Client{Transport: &http.Transport{DisableKeepAlives: true}}, oauth.Request{
			Endpoint: server.URL, ClientID: "c", Issuer: server.URL, Auth: tc.auth, Clock: &clock,
			Form: url.Values{"grant_type": {tc.grant}},
		})
		server.Close()
		require.NoError(t, err, name)
		require.Equal(t, tc.want, sent, name)
		require.Equal(t, tc.learned, clock.Ahead() != 0, name)
		if tc.learned {
			require.InDelta(t, tc.ahead.Seconds(), clock.Ahead().Seconds(), 3, name)
		}
	}
}

// The offset of another process counts until this one has one, and never if it is
// more than a clock may be off.
func TestClockAdopts(t *testing.T) {
	t.Parallel()
	var clock oauth.Clock
	clock.Adopt(time.Hour)
	require.Zero(t, clock.Ahead())
	clock.Adopt(2 * time.Minute)
	clock.Adopt(time.Minute)
	require.Equal(t, time.Minute, clock.Ahead())
	require.WithinDuration(t, time.Now().Add(time.Minute), clock.Now(), 10*time.Second)
	require.True(t, clock.Reset())
	clock.Adopt(time.Minute)
	require.Zero(t, clock.Ahead(), "this process knows better")
	require.False(t, clock.Reset())
	var none *oauth.Clock
	none.Adopt(time.Minute)
	require.Zero(t, none.Ahead())
}
