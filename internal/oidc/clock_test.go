package oidc_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// S78: times are judged by the provider's own clock, if it is known and at most 10
// minutes off. The bounds by that clock are as tight as ever.
func TestS78TimesByTheProvidersClock(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	at := func(offset time.Duration, more object) object { // issued when the provider's clock says so
		c := object{"iat": now.Add(offset).Unix(), "exp": now.Add(offset).Unix() + 300}
		for name, v := range more {
			c[name] = v
		}
		return with(c)
	}
	for name, tc := range map[string]struct {
		claims object
		offset time.Duration
		error  string // "": accepted
	}{
		"10 minutes slow":         {at(10*time.Minute, nil), 10 * time.Minute, ""},
		"10 minutes fast":         {at(-10*time.Minute, nil), -10 * time.Minute, ""},
		"11 minutes slow":         {at(11*time.Minute, nil), 11 * time.Minute, "iat lies in the future; this machine's clock is 11m0s behind the provider's; set it"},
		"11 minutes fast":         {at(-11*time.Minute, nil), -11 * time.Minute, "exp has passed; this machine's clock is 11m0s ahead of the provider's; set it"},
		"nobody says":             {at(2*time.Minute, nil), 0, "iat lies in the future; check this machine's clock"},
		"ahead of its own clock":  {at(8*time.Minute, nil), 6 * time.Minute, "iat lies in the future; it does not fit the provider's own clock"},
		"nbf ahead of that clock": {at(5*time.Minute, object{"nbf": now.Unix() + 420}), 5 * time.Minute, "nbf lies in the future"},
		"expired by that clock":   {at(0, nil), 7 * time.Minute, "exp has passed"},
	} {
		expected := want()
		expected.ClockOffset = tc.offset
		_, err := p.verify(t, tc.claims, expected)
		if tc.error == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, tc.error, name)
	}
	// What max_age allows is counted by that clock too.
	expected := want()
	expected.ClockOffset, expected.HasMaxAge, expected.MaxAge, expected.Started = -8*time.Minute, true, 0, now
	_, err := p.verify(t, at(-8*time.Minute, object{"auth_time": now.Add(-8 * time.Minute).Unix()}), expected)
	require.NoError(t, err)
	expected.ClockOffset = 0
	_, err = p.verify(t, with(object{"auth_time": now.Add(-8 * time.Minute).Unix()}), expected)
	require.ErrorContains(t, err, "auth_time is too long ago")
}
