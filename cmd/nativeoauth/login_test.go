package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for d, want := range map[time.Duration]string{
			0: "expired", 5 * time.Second: "5s", 10 * time.Second: "10s", 10 * time.Minute: "10m", time.Hour: "1h",
			20*time.Hour + 10*time.Minute: "20h10m", time.Minute + 30*time.Second: "1m30s", 72 * time.Hour: "3 days",
		} {
			require.Equal(t, want, left(time.Now().Add(d)))
		}
	})
}
