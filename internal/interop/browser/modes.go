//go:build linux

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// Modes are settings that a user may have. The zero Modes are those of a browser
// that was just installed, without a window.
type Modes struct {
	Window    bool // on a display
	HTTPSOnly bool // "HTTPS-Only Mode in all windows", "Always use secure connections"
	Strict    bool // strict tracking protection; Chromium: no third-party cookies
	Private   bool // a private window

	// Public are addresses ("127.0.0.1:8080") that the browser takes for addresses
	// on the internet, for its checks of local network access.
	Public []string
}

// Real is a browser with a profile of its own, which a test drives: Chromium or
// Firefox. It ends with the test.
type Real struct {
	Name    string
	Profile string // the directory of the profile
	tb      testing.TB
	modes   Modes
	cmd     *exec.Cmd
	ended   chan struct{}
	remote  *protocol
	first   string // Chromium: its first tab, if no test has it yet
}

// Tab is a tab of a [Real].
type Tab struct {
	b           *Real
	id, session string
}

// Names that the browsers resolve to this machine. Browsers exempt addresses of this
// machine, and these are not known to be such.
const (
	// PlainHost is a host that has no TLS.
	PlainHost = "plain.example"
	// LoginHost is the host of a provider.
	LoginHost = "login.example"
	// TrackerHost is a tracker in the test list of Firefox.
	TrackerHost = "trackertest.org"
)

// Start starts a browser, "chromium" or "firefox-esr".
func Start(tb testing.TB, name string, modes Modes) *Real {
	tb.Helper()
	path := realparts.Need(tb, name)[0]
	// Not tb.TempDir: the browser may still write while the directory is removed.
	dir, err := os.MkdirTemp("", "nativeoauth-"+name+"-")
	require.NoError(tb, err)
	b := &Real{
		Name: name, Profile: filepath.Join(dir, "profile"), tb: tb, modes: modes,
		ended: make(chan struct{}),
	}
	require.NoError(tb, os.MkdirAll(b.Profile, 0o700))
	arguments, started := b.firefox, b.attachFirefox
	if name == "chromium" {
		arguments, started = b.chromium, b.attachChromium
	}
	b.cmd = exec.Command(path, arguments()...)
	b.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME=", "XDG_CACHE_HOME=",
		"TMPDIR="+dir, "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent", "MOZ_DISABLE_AUTO_SAFE_MODE=1")
	if modes.Window {
		b.cmd.Env = append(b.cmd.Env, "DISPLAY="+realparts.Display(tb))
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(tb, err)
	defer func() { _ = log.Close() }()
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	require.NoError(tb, b.cmd.Start())
	go func() {
		_ = b.cmd.Wait()
		close(b.ended)
	}()
	tb.Cleanup(func() {
		b.kill()
		_ = os.RemoveAll(dir)
	})
	// Firefox answers only after it has restored its windows, which takes long on a busy
	// machine.
	ctx, cancel := context.WithTimeout(context.Background(), 3*Patience)
	defer cancel()
	for {
		text, _ := os.ReadFile(log.Name())
		ok, err := started(ctx, string(text))
		require.NoError(tb, err, "%s", text)
		if ok {
			return b
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("%s did not start: %s", name, text)
		case <-b.ended:
			tb.Fatalf("%s ended: %s", name, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kill ends the browser and its children, which are of its process group.
func (b *Real) kill() {
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
	<-b.ended
}

// Quit ends the browser as a user does, so that it writes all it wants to keep.
func (b *Real) Quit() {
	b.tb.Helper()
	method := "browser.close"
	if b.Name == "chromium" {
		method = "Browser.close"
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	_ = b.remote.call(ctx, "", method, struct{}{}, nil) // it may end before it answers
	select {
	case <-b.ended:
	case <-ctx.Done():
		b.tb.Fatalf("%s does not end", b.Name)
	}
}

// firefox writes the user's settings for Firefox and returns its arguments.
func (b *Real) firefox() []string {
	prefs := map[string]any{
		// Nothing is asked of servers of Mozilla.
		"browser.shell.checkDefaultBrowser":          false,
		"datareporting.policy.dataSubmissionEnabled": false,
		"app.update.enabled":                         false,
		"browser.aboutwelcome.enabled":               false,
		"network.captive-portal-service.enabled":     false,
		"network.connectivity-service.enabled":       false,
		"browser.safebrowsing.downloads.enabled":     false,
		"services.settings.server":                   "data:,",
		"extensions.systemAddon.update.enabled":      false,
		"network.dns.disablePrefetch":                true,

		"network.dns.localDomains":                  strings.Join([]string{PlainHost, LoginHost, TrackerHost}, ","),
		"dom.security.https_only_mode":              b.modes.HTTPSOnly,
		"network.lna.enabled":                       true,
		"network.lna.blocking":                      true,
		"network.lna.address_space.public.override": strings.Join(b.modes.Public, ","),
		"browser.privatebrowsing.autostart":         b.modes.Private,
	}
	if b.modes.Strict {
		prefs["browser.contentblocking.category"] = "strict"
	}
	var text strings.Builder
	for name, value := range prefs {
		encoded, _ := json.Marshal(value)
		fmt.Fprintf(&text, "user_pref(%q, %s);\n", name, encoded)
	}
	path := filepath.Join(b.Profile, "user.js")
	require.NoError(b.tb, os.WriteFile(path, []byte(text.String()), 0o600))
	args := []string{"--no-remote", "--profile", b.Profile, "--remote-debugging-port=0"}
	if !b.modes.Window {
		args = append(args, "--headless")
	}
	return args
}

var listening = regexp.MustCompile(`WebDriver BiDi listening on (ws://\S+)`)

func (b *Real) attachFirefox(ctx context.Context, log string) (bool, error) {
	at := listening.FindStringSubmatch(log)
	if at == nil {
		return false, nil
	}
	var err error
	if b.remote, err = connect(ctx, at[1]+"/session"); err != nil {
		return false, err
	}
	// A user goes on at a page with a certificate of a company, which is known.
	return true, b.remote.call(ctx, "", "session.new", map[string]any{
		"capabilities": map[string]any{"alwaysMatch": map[string]any{"acceptInsecureCerts": true}},
	}, nil)
}

// chromium writes the user's settings for Chromium and returns its arguments.
func (b *Real) chromium() []string {
	settings := map[string]any{
		"https_only_mode_enabled": b.modes.HTTPSOnly,
		"profile": map[string]any{
			"block_third_party_cookies": b.modes.Strict,
			"cookie_controls_mode":      map[bool]int{true: 1}[b.modes.Strict],
		},
	}
	encoded, err := json.Marshal(settings)
	require.NoError(b.tb, err)
	dir := filepath.Join(b.Profile, "Default")
	require.NoError(b.tb, os.Mkdir(dir, 0o700))
	require.NoError(b.tb, os.WriteFile(filepath.Join(dir, "Preferences"), encoded, 0o600))
	args := []string{
		"--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-extensions", "--password-store=basic",
		"--ignore-certificate-errors",
		fmt.Sprintf("--host-resolver-rules=MAP %s 127.0.0.1, MAP %s 127.0.0.1, MAP %s 127.0.0.1, MAP *.* ~NOTFOUND, EXCLUDE 127.0.0.1",
			PlainHost, LoginHost, TrackerHost),
		"--remote-debugging-port=0", "--user-data-dir=" + b.Profile,
	}
	for _, address := range b.modes.Public {
		args = append(args, "--ip-address-space-overrides="+address+"=public")
	}
	if !b.modes.Window {
		args = append(args, "--headless=new")
	}
	if b.modes.Private {
		args = append(args, "--incognito")
	}
	return append(args, "about:blank")
}

func (b *Real) attachChromium(ctx context.Context, _ string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(b.Profile, "DevToolsActivePort"))
	port, path, found := strings.Cut(string(data), "\n")
	if err != nil || !found {
		return false, nil
	}
	if b.remote == nil {
		if b.remote, err = connect(ctx, "ws://127.0.0.1:"+port+strings.TrimSpace(path)); err != nil {
			return false, err
		}
	}
	var all struct {
		TargetInfos []struct{ Type, URL, TargetID string }
	}
	if err := b.remote.call(ctx, "", "Target.getTargets", struct{}{}, &all); err != nil {
		return false, err
	}
	for _, target := range all.TargetInfos {
		if target.Type == "page" && target.URL == "about:blank" {
			b.first = target.TargetID
			return true, nil
		}
	}
	return false, nil
}

// Open opens a tab at url and does not wait for the page.
func (b *Real) Open(url string) *Tab {
	b.tb.Helper()
	t := &Tab{b: b}
	if b.Name == "chromium" {
		var made struct{ TargetID, SessionID string }
		if t.id, b.first = b.first, ""; t.id == "" { // not in a private window
			b.do("", "Target.createTarget", map[string]any{"url": "about:blank"}, &made)
			t.id = made.TargetID
		}
		b.do("", "Target.attachToTarget", map[string]any{"targetId": t.id, "flatten": true}, &made)
		t.session = made.SessionID
	} else {
		var made struct{ Context string }
		b.do("", "browsingContext.create", map[string]any{"type": "tab"}, &made)
		t.id = made.Context
	}
	t.Go(url)
	return t
}

// do is call that fails the test.
func (b *Real) do(session, method string, params, result any) {
	b.tb.Helper()
	require.NoError(b.tb, b.try(session, method, params, result))
}

func (b *Real) try(session, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return b.remote.call(ctx, session, method, params, result)
}

// Go enters url in the address bar. The page may show an error.
func (t *Tab) Go(url string) {
	t.b.tb.Helper()
	if t.b.Name == "chromium" {
		_ = t.b.try(t.session, "Page.navigate",
			map[string]any{"url": url, "transitionType": "typed"}, nil)
		return
	}
	_ = t.b.try("", "browsingContext.navigate",
		map[string]any{"context": t.id, "url": url, "wait": "none"}, nil)
}

// Reload reloads the page.
func (t *Tab) Reload() {
	if t.b.Name == "chromium" { // a reload of the page itself: Page.reload does not always reload
		_, _ = t.Eval("setTimeout(() => location.reload()), ''")
		return
	}
	_ = t.b.try("", "browsingContext.reload",
		map[string]any{"context": t.id, "wait": "none"}, nil)
}

// Back goes back one page in the history of the tab.
func (t *Tab) Back() {
	t.b.tb.Helper()
	if t.b.Name != "chromium" {
		t.b.do("", "browsingContext.traverseHistory",
			map[string]any{"context": t.id, "delta": -1}, nil)
		return
	}
	var history struct {
		CurrentIndex int
		Entries      []struct{ ID int }
	}
	t.b.do(t.session, "Page.getNavigationHistory", struct{}{}, &history)
	to := history.CurrentIndex - 1
	require.GreaterOrEqual(t.b.tb, to, 0, "there is no page to go back to")
	t.b.do(t.session, "Page.navigateToHistoryEntry",
		map[string]any{"entryId": history.Entries[to].ID}, nil)
}

// Close closes the tab.
func (t *Tab) Close() {
	if t.b.Name == "chromium" {
		_ = t.b.try("", "Target.closeTarget", map[string]any{"targetId": t.id}, nil)
		return
	}
	_ = t.b.try("", "browsingContext.close", map[string]any{"context": t.id}, nil)
}

// Eval evaluates a JavaScript expression with a string as its value, and waits for
// a promise. The page's policy does not apply to it.
func (t *Tab) Eval(expression string) (string, error) {
	if t.b.Name == "chromium" {
		var got struct {
			Result           struct{ Value string }
			ExceptionDetails *struct{ Text string }
		}
		err := t.b.try(t.session, "Runtime.evaluate", map[string]any{
			"expression": expression, "awaitPromise": true, "returnByValue": true,
			"userGesture": true,
		}, &got)
		if err == nil && got.ExceptionDetails != nil {
			err = fmt.Errorf("%s", got.ExceptionDetails.Text)
		}
		return got.Result.Value, err
	}
	var got struct {
		Type             string
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	err := t.b.try("", "script.evaluate", map[string]any{
		"expression": expression, "target": map[string]any{"context": t.id},
		"awaitPromise": true, "userActivation": true,
	}, &got)
	if err == nil && got.Type == "exception" {
		err = fmt.Errorf("%s", got.ExceptionDetails.Text)
	}
	return got.Result.Value, err
}

// See waits until the page's address and visible text match a pattern, and returns
// both.
func (t *Tab) See(pattern string) string {
	t.b.tb.Helper()
	const text = `location.href + "\n" + document.title + "\n" +
		(document.body ? document.body.innerText : "")`
	re, last := regexp.MustCompile(pattern), ""
	deadline := time.Now().Add(Patience)
	for ; time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		text, err := t.Eval(text)
		if err != nil { // a page on its way to the next
			last = err.Error()
			continue
		}
		if last = text; re.MatchString(text) {
			return text
		}
	}
	address, _, _ := strings.Cut(last, "?") // the query may hold a code
	t.b.tb.Fatalf("%s did not show %q but %s", t.b.Name, pattern, address)
	return ""
}
