package interop

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

const recipesPage = "../../docs/recipes.md"

// cook tries one recipe: a desktop with a terminal, and a provider, which is
// nativeoauth serve.
type cook struct {
	*terminal
	*desktop
	t      *testing.T
	issuer string
	page   string // docs/recipes.md
	bin    string // directory of the command
	names  *strings.Replacer
}

func newCook(t *testing.T) *cook {
	t.Helper()
	realparts.Need(t, "tmux", "bash")
	page, err := os.ReadFile(recipesPage)
	require.NoError(t, err)
	c := &cook{t: t, page: string(page), bin: buildCommand(t), desktop: newDesktop(t)}
	// Not the certificates of this machine, which programs would prefer to a recipe's.
	ca := filepath.Join(c.session.Home, "ca.pem")
	c.terminal = newTerminal(t, c.desktop, c.bin, "GIT_SSL_CAINFO="+ca, "SSL_CERT_FILE="+ca, "SSL_CERT_DIR=",
		"PATH="+filepath.Join(c.session.Home, ".local", "bin")+":"+c.bin+":"+os.Getenv("PATH"))
	c.terminal.clear()

	serve := exec.Command(filepath.Join(c.bin, "nativeoauth"), "serve", "--port", "0")
	serve.Env = append(os.Environ(), "HOME="+c.session.Home)
	endWithUs(serve)
	out, err := serve.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, serve.Start())
	t.Cleanup(func() {
		_ = serve.Process.Kill()
		_ = serve.Wait()
	})
	_, err = fmt.Fscanln(out, &c.issuer)
	require.NoError(t, err)
	c.replace()
	return c
}

// replace sets what block replaces, beside the provider: the names of servers.
func (c *cook) replace(pairs ...string) {
	pairs = append(pairs, "https://login.example.com", c.issuer, "--client-id my-mail", "--client-id dev")
	c.names = strings.NewReplacer(pairs...)
}

// block returns the page's block that begins with "# name", with the names
// of servers replaced.
func (c *cook) block(name string) string {
	c.t.Helper()
	_, rest, ok := strings.Cut(c.page, "\n# "+name+"\n")
	require.True(c.t, ok, "the page has no block %s", name)
	text, _, ok := strings.Cut(rest, "\n```")
	require.True(c.t, ok)
	return c.names.Replace(text + "\n")
}

// write writes a file that others cannot read. "~" is the home.
func (c *cook) write(path, text string) {
	c.t.Helper()
	path = strings.Replace(path, "~", c.session.Home, 1)
	require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(c.t, os.WriteFile(path, []byte(text), 0o600))
}

// login runs the command of a block, and signs in as alice in the browser. It is
// not in the transcript, because docs/first-ten-minutes.md shows a login.
func (c *cook) login(block string) {
	c.t.Helper()
	c.begin("", strings.TrimSpace(c.block(block)))
	c.browser.Drive(browser.Fill("#username", "alice@example.com"), browser.Click(`button[value="allow"]`))
	c.end("Signed in as alice@example.com")
	c.transcript.Reset()
	c.clear()
}

// sh runs the commands of a block.
func (c *cook) sh(block string) {
	c.t.Helper()
	cmd := exec.Command("bash", "-euc", c.block(block))
	cmd.Env = append(c.session.Environ(), "PATH="+c.bin+":"+os.Getenv("PATH"))
	cmd.Dir = c.session.Home
	out, err := cmd.CombinedOutput()
	require.NoError(c.t, err, "%s", out)
}

// knows reports whether the provider knows an access token.
func (c *cook) knows(token string) bool {
	req, err := http.NewRequest(http.MethodGet, c.issuer+"/userinfo", nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// output returns what a command printed, outside the terminal.
func (c *cook) output(command ...string) string {
	c.t.Helper()
	cmd := exec.Command(filepath.Join(c.bin, command[0]), command[1:]...)
	cmd.Env = c.session.Environ()
	out, err := cmd.Output()
	require.NoError(c.t, err)
	return strings.TrimSpace(string(out))
}

// serve puts the transcript into the page, if that is wanted.
func (c *cook) serve() {
	c.t.Helper()
	text := c.transcript.String()
	require.NotContains(c.t, text, "\x1b")
	require.NotRegexp(c.t, `\b(at|rt)_[A-Z2-7]{8}`, text, "a token")
	require.NotRegexp(c.t, `eyJ[A-Za-z0-9_-]+\.`, text, "an ID token")
	if os.Getenv(picturesVariable) == "" {
		return
	}
	text = strings.ReplaceAll(text, c.session.Home, "~")
	recipesWrite.Lock()
	defer recipesWrite.Unlock()
	page, err := os.ReadFile(recipesPage)
	require.NoError(c.t, err)
	head, rest, ok := strings.Cut(string(page), "<!-- transcript of "+c.t.Name()+" -->\n")
	require.True(c.t, ok, "the page has no place for it")
	_, tail, ok := strings.Cut(rest, "<!-- end -->")
	require.True(c.t, ok)
	page = []byte(head + "<!-- transcript of " + c.t.Name() + " -->\n" + text + "\n<!-- end -->" + tail)
	require.NoError(c.t, os.WriteFile(recipesPage, page, 0o600))
}

var recipesWrite sync.Mutex // the page, which several tests write
