//go:build unix

package main

import (
	"flag"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

var long = flag.Bool("storm.long", false, "run the storm of interrupts in its long form")

// Ctrl-C comes at random moments of `nativeoauth token`, at a strict provider with
// tokens that expire every second. A refresh is stored before the process ends, so no
// session is lost.
func TestStormOfInterrupts(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{AccessTokenLifetime: time.Second})
	p.login()
	p.Delay(authserver.Token, 10*time.Millisecond)
	began := time.Now()
	first := p.start(nil, "refresh")
	require.Equal(t, 0, first.code(), first.text())
	whole := time.Since(began) // of a run that nothing interrupts, on this machine now
	before := p.Stats().Refreshes
	n := 24
	if *long {
		n = 200
	}
	var mu sync.Mutex
	codes := map[int]int{}
	turns := make(chan struct{}, 2)
	var all sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		verb := []string{"token", "refresh"}[i%2] // refresh always has something to save
		cmd := p.start(nil, verb)
		pause := rand.N(2 * whole)
		all.Go(func() {
			defer func() { <-turns }()
			time.Sleep(pause)
			_ = cmd.Process.Signal(syscall.SIGINT)
			_ = cmd.Wait()
			code := cmd.ProcessState.ExitCode() // -1: killed before it caught signals
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
			if code != 0 && code != 130 && code != -1 {
				t.Errorf("exit code %d: %s", code, cmd.text())
			}
		})
	}
	all.Wait()
	stats := p.Stats()
	t.Logf("%d interrupts, exit codes %v, %d refreshes, %d reuses, %d sessions lost", n, codes, stats.Refreshes, stats.Reuses, stats.FamiliesRevoked)
	require.Zero(t, stats.Reuses)
	require.Zero(t, stats.FamiliesRevoked)
	require.Greater(t, stats.Refreshes, before)
	last := p.start(nil, "refresh")
	require.Equal(t, 0, last.code(), last.text())
}
