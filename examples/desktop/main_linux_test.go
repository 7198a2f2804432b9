package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// This binary is also the program.
func TestMain(m *testing.M) {
	if os.Getenv("DESKTOP") == "1" {
		main()
	}
	os.Exit(m.Run())
}

// Where the program's window is, what of it the browser does not cover, and a point
// that it covers.
var (
	whole     = image.Rect(0, 0, 380, 340)
	uncovered = image.Rect(0, 0, 250, 340)
	covered   = image.Pt(360, 220)
)

// The whole program, in a real window, with a real browser and a real keychain.
func TestDesktop(t *testing.T) {
	t.Parallel()
	d := startDisplay(t, "860x340")
	var alice user
	server := oauthtest.NewServer(t, &oauthtest.Options{
		Claims: map[string]any{
			"name": "Alice Example", "preferred_username": "alice", "picture": serveFace(t),
		},
		Misbehave: func(endpoint string, next http.Handler) http.Handler {
			if endpoint == "authorize" {
				return alice.signInPage(next)
			}
			return next
		},
	})
	api := httptest.NewServer(server.Protect("", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "Three notes, the newest of today.")
		})))
	t.Cleanup(api.Close)
	environ := append(realparts.SecretService(t, realparts.Unlocked).Environ(),
		"DISPLAY="+d.number, "DESKTOP=1", "PATH="+browser(t)+":"+os.Getenv("PATH"))
	start := func() (stop func()) {
		return startProgram(t, environ, server.URL, server.Config().ClientID, api.URL)
	}

	stop := start()
	window := d.awaitTitle("Notes: signed out")
	d.awaitColour(blue, 100, whole)
	d.picture("desktop-before.png", whole)

	// The user cancels while the browser waits.
	alice.reading.Store(true)
	d.click(blue)
	d.awaitTitle("Notes: signing in")
	d.await("the browser over the window", func() bool { return d.at(covered) != window })
	d.awaitColour(paper, 300, d.screen().Bounds())
	d.picture("desktop-during.png", d.screen().Bounds())
	time.Sleep(2 * time.Second) // a browser that starts may come to the front once more
	d.click(gray)
	d.awaitTitle("Notes: signed out")
	d.await("the window in front again", func() bool { return d.at(covered) == window })

	// The user says no.
	server.Deny()
	d.click(blue)
	d.awaitTitle("Notes: signing in")
	d.await("the provider's page in the second tab", func() bool { return alice.tabs.Load() == 2 })
	alice.reading.Store(false)
	d.awaitTitle("Notes: signed out")

	d.click(blue)
	d.awaitTitle("Notes: signed in")
	d.await("the window in front again", func() bool { return d.at(covered) == window })
	d.awaitColour(skin, 20, whole)
	before := d.screen()
	d.click(blue)
	d.await("the API's answer", func() bool { return !same(before, d.screen(), answerLine) })
	d.picture("desktop-after.png", whole)

	// The next run needs no browser.
	logins := server.Requests("authorize")
	stop()
	stop = start()
	d.awaitTitle("Notes: signed in")
	require.Equal(t, logins, server.Requests("authorize"))

	// The provider ends the session.
	server.Revoke()
	server.Expire()
	d.click(blue)
	d.awaitTitle("Notes: sign in again")
	d.click(blue)
	d.awaitTitle("Notes: signed in")

	d.click(gray)
	d.awaitTitle("Notes: signed out")
	require.NotZero(t, server.Requests("revocation"))
	stop()
}

// answerLine is the part of the window in which only the API's answer is drawn.
var answerLine = image.Rect(20, 90, 360, 180)

func same(a, b *image.NRGBA, part image.Rectangle) bool {
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			if a.NRGBAAt(x, y) != b.NRGBAAt(x, y) {
				return false
			}
		}
	}
	return true
}

// startProgram runs the program until stop is called, or the test ends.
func startProgram(t *testing.T, environ []string, args ...string) (stop func()) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = environ
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Log(said.String())
		}
	}
	t.Cleanup(stop)
	return stop
}

// browser returns a directory with an xdg-open that runs Chromium.
func browser(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	profile, err := os.MkdirTemp("", "chromium")
	require.NoError(t, err)
	script := "#!/bin/sh\nexec chromium --no-sandbox --no-first-run --no-default-browser-check " +
		"--disable-gpu --disable-sync --disable-component-update --password-store=basic " +
		"--window-position=250,0 --window-size=610,340 --test-type --user-data-dir='" + profile + "' \"$1\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(script), 0o700))
	t.Cleanup(func() {
		// The link tells the host and the process.
		lock, err := os.Readlink(filepath.Join(profile, "SingletonLock"))
		if err == nil {
			pid, _ := strconv.Atoi(lock[strings.LastIndexByte(lock, '-')+1:])
			if pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		require.Eventually(t, func() bool { return os.RemoveAll(profile) == nil }, soon, 100*time.Millisecond)
	})
	return bin
}

var (
	paper = color.NRGBA{R: 0xf2, G: 0xee, B: 0xe4, A: 0xff} // of the provider's page
	skin  = color.NRGBA{R: 0xf0, G: 0xb8, B: 0x90, A: 0xff} // of the user's picture
)

// user is the one who signs in.
type user struct {
	reading atomic.Bool  // reads the provider's page, and does nothing yet
	tabs    atomic.Int64 // how many tabs have loaded that page
}

// signInPage shows a provider's page while the user reads it. It then looks on by
// itself, as if the user had signed in. The tab of an earlier sign-in, which was
// cancelled, stays as it is: it would be told what is meant for the newest one.
func (u *user) signInPage(next http.Handler) http.Handler {
	var mu sync.Mutex
	seen := map[string]bool{} // by what a tab asks for
	newest := ""
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tab := r.URL.RawQuery
		mu.Lock()
		if !seen[tab] {
			seen[tab], newest = true, tab
			u.tabs.Add(1)
		}
		current := tab == newest
		mu.Unlock()
		if current && !u.reading.Load() {
			next.ServeHTTP(w, r)
			return
		}
		look := ""
		if current {
			look = `<meta http-equiv="refresh" content="1">`
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!DOCTYPE html>`+look+`
<title>Example: sign in</title><body style="background:#f2eee4;font:16px sans-serif;padding:0 120px">
<h2>Example</h2><p>Sign in to continue to <b>Notes</b>.<p><input value="alice" size="24">
<p><input type="password" size="24"><p><button>Sign in</button>`)
	})
}

// serveFace serves the user's picture, and returns its address.
func serveFace(t *testing.T) string {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 112, 112))
	disc := func(x, y, r int, c color.NRGBA) {
		for dy := -r; dy <= r; dy++ {
			for dx := -r; dx <= r; dx++ {
				if dx*dx+dy*dy <= r*r {
					img.SetNRGBA(x+dx, y+dy, c)
				}
			}
		}
	}
	disc(56, 56, 200, color.NRGBA{R: 0x40, G: 0x90, B: 0x80, A: 0xff})
	hair := color.NRGBA{R: 0x50, G: 0x30, B: 0x20, A: 0xff}
	disc(56, 46, 34, hair)
	disc(56, 60, 30, skin)
	disc(45, 58, 4, hair)
	disc(67, 58, 4, hair)
	disc(56, 118, 34, color.NRGBA{R: 0xc0, G: 0x40, B: 0x50, A: 0xff})
	var data bytes.Buffer
	require.NoError(t, png.Encode(&data, img))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the picture's server got a token")
		}
		_, _ = w.Write(data.Bytes())
	}))
	t.Cleanup(web.Close)
	return web.URL
}
