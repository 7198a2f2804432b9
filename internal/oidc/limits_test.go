package oidc_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// S71: the program is asked about the audiences that are left, and its answer counts.
func TestS71TheProgramDecidesAboutOtherAudiences(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	for _, accept := range []bool{true, false} {
		var asked []string
		expected := want()
		expected.TrustedAudiences = []string{"trusted"}
		expected.AcceptAudiences = func(others []string) bool {
			asked = others
			return accept
		}
		_, err := p.verify(t, with(object{"aud": []string{clientID, "trusted", "other"}}), expected)
		require.Equal(t, accept, err == nil, "%v", err)
		require.Equal(t, []string{"other"}, asked)
	}
}

// S79: a provider that never sends a nonce is let off. A token with another login's
// nonce is refused all the same.
func TestS79ANonceThatMayBeMissingMustNotBeWrong(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	expected := want()
	expected.AllowMissingNonce = true
	for sent, ok := range map[any]bool{nil: true, nonce: true, "of another login": false} {
		_, err := p.verify(t, with(object{"nonce": sent}), expected)
		require.Equal(t, ok, err == nil, "%v: %v", sent, err)
	}
}

// S78: the last second of the year 9999 is a date, and the next one is not. Package
// time overflows beyond.
func TestS78TheEndOfTheCalendar(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	const end = int64(253402300800)
	_, err := p.verify(t, with(object{"exp": end - 1}), want())
	require.NoError(t, err)
	_, err = p.verify(t, with(object{"exp": end}), want())
	require.ErrorContains(t, err, "exp is no date")
}

// S78: an offset of exactly ten minutes is the provider's clock to judge by, so
// neither machine is blamed.
func TestS78TenMinutesAreNotTooMany(t *testing.T) {
	t.Parallel()
	p := newProvider(t, "ES256")
	for _, offset := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		expected := want()
		expected.ClockOffset = offset
		_, err := p.verify(t, with(object{
			"iat": now.Add(offset).Add(time.Hour).Unix(), "exp": now.Add(2 * time.Hour).Unix(),
		}), expected)
		require.ErrorContains(t, err, "it does not fit the provider's own clock")
	}
}
