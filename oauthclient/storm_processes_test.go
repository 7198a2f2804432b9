//go:build linux

package oauthclient_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// size picks the short form, which CI runs, or the long one, with the figures that are published.
func size[T any](short, longForm T) T {
	if *long {
		return longForm
	}
	return short
}

// Item 2: processes that live for a moment and end without Close, right after Token() near the expiry or after it. On a strict server a
// refresh that one of them left half done would end the session.
func TestStormOfShortProcesses(t *testing.T) {
	if !*long { // its figures are published
		t.Parallel()
	}
	for name, o := range map[string]fleetOptions{
		"near expiry": {auth: authserver.Config{AccessTokenLifetime: 10 * time.Minute}, before: 10*time.Minute - time.Second},
		"expiring":    {auth: authserver.Config{AccessTokenLifetime: time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFleet(t, o)
			first := w.start()
			first.do("login").ok(t)
			n := size(30, 1000)
			turns := make(chan struct{}, 4)
			var all sync.WaitGroup
			for range n {
				turns <- struct{}{}
				p := w.start()
				time.Sleep(50 * time.Millisecond)
				all.Go(func() {
					defer func() { <-turns }()
					p.tell("session")
					r, ok := <-p.replies
					if !ok || r.Err != "" {
						t.Errorf("%+v", r)
					}
					p.tell("exit")
					<-p.ended
				})
			}
			all.Wait()
			first.do("refresh").ok(t)
			stats := w.Stats()
			t.Logf("%d processes, %d refreshes, %d reuses, %d families revoked", n, stats.Refreshes, stats.Reuses, stats.FamiliesRevoked)
			require.Zero(t, stats.Reuses)
			require.Zero(t, stats.FamiliesRevoked)
			require.Equal(t, 1, w.Alive())
			if name == "near expiry" {
				require.Equal(t, 1, stats.Refreshes, "a young process began an early refresh")
			}
			first.end()
		})
	}
}

// Item 3: processes at work on one session with tokens that live for a second, and random ones are killed.
func TestStormOfKills(t *testing.T) {
	if !*long { // its figures are published
		t.Parallel()
	}
	for name, storm := range map[string]struct {
		rotation authserver.Rotation
		aim      int // one of so many kills is aimed: chance alone would need hours
	}{
		"grace":  {authserver.RotateGrace, 2},
		"strict": {authserver.RotateStrict, 10}, // each ends the session, and refreshes shall come through as well
	} {
		t.Run(name, func(t *testing.T) {
			if *long {
				t.Log("long form: one after the other")
			} else {
				t.Parallel()
			}
			w := newFleet(t, fleetOptions{auth: authserver.Config{Rotation: storm.rotation, AccessTokenLifetime: time.Second}})
			w.Delay(authserver.Token, 10*time.Millisecond) // as far as a provider is
			w.orders.Window = true
			login := w.start()
			login.do("login").ok(t)
			spin := func() *proc {
				p := w.start()
				p.tell("session")
				p.tell("spin")
				return p
			}
			procs := make([]*proc, size(6, 30))
			for i := range procs {
				procs[i] = spin()
			}
			var kills, aimed, inWindow, lost, through int
			var took, cut time.Duration // from request to write: of those that came through, and of the killed until then
			kill := func(p *proc) {
				at := time.Now()
				require.NoError(t, p.Process.Kill())
				<-p.ended
				figures := w.window(p)
				through, took = through+figures.Refreshes, took+figures.Total
				if !figures.Since.IsZero() {
					inWindow++
					cut += max(0, at.Sub(figures.Since))
				}
			}
			began := time.Now()
			for time.Since(began) < size(6*time.Second, time.Minute) {
				time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
				i := rand.IntN(len(procs))
				if kills%storm.aim == storm.aim-1 {
					i = w.refreshing(procs, i)
					aimed++
				}
				kill(procs[i])
				kills++
				procs[i] = spin()
				if n := w.Stats().FamiliesRevoked; n > lost {
					lost = n
					login.do("login").ok(t)
				}
			}
			time.Sleep(1500 * time.Millisecond) // the last kill shows
			lost = max(lost, w.Stats().FamiliesRevoked)
			lasted, hit := time.Since(began), inWindow
			for _, p := range procs {
				kill(p)
			}
			stats := w.Stats()
			t.Logf("%d processes, %v: %d kills, %d of them aimed, %d between request and write; %d requests to refresh, %d of them reuses, %d sessions lost",
				len(procs), lasted.Round(time.Second), kills, aimed, hit, stats.Refreshes, stats.Reuses, lost)
			t.Logf("request to write: %v in the mean of the %d that came through, %v until the kill in the mean of the %d that did not; open for %.1f %% of the time",
				mean(took, through), through, mean(cut, inWindow), inWindow, 100*float64(took+cut)/float64(lasted))
			if storm.rotation == authserver.RotateGrace {
				require.Zero(t, lost)
				login.do("session").ok(t)
				login.do("refresh").ok(t)
				require.Zero(t, w.Stats().FamiliesRevoked)
				require.Equal(t, 1, w.tabs())
			} else {
				require.LessOrEqual(t, lost, hit, "a session was lost by a kill outside of the window that no client can close")
			}
			require.Positive(t, stats.Refreshes)
		})
	}
}

// refreshing returns the process that is between request and write, or otherwise after a while.
func (w *fleet) refreshing(procs []*proc, otherwise int) int {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		for i, p := range procs {
			if !w.window(p).Since.IsZero() {
				return i
			}
		}
	}
	return otherwise
}

func mean(total time.Duration, n int) time.Duration {
	return (total / time.Duration(max(n, 1))).Round(10 * time.Microsecond)
}
