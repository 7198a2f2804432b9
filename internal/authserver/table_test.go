package authserver

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	now := time.Unix(1000, 0)
	tab := newTable[int](fewLarge, func() time.Time { return now })
	_, ok := tab.get("a")
	require.False(t, ok)
	for i := range fewLarge + 10 {
		tab.put(strconv.Itoa(i), i, time.Minute)
	}
	require.Len(t, tab.entries, fewLarge)
	require.Equal(t, fewLarge, tab.order.Len())
	_, ok = tab.get("9")
	require.False(t, ok, "the oldest went")
	v, ok := tab.get("10")
	require.True(t, ok)
	require.Equal(t, 10, v)

	v, ok = tab.take("10")
	require.True(t, ok)
	require.Equal(t, 10, v)
	_, ok = tab.take("10")
	require.False(t, ok)

	now = now.Add(time.Minute)
	_, ok = tab.get("11")
	require.False(t, ok, "it has ended")
	for range tab.all() {
		t.Fatal("all have ended")
	}
	tab.put("x", 1, time.Second)
	require.Len(t, tab.entries, 1, "what has ended gives its place back")
}

func TestEveryTableIsBounded(t *testing.T) {
	s, err := New(Config{Issuer: "https://as.example"})
	require.NoError(t, err)
	for i := range manySmall + 1 {
		s.codes.put(strconv.Itoa(i), nil, time.Minute)
	}
	require.Len(t, s.codes.entries, manySmall)
	for _, bound := range []int{
		s.tokens.max, s.pushed.max, s.devices.max, s.interactions.max, s.sessions.max,
		s.consents.max, s.seen.max,
	} {
		require.Positive(t, bound)
	}
}

func TestUserCodesAreEvenAndReadable(t *testing.T) {
	seen := map[rune]int{}
	for range 2000 {
		c := newUserCode()
		require.Regexp(t, `^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`, c)
		for _, r := range c {
			seen[r]++
		}
	}
	require.Len(t, seen, 21)
	for r, n := range seen {
		if r != '-' {
			require.InDelta(t, 800, n, 250, "%c", r) // nine standard deviations
		}
	}
}
