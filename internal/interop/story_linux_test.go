package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// The whole user story on real parts. A user signs in once, in Chromium, on the
// provider's own pages. The session is in gnome-keyring. Every later process
// gets its token silently, through expiry and rotation. Logout ends it
// everywhere.
func TestStory(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{AccessToken: 30 * time.Second})
	d := newDesktop(t)
	require.Empty(t, d.keyringItems(t), "nothing is kept to begin with")

	login := d.start(t, task{Do: "login", Issuer: p.Issuer, Prompt: "consent"})
	d.browser.Drive(append(p.steps("alice"), browser.See("Signed in to Interop"))...)
	d.screenshot(t, "signed-in.png")
	page := d.browser.Location()
	require.True(t, strings.HasPrefix(page, "http://127.0.0.1:"), page)
	require.NotContains(t, page, "code=", "S18: the code is gone from the address bar and the history entry")
	require.NotContains(t, page, "state=")
	first := login.result(t)
	require.Equal(t, "alice", first.Subject)
	require.Equal(t, "alice", first.Claims["sub"])
	require.Equal(t, "keychain", first.Store)
	require.True(t, first.Refreshable)
	require.Equal(t, 1, first.Accounts)
	require.Len(t, p.Requests("token", "authorization_code"), 1, "one exchange")
	require.NotEmpty(t, d.keyringItems(t), "the session is in gnome-keyring")
	d.requireNowhere(t, first.AccessToken)

	// A second process gets the same token, and nobody is prompted.
	second := d.run(t, task{Do: "token", Issuer: p.Issuer})
	require.Greater(t, time.Until(first.Expiry), time.Duration(0), "this machine was too slow for the test: the token expired before it was asked for")
	require.Equal(t, first.AccessToken, second.AccessToken)
	require.Len(t, p.Requests("token", ""), 1, "silent")

	// The token expires; a third process refreshes, and a fourth finds what it
	// stored.
	time.Sleep(time.Until(first.Expiry) + time.Second)
	require.Equal(t, http.StatusUnauthorized, userinfo(t, p.Issuer+"/me", &oauth2.Token{AccessToken: first.AccessToken}))
	p.SetAccessToken(time.Hour)
	third := d.run(t, task{Do: "token", Issuer: p.Issuer})
	require.NotEqual(t, first.AccessToken, third.AccessToken)
	require.Equal(t, http.StatusOK, userinfo(t, p.Issuer+"/me", &oauth2.Token{AccessToken: third.AccessToken}))
	require.Len(t, p.Requests("token", "refresh_token"), 1)
	fourth := d.run(t, task{Do: "token", Issuer: p.Issuer})
	require.Equal(t, third.AccessToken, fourth.AccessToken)
	require.Len(t, p.Requests("token", "refresh_token"), 1)

	// The rotated refresh token was kept too: a fifth process can use it. Had
	// it sent the first one, the provider would have ended the session.
	fifth := d.run(t, task{Do: "refresh", Issuer: p.Issuer})
	require.NotEqual(t, third.AccessToken, fifth.AccessToken)
	require.Len(t, p.Requests("token", "refresh_token"), 2)
	require.NotContains(t, p.Events(), Event{Event: "grant.revoked"})
	info := d.run(t, task{Do: "userinfo", Issuer: p.Issuer})
	require.Equal(t, "Person alice", info.Claims["name"])
	d.requireNowhere(t, fifth.AccessToken)

	// Logout revokes at the provider and removes from the keyring.
	d.run(t, task{Do: "logout", Issuer: p.Issuer})
	require.NotEmpty(t, p.Requests("revocation", ""))
	require.Contains(t, p.Events(), Event{Event: "grant.revoked"})
	require.Equal(t, http.StatusUnauthorized, userinfo(t, p.Issuer+"/me", &oauth2.Token{AccessToken: fifth.AccessToken}))
	require.Empty(t, d.keyringItems(t))
	gone := d.start(t, task{Do: "token", Issuer: p.Issuer}).ended(t)
	require.Equal(t, "ErrLoginRequired", gone.Kind, gone.Error)
}

// Four processes meet an expired token at the same moment: one refreshes, the
// others get its token.
func TestStoryManyProcessesRefreshOnce(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{AccessToken: time.Second})
	d := newDesktop(t)
	login := d.start(t, task{Do: "login", Issuer: p.Issuer, Prompt: "consent"})
	d.browser.Drive(append(p.steps("alice"), browser.See("Signed in"))...)
	first := login.result(t)
	time.Sleep(time.Until(first.Expiry) + time.Second)
	refreshes := len(p.Requests("token", "refresh_token"))
	p.SetAccessToken(time.Hour)

	var processes []*process
	for range 4 {
		processes = append(processes, d.start(t, task{Do: "token", Issuer: p.Issuer, Wait: 2 * time.Second}))
	}
	tokens := map[string]bool{}
	for _, process := range processes {
		tokens[process.result(t).AccessToken] = true
	}
	require.Len(t, tokens, 1, "all have the same token")
	require.Len(t, p.Requests("token", "refresh_token"), refreshes+1)
	require.NotContains(t, p.Events(), Event{Event: "grant.revoked"})
}

// The user says no, on the provider's own page.
func TestStoryDenied(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	d := newDesktop(t)
	login := d.start(t, task{Do: "login", Issuer: p.Issuer, Prompt: "consent"})
	d.browser.Drive(p.Refuse(), browser.See("Interop"))
	d.screenshot(t, "denied.png")
	denied := login.ended(t)
	require.Equal(t, "ErrAccessDenied", denied.Kind, denied.Error)
	require.Empty(t, p.Requests("token", ""))
	require.Empty(t, d.keyringItems(t))
}

// A process that is killed during the sign-in leaves nothing behind, and the
// next one can sign in.
func TestStoryKilledWhileTheUserSignsIn(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	d := newDesktop(t)
	killed := d.start(t, task{Do: "session or login", Issuer: p.Issuer, Prompt: "consent"})
	d.browser.Drive(browser.See("Sign-in"))
	killed.kill(t)
	require.Empty(t, d.keyringItems(t))

	login := d.start(t, task{Do: "session or login", Issuer: p.Issuer, Prompt: "consent"})
	d.browser.Drive(append(p.steps("alice"), browser.See("Signed in"))...)
	require.Equal(t, "alice", login.result(t).Subject)
}

// An access token that the provider has ended before its time: HTTPClient
// refreshes and tries once more.
func TestStoryEndedTokenIsReplaced(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	d := newDesktop(t)
	login := d.start(t, task{Do: "login", Issuer: p.Issuer, Prompt: "consent"})
	d.browser.Drive(append(p.steps("alice"), browser.See("Signed in"))...)
	first := login.result(t)
	p.EndAccessTokens()
	require.Equal(t, http.StatusUnauthorized, userinfo(t, p.Issuer+"/me", &oauth2.Token{AccessToken: first.AccessToken}))

	got := d.run(t, task{Do: "get", Issuer: p.Issuer, Get: p.Issuer + "/me"})
	require.Equal(t, http.StatusOK, got.Status)
	require.NotEqual(t, first.AccessToken, got.AccessToken)
	require.Len(t, p.Requests("token", "refresh_token"), 1)
	answers := p.Requests("userinfo", "")
	require.Equal(t, http.StatusUnauthorized, answers[len(answers)-2].Status)
	require.Equal(t, http.StatusOK, answers[len(answers)-1].Status)
}

// A provider that accepts only pushed requests, and only DPoP proofs with its
// nonce.
func TestStoryPARAndDPoP(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{RequirePAR: true, RequireDPoP: true})
	d := newDesktop(t)
	do := task{Do: "login", Issuer: p.Issuer, Prompt: "consent", DPoP: true, PAR: true}
	login := d.start(t, do)
	d.browser.Drive(append(p.steps("alice"), browser.See("Signed in"))...)
	login.result(t)
	require.NotEmpty(t, p.Requests("pushed_authorization_request", ""))

	do.Do = "refresh"
	d.run(t, do)
	do.Do, do.Get = "get", p.Issuer+"/me"
	require.Equal(t, http.StatusOK, d.run(t, do).Status)
	for _, e := range p.Events() {
		if e.Route == "userinfo" || e.Route == "token" {
			require.True(t, e.DPoP, "a request without a proof: %+v", e)
		}
	}
}

// The device flow: the program prints a page, and the user opens it in another
// browser.
func TestStoryDevice(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	d := newDesktop(t)
	login := d.start(t, task{Do: "login", Issuer: p.Issuer, Prompt: "consent", Device: true})
	page := login.line(t).Device
	require.NotEmpty(t, page)
	d.browser.Open(page)
	d.browser.Drive(browser.Click(`button[form="op.deviceConfirmForm"][autofocus]`))
	d.browser.Continue(append(p.steps("alice"), browser.See("Sign-in Success"))...)
	require.Equal(t, "alice", login.result(t).Subject)
	require.Equal(t, "alice", d.run(t, task{Do: "token", Issuer: p.Issuer}).Subject)
}

// No client ID: the program registers itself, once.
func TestStoryRegistration(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	d := newDesktop(t)
	do := task{Do: "login", Issuer: p.Issuer, Prompt: "consent", Register: true}
	login := d.start(t, do)
	d.browser.Drive(append(p.steps("alice"), browser.See("Signed in"))...)
	login.result(t)
	do.Do = "refresh"
	require.Equal(t, "alice", d.run(t, do).Subject)
	require.Len(t, p.Requests("registration", ""), 1)
}

// The listener and the provider on IPv6's loopback.
func TestStoryIPv6(t *testing.T) {
	t.Parallel()
	needIPv6(t)
	p := StartOIDCProvider(t, Options{Host: "::1"})
	d := newDesktop(t)
	login := d.start(t, task{Do: "login", Issuer: p.Issuer, Prompt: "consent", Addr: "[::1]:0"})
	d.browser.Drive(append(p.steps("alice"), browser.See("Signed in"))...)
	require.True(t, strings.HasPrefix(d.browser.Location(), "http://[::1]:"))
	require.Equal(t, "alice", login.result(t).Subject)
}

// glewlwyd: its login page is a program, and it compares the port of the
// redirect URI.
func TestStoryGlewlwyd(t *testing.T) {
	t.Parallel()
	g := StartGlewlwyd(t)
	d := newDesktop(t)
	login := d.start(t, task{Do: "login", Issuer: g.Issuer, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(g.Port))})
	d.browser.Drive(append(g.SignIn(), browser.See("Signed in"))...)
	first := login.result(t)
	require.NotEmpty(t, first.Subject)
	require.True(t, first.Refreshable)

	again := d.run(t, task{Do: "refresh", Issuer: g.Issuer})
	require.Empty(t, again.Error)
	require.NotEqual(t, first.AccessToken, again.AccessToken)
	require.Equal(t, first.Subject, again.Subject)
}

// Another provider: zitadel's, which has no consent page, no RFC 9207 and its
// own ideas of errors.
func TestStoryZitadel(t *testing.T) {
	t.Parallel()
	z := StartZitadel(t, 2*time.Second)
	d := newDesktop(t)
	login := d.start(t, task{Do: "login", Issuer: z.Issuer})
	d.browser.Drive(append(z.SignIn(), browser.See("Signed in"))...)
	first := login.result(t)
	require.Equal(t, ZitadelSubject, first.Subject)
	require.True(t, first.Refreshable)

	for range 2 { // each time with the refresh token that the one before stored
		time.Sleep(3 * time.Second)
		next := d.run(t, task{Do: "userinfo", Issuer: z.Issuer})
		require.NotEqual(t, first.AccessToken, next.AccessToken)
		require.Equal(t, ZitadelUser, next.Claims["preferred_username"])
		first = next
	}
	d.run(t, task{Do: "logout", Issuer: z.Issuer})
	require.NotZero(t, z.Requests("/revoke"))
	require.Equal(t, "ErrLoginRequired", d.start(t, task{Do: "token", Issuer: z.Issuer}).ended(t).Kind)
}

// desktop is the user's computer: a session bus with an unlocked gnome-keyring,
// a home, and a Chromium.
type desktop struct {
	session *realparts.Session
	browser *browser.Chromium
}

func newDesktop(t *testing.T) *desktop {
	t.Helper()
	return &desktop{realparts.SecretService(t, realparts.Unlocked), browser.New(t)}
}

// process is one run of the program.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
}

func (d *desktop) start(t *testing.T, do task) *process {
	t.Helper()
	line, err := json.Marshal(do)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(append(d.session.Environ(), d.browser.Env()...), programVariable+"="+string(line))
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second // the browser has its stderr
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.stdout = bufio.NewReader(stdout)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

// run starts a process that must succeed.
func (d *desktop) run(t *testing.T, do task) result {
	t.Helper()
	return d.start(t, do).result(t)
}

// result returns what a process printed, which must have succeeded.
func (p *process) result(t *testing.T) result {
	t.Helper()
	r := p.ended(t)
	require.Empty(t, r.Error, "%s", p.stderr.String())
	return r
}

// ended returns what a process printed, after it has ended by itself.
func (p *process) ended(t *testing.T) result {
	t.Helper()
	r := p.line(t)
	err := p.cmd.Wait()
	if err != nil && err != exec.ErrWaitDelay {
		t.Fatalf("%v\n%s", err, p.stderr.String())
	}
	return r
}

// line returns the next line of a process.
func (p *process) line(t *testing.T) (r result) {
	t.Helper()
	timer := time.AfterFunc(2*time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	line, err := p.stdout.ReadBytes('\n')
	if err != nil {
		_ = p.cmd.Wait()
		t.Fatalf("the process said nothing: %v\n%s", err, p.stderr.String())
	}
	require.NoError(t, json.Unmarshal(line, &r))
	return r
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
}

// keyringItems returns the items of all collections of the real Secret Service.
// It calls the service on the bus, and not through the SDK.
func (d *desktop) keyringItems(t *testing.T) []dbus.ObjectPath {
	t.Helper()
	conn, err := dbus.Connect(d.session.Address, dbus.WithContext(t.Context()))
	require.NoError(t, err)
	defer conn.Close()
	var unlocked, locked []dbus.ObjectPath
	service := conn.Object("org.freedesktop.secrets", "/org/freedesktop/secrets")
	err = service.Call("org.freedesktop.Secret.Service.SearchItems", 0, map[string]string{}).Store(&unlocked, &locked)
	require.NoError(t, err)
	return append(unlocked, locked...)
}

// requireNowhere checks that no file of the home contains secret in the clear.
func (d *desktop) requireNowhere(t *testing.T, secret string) {
	t.Helper()
	require.NotEmpty(t, secret)
	err := filepath.WalkDir(d.session.Home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		require.NotContains(t, string(data), secret, path)
		return err
	})
	require.NoError(t, err)
}

// screenshot keeps a picture of the page outside the test's own directories.
func (d *desktop) screenshot(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("NATIVEOAUTH_SCREENSHOTS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "nativeoauth-screenshots")
	}
	require.NoError(t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, name)
	d.browser.Continue(browser.Screenshot(path))
	t.Logf("screenshot: %s", path)
}

// Logout may end the provider's own session too, in the browser.
func TestStoryEndSession(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	d := newDesktop(t)
	login := d.start(t, task{Do: "login", Issuer: p.Issuer, Prompt: "consent"})
	d.browser.Drive(append(p.steps("alice"), browser.See("Signed in"))...)
	login.result(t)

	logout := d.start(t, task{Do: "end session", Issuer: p.Issuer})
	d.browser.Drive(browser.Click(`button[name="logout"]`), browser.See("Sign-out Success"))
	require.Empty(t, logout.ended(t).Error)
	require.NotEmpty(t, p.Requests("end_session_confirm", ""))
	require.Empty(t, d.keyringItems(t))

	// Nobody is signed in there any more, so the login page comes, not the
	// consent page.
	again := d.start(t, task{Do: "login", Issuer: p.Issuer, Prompt: "consent"})
	d.browser.Drive(append(p.steps("bob"), browser.See("Signed in"))...)
	require.Equal(t, "bob", again.result(t).Subject)
}
