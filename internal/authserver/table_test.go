package authserver

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	tab := table[int]{max: fewLarge}
	now := time.Unix(1000, 0)
	_, ok := tab.get("a", now)
	require.False(t, ok)
	for i := range fewLarge + 10 {
		tab.put(strconv.Itoa(i), i, now, now.Add(time.Minute))
	}
	require.Len(t, tab.entries, fewLarge)
	require.Equal(t, fewLarge, tab.order.Len())
	_, ok = tab.get("9", now)
	require.False(t, ok, "the oldest went")
	v, ok := tab.get("10", now)
	require.True(t, ok)
	require.Equal(t, 10, v)

	v, ok = tab.take("10", now)
	require.True(t, ok)
	require.Equal(t, 10, v)
	_, ok = tab.take("10", now)
	require.False(t, ok)

	later := now.Add(time.Minute)
	_, ok = tab.get("11", later)
	require.False(t, ok, "it has ended")
	for range tab.all(later) {
		t.Fatal("all have ended")
	}
	tab.put("x", 1, later, later.Add(time.Second))
	require.Len(t, tab.entries, 1, "what has ended gives its place back")
}

func TestZeroTableIsBoundedToo(t *testing.T) {
	var tab table[struct{}]
	now := time.Unix(1000, 0)
	for i := range manySmall + 1 {
		tab.put(strconv.Itoa(i), struct{}{}, now, now.Add(time.Minute))
	}
	require.Len(t, tab.entries, manySmall)
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
