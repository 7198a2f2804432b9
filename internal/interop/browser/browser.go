// Package browser drives a real Chromium through the pages of a login.
//
// The test does not start Chromium. The program under test opens its browser as
// on a desktop: through xdg-open, which honours $BROWSER, and that names a
// wrapper made here. At first the wrapper starts Chromium, headless and with a
// profile of its own, and stays while it runs. Later it passes its URL to the
// running one, as a desktop browser does. [Chromium.Drive] opens each URL in a
// tab and clicks. (Chromium itself starts on a blank page, because chromedp
// cannot attach safely to a page that loads.)
//
// authserver.User is not used here, because these tests are about what a real
// browser does: its history, referrer, cache and scripts.
package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/remote"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// Patience bounds every wait on the browser. Two busy cores start Chromium in a
// few seconds.
const Patience = 2 * time.Minute

// Chromium is one browser profile, and the Chromium that runs on it once a page
// was opened. It must not be used concurrently.
type Chromium struct {
	tb      testing.TB
	dir     string               // wrapper, profile, queue of URLs, log
	blank   context.Context      // the page that Chromium was started with; nil before it is attached
	page    context.Context      // the page driven last
	opened  int                  // how many queued URLs were driven
	cancels []context.CancelFunc // of every page
}

// New prepares a Chromium without starting it. It needs Chromium and xdg-open
// (see realparts.Need).
func New(tb testing.TB) *Chromium {
	tb.Helper()
	paths := realparts.Need(tb, "chromium", "xdg-open")
	// Not tb.TempDir: Chromium may still write while the directory is removed,
	// and that would fail the test.
	dir, err := os.MkdirTemp("", "nativeoauth-chromium-")
	require.NoError(tb, err)
	c := &Chromium{tb: tb, dir: dir}

	// mkdir decides which wrapper is first. That one stays until the browser
	// ends, as on a desktop. It never fails, because xdg-open would try again.
	script := fmt.Sprintf(`#!/bin/sh
printf '%%s\n' "$1" >>'%[1]s/urls'
if mkdir '%[1]s/home' 2>/dev/null; then
	mkdir '%[1]s/tmp'
	export HOME='%[1]s/home' XDG_CONFIG_HOME= XDG_CACHE_HOME= TMPDIR='%[1]s/tmp'
	'%[2]s' --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run \
		--disable-background-networking --disable-component-update --disable-sync --disable-extensions \
		--password-store=basic --host-resolver-rules='MAP *.* ~NOTFOUND, EXCLUDE 127.0.0.1' \
		--window-size=1024,768 --remote-debugging-port=0 --user-data-dir='%[1]s/profile' about:blank >'%[1]s/log' 2>&1
fi
exit 0
`, dir, paths[0])
	require.NoError(tb, os.WriteFile(c.Wrapper(), []byte(script), 0o700))
	tb.Cleanup(c.close)
	return c
}

// Wrapper returns the path that $BROWSER has to name.
func (c *Chromium) Wrapper() string { return filepath.Join(c.dir, "open") }

// Env returns the environment variables that make a program open its pages
// here.
func (c *Chromium) Env() []string { return []string{"BROWSER=" + c.Wrapper()} }

// Open opens url as a program without the SDK would, with xdg-open.
func (c *Chromium) Open(url string) {
	c.tb.Helper()
	cmd := exec.Command("xdg-open", url)
	cmd.Env = append(os.Environ(), c.Env()...)
	require.NoError(c.tb, cmd.Start())
	go func() { _ = cmd.Wait() }() // if it became Chromium, it ends with it
}

// Step is one thing that a user does or sees on a page.
type Step struct {
	Name string
	Do   chromedp.Action[chromedp.Void]
}

// Fill types text into the field that the CSS selector names, in place of what
// is there.
func Fill(selector, text string) Step {
	return Step{fmt.Sprintf("fill %s", selector), chromedp.Steps(
		chromedp.WaitVisible(chromedp.CSS(selector)),
		chromedp.Clear(chromedp.CSS(selector)),
		chromedp.SendKeys(chromedp.CSS(selector), text),
	)}
}

// Click clicks the element that the CSS selector names, once it is visible and has
// stopped moving: the click goes to a place on the page, and not to the element.
func Click(selector string) Step {
	return Step{fmt.Sprintf("click %s", selector), chromedp.Steps(
		chromedp.WaitVisible(chromedp.CSS(selector)),
		atRest(selector),
		chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible),
	)}
}

// atRest waits until an element was at the same place twice in a row. It fails if the
// element goes away.
func atRest(selector string) chromedp.Action[chromedp.Void] {
	where := fmt.Sprintf("JSON.stringify(document.querySelector(%q).getBoundingClientRect())", selector)
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		for last := ""; ; {
			place, err := chromedp.Evaluate[string](where)(ctx, t)
			if err != nil || place == last {
				return chromedp.Void{}, err
			}
			last = place
			if _, err := chromedp.Sleep(100*time.Millisecond)(ctx, t); err != nil {
				return chromedp.Void{}, err
			}
		}
	}
}

// See waits until the page's visible text holds text, through any number of
// navigations.
func See(text string) Step {
	return Step{fmt.Sprintf("see %q", text), func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		for {
			// An error is a page on its way to the next.
			if body, err := visibleText(ctx, t); err == nil && strings.Contains(body, text) {
				return chromedp.Void{}, nil
			}
			if _, err := chromedp.Sleep(50*time.Millisecond)(ctx, t); err != nil {
				return chromedp.Void{}, err
			}
		}
	}}
}

// Screenshot writes a picture of the page to path, as PNG, once nothing moves
// on it. What would move for ever is shown as it begins, so that two pictures of
// a page are the same.
func Screenshot(path string) Step {
	return Step{"take a screenshot", func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		const still = "document.getAnimations().filter(a => a.effect.getComputedTiming().endTime >= 1e4).forEach(a => { a.pause(); a.currentTime = 0 });" +
			"Promise.allSettled(document.getAnimations().filter(a => a.effect.getComputedTiming().endTime < 1e4).map(a => a.finished)).then(() => 0)"
		if _, err := chromedp.Evaluate[int](still, chromedp.EvalAwaitPromise)(ctx, t); err != nil {
			return chromedp.Void{}, err
		}
		png, err := chromedp.CaptureScreenshot()(ctx, t)
		if err != nil {
			return chromedp.Void{}, err
		}
		return chromedp.Void{}, os.WriteFile(path, png, 0o600)
	}}
}

// Scheme has the browser prefer "light" or "dark" pages.
func Scheme(prefer string) Step {
	return Step{"prefer " + prefer + " pages", func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: prefer}},
		})
		return chromedp.Void{}, err
	}}
}

// Language has the browser ask for pages in a language.
func Language(tag string) Step {
	return Step{"ask for " + tag, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		if _, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{}); err != nil {
			return chromedp.Void{}, err
		}
		_, err := cdp.Call(ctx, t, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
			Headers: network.Headers{"Accept-Language": tag},
		})
		return chromedp.Void{}, err
	}}
}

// Window sets the size of the page.
func Window(width, height int64) Step {
	return Step{"change the window", chromedp.EmulateViewport(width, height)}
}

// Script runs a JavaScript expression, awaits it, and stores the resulting
// string. The page's policy does not apply to it.
func Script(expression string, result *string) Step {
	return Step{"run a script", func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		text, err := chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise)(ctx, t)
		*result = text
		return chromedp.Void{}, err
	}}
}

// Drive waits for the next page that a program opened, and does the steps
// there. If a step fails, it fails the test and shows the page's text.
func (c *Chromium) Drive(steps ...Step) {
	c.tb.Helper()
	c.page = c.next()
	c.Continue(steps...)
}

// Continue does more steps on the page that was driven last.
func (c *Chromium) Continue(steps ...Step) {
	c.tb.Helper()
	for _, step := range steps {
		ctx, cancel := context.WithTimeout(c.page, Patience)
		err := chromedp.Do(ctx, step.Do)
		for tries := 0; err != nil && ctx.Err() == nil && tries < 20; tries++ { // the document went away under it
			time.Sleep(100 * time.Millisecond)
			err = chromedp.Do(ctx, step.Do)
		}
		cancel()
		if err != nil {
			c.tb.Fatalf("browser: could not %s: %v\n%s", step.Name, err, c.describe())
		}
	}
}

// Location returns the URL of the page that was driven last.
func (c *Chromium) Location() string {
	c.tb.Helper()
	url, err := chromedp.Run(c.page, chromedp.Location())
	require.NoError(c.tb, err)
	return url
}

// next opens the wrapper's next URL in a new tab.
func (c *Chromium) next() context.Context {
	c.tb.Helper()
	var url string
	c.eventually("no page was opened", func() bool {
		data, _ := os.ReadFile(filepath.Join(c.dir, "urls"))
		lines := strings.SplitAfter(string(data), "\n")
		if len(lines)-1 <= c.opened { // the last piece has no newline yet
			return false
		}
		url = strings.TrimSuffix(lines[c.opened], "\n")
		return true
	})
	c.opened++
	if c.blank == nil {
		c.attach()
	}
	page, cancel := chromedp.NewContext(c.blank)
	c.cancels = append(c.cancels, cancel)
	require.NoError(c.tb, chromedp.Do(page)) // opens the tab, which lives as long as page
	bounded, cancel := context.WithTimeout(page, Patience)
	defer cancel()
	require.NoError(c.tb, chromedp.Do(bounded, chromedp.Navigate(url)))
	return page
}

// attach connects to the Chromium that the wrapper started, and to the blank
// page it shows.
func (c *Chromium) attach() {
	c.tb.Helper()
	var socket string
	var page target.ID
	c.eventually("Chromium did not start", func() (ok bool) {
		socket, page, ok = c.blankPage()
		return ok
	})
	allocator, cancel := remote.NewAllocator(context.Background(), socket, remote.NoModifyURL)
	c.cancels = append(c.cancels, cancel)
	c.blank, cancel = chromedp.NewContext(allocator, chromedp.WithTargetID(page), chromedp.WithDetachOnCancel())
	c.cancels = append(c.cancels, cancel)
	require.NoError(c.tb, chromedp.Do(c.blank))
}

// blankPage finds the page that Chromium started with, after Chromium has
// written its address.
func (c *Chromium) blankPage() (socket string, page target.ID, ok bool) {
	data, err := os.ReadFile(filepath.Join(c.dir, "profile", "DevToolsActivePort"))
	port, path, found := strings.Cut(string(data), "\n")
	if err != nil || !found {
		return "", "", false
	}
	client := http.Client{Timeout: Patience}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://127.0.0.1:" + port + "/json/list")
	if err != nil {
		return "", "", false
	}
	defer resp.Body.Close()
	var pages []struct{ ID, Type, URL string }
	if json.NewDecoder(resp.Body).Decode(&pages) != nil {
		return "", "", false
	}
	for _, p := range pages { // Chromium's own bubbles are pages too
		if p.Type == "page" && p.URL == "about:blank" {
			return "ws://127.0.0.1:" + port + path, target.ID(p.ID), true
		}
	}
	return "", "", false
}

// eventually waits until ok returns true. If it does not, the test fails and
// shows Chromium's log.
func (c *Chromium) eventually(otherwise string, ok func() bool) {
	c.tb.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			c.tb.Fatalf("browser: %s. Chromium said:\n%s", otherwise, log)
		}
	}
}

// describe returns what the current page shows, for a failure.
func (c *Chromium) describe() string {
	ctx, cancel := context.WithTimeout(c.page, 5*time.Second)
	defer cancel()
	location, _ := chromedp.Run(ctx, chromedp.Location())
	text, err := chromedp.Run(ctx, visibleText)
	if err != nil {
		return "and the page does not answer: " + err.Error()
	}
	location, _, _ = strings.Cut(location, "?") // the query may hold a code
	return fmt.Sprintf("the page %s says:\n%s", location, text)
}

// visibleText returns what a user can read on the page.
var visibleText = chromedp.Evaluate[string]("document.body ? document.body.innerText : ''")

// close ends Chromium and removes its profile. Its children write to the
// profile until they have ended too.
func (c *Chromium) close() {
	for _, cancel := range slices.Backward(c.cancels) {
		cancel()
	}
	for range 200 {
		left := c.processes()
		if len(left) == 0 {
			break
		}
		for _, process := range left {
			_ = process.Kill()
		}
		time.Sleep(20 * time.Millisecond)
	}
	_ = os.RemoveAll(c.dir)
}

// processes returns the processes of this profile. They are found by their
// command lines: children name the profile too, and a process that has ended
// has none, even if nobody has waited for it yet.
func (c *Chromium) processes() []*os.Process {
	var found []*os.Process
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, _ := os.ReadFile(name)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil || !bytes.Contains(line, []byte(c.dir+"/profile")) {
			continue
		}
		if process, err := os.FindProcess(pid); err == nil {
			found = append(found, process)
		}
	}
	return found
}
