package interop

import (
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// The first ten minutes of a new user: the real command in a real terminal
// (tmux), from --help to a signed-in API call and the logout, with
// oidc-provider, Chromium and gnome-keyring. With NATIVEOAUTH_WRITE_DOCS=1 the
// text of the terminal becomes docs/first-ten-minutes.md and
// docs/pictures/terminal.svg. Nothing in them is typed by hand.
func TestFirstTenMinutes(t *testing.T) {
	t.Parallel()
	realparts.Need(t, "tmux", "bash", "curl")
	p := StartOIDCProvider(t, Options{})
	d := newDesktop(t)
	term := newTerminal(t, d, buildCommand(t), "SSL_CERT_FILE=", "SSL_CERT_DIR=")

	term.say("What is it? What can it do?", "nativeoauth --help", "nativeoauth COMMAND --help")
	term.begin("It shows itself, with nothing set up. The browser opens at the demo's own provider; alice presses Allow.", "nativeoauth login --demo")
	d.browser.Drive(browser.Fill("#username", "alice"), browser.Click(`button[value="allow"]`))
	term.end("sign in again")
	term.say("Has this machine what a sign-in needs?", "nativeoauth doctor", "keychain")
	term.say("Is the provider any good for a native program?", "nativeoauth inspect "+p.Issuer+" --client-id "+NativeClient, "can sign in here safely")

	term.clear() // the picture begins here
	term.begin("Signing in. The browser opens; alice signs in there, and says yes. (This provider gives a lasting session only if it may ask for consent.)", "nativeoauth login --issuer "+p.Issuer+" --client-id "+NativeClient+" --prompt consent")
	d.browser.Drive(append(p.steps("alice"), browser.See("signed in"))...)
	term.end("Signed in as alice")
	term.say("Who is signed in, where, until when?", "nativeoauth status", "keychain")
	term.say("A signed-in API call, with the session's token.", "nativeoauth request "+p.Issuer+"/me", `"sub":"alice"`)
	picture := term.screen("-e")

	term.clear()
	term.say("The same with curl, which reads the token from its input: other users of the machine see a command's arguments.", `nativeoauth token --format curl | curl -s -K - `+p.Issuer+"/me", `"sub":"alice"`)
	term.say("Tokens refresh by themselves; this does it now.", "nativeoauth refresh", "Refreshed")
	term.say("Out: revoked there, deleted here.", "nativeoauth logout", "Signed out")
	term.say("And what does a script see then?", "nativeoauth token; echo exit code $?", "exit code 4")

	require.NotContains(t, term.transcript.String(), "\x1b")
	if os.Getenv(picturesVariable) == "" {
		return
	}
	docs := filepath.Join("..", "..", "docs")
	text := "# The first ten minutes\n\nWhat a terminal showed to somebody who had just installed the command: tmux, npm's oidc-provider on this machine, Chromium, gnome-keyring.\n" +
		"It is made by `NATIVEOAUTH_WRITE_DOCS=1 go test -run TestFirstTenMinutes .` in internal/interop.\n" + term.transcript.String() +
		"\nMore: `nativeoauth COMMAND --help`, [recipes](recipes.md) for mail, git, Docker and kubectl, and [machines](machines.md) for containers and CI jobs.\n"
	require.NoError(t, os.WriteFile(filepath.Join(docs, "first-ten-minutes.md"), []byte(strings.ReplaceAll(text, d.session.Home, "~")), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(docs, "pictures", "terminal.svg"), []byte(svg(picture)), 0o600))
}

// terminal is a shell in tmux.
type terminal struct {
	t          *testing.T
	socket     string
	asked      string
	transcript strings.Builder
}

const shellPrompt = "$"

// buildCommand builds the command, and returns the directory that has it.
func buildCommand(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "nativeoauth"), "./cmd/nativeoauth")
	build.Dir = filepath.Join("..", "..")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}

// newTerminal starts a shell in d's home, with bin in its PATH, and with env.
func newTerminal(t *testing.T, d *desktop, bin string, env ...string) *terminal {
	t.Helper()
	dir, err := os.MkdirTemp("", "tmux-") // a socket's path must be short
	require.NoError(t, err)
	term := &terminal{t: t, socket: filepath.Join(dir, "s")}
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", term.socket, "kill-server").Run()
		_ = os.RemoveAll(dir)
	})
	cmd := exec.Command("tmux", "-S", term.socket, "-f", "/dev/null", "-u", "new-session", "-d", "-x", "110", "-y", "50", "bash", "--norc", "--noprofile")
	cmd.Env = append(append(d.session.Environ(), d.browser.Env()...), "PS1=$ ", "HISTFILE=", "LANG=C.UTF-8", "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, env...)
	cmd.Dir = d.session.Home
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	term.await(func(s string) bool { return strings.TrimSpace(s) == shellPrompt })
	return term
}

func (term *terminal) tmux(args ...string) string {
	term.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", term.socket}, args...)...).CombinedOutput()
	require.NoError(term.t, err, "%s", out)
	return string(out)
}

// screen returns what the terminal has shown since it was cleared.
func (term *terminal) screen(flags ...string) string {
	return strings.TrimRight(term.tmux(append([]string{"capture-pane", "-p", "-S", "-"}, flags...)...), " \n")
}

func (term *terminal) await(ok func(string) bool) {
	term.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(term.screen("-J")); time.Sleep(50 * time.Millisecond) {
		require.True(term.t, time.Now().Before(deadline), "the terminal shows:\n%s", term.screen())
	}
}

func (term *terminal) clear() {
	term.tmux("send-keys", "-R", "C-l")
	term.tmux("clear-history")
	time.Sleep(200 * time.Millisecond)
}

// begin types a command. why goes before it in the transcript; "": nothing does.
func (term *terminal) begin(why, command string) {
	if why != "" {
		fmt.Fprintf(&term.transcript, "\n%s\n", why)
	}
	term.asked = command
	term.tmux("send-keys", "-l", command)
	term.tmux("send-keys", "Enter")
}

// end waits for the shellPrompt after output that contains want.
func (term *terminal) end(want string) {
	term.t.Helper()
	var said string
	term.await(func(s string) bool {
		at := strings.LastIndex(s, shellPrompt+" "+term.asked)
		if at < 0 {
			return false
		}
		said = strings.TrimRight(s[at:], " \n")
		return strings.HasSuffix(said, "\n"+shellPrompt) || strings.HasSuffix(said, "}"+shellPrompt)
	})
	said = strings.TrimRight(strings.TrimSuffix(said, shellPrompt), "\n")
	require.Contains(term.t, said, want)
	lines := strings.Split(said, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	fmt.Fprintf(&term.transcript, "\n```\n%s\n```\n", strings.Join(lines, "\n"))
}

func (term *terminal) say(why, command, want string) {
	term.t.Helper()
	term.begin(why, command)
	term.end(want)
}

// look runs a program that takes the whole screen, until the screen has want, and
// then types the keys that end it.
func (term *terminal) look(why, command, want, keys string) {
	term.t.Helper()
	term.begin(why, command)
	var screen string
	term.await(func(string) bool {
		screen = strings.TrimRight(term.tmux("capture-pane", "-p"), " \n")
		return !strings.Contains(screen, shellPrompt+" "+command) && strings.Contains(screen, want)
	})
	term.tmux("send-keys", "-l", keys)
	fmt.Fprintf(&term.transcript, "\n```\n%s %s\n%s\n```\n", shellPrompt, command, blankRuns.ReplaceAllString(screen, "\n\n"))
	term.await(func(s string) bool { return strings.HasSuffix(strings.TrimRight(s, " \n"), "\n"+shellPrompt) })
}

// blankRuns are the empty middle of a screen.
var blankRuns = regexp.MustCompile(`\n(\s*\n){2,}`)

// svg draws the content of a terminal (tmux capture-pane -e). The command uses
// no more than bold and dim.
func svg(screen string) string {
	lines := strings.Split(screen, "\n")
	const lineHeight, charWidth = 18, 7.83
	var b strings.Builder
	height := 40 + lineHeight*len(lines)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 %d" role="img" aria-label="A terminal: nativeoauth signs in, and calls an API">
<rect width="900" height="%d" rx="10" fill="#16181d"/>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="13" fill="#d7dae0">
`, height, height)
	for i, line := range lines {
		fmt.Fprintf(&b, `<text x="20" y="%d" xml:space="preserve">`, 32+lineHeight*i)
		style, column := "", 0
		for len(line) > 0 {
			at := strings.IndexByte(line, 0x1b)
			text := line
			if at >= 0 {
				text = line[:at]
			}
			if text != "" {
				fmt.Fprintf(&b, `<tspan x="%s"%s>%s</tspan>`, strconv.FormatFloat(20+float64(column)*charWidth, 'f', 1, 64), style, html.EscapeString(text))
				column += len([]rune(text))
			}
			if at < 0 {
				break
			}
			code, rest, ok := strings.Cut(line[at:], "m")
			if !ok {
				break
			}
			switch line = rest; strings.TrimPrefix(code, "\x1b[") {
			case "1":
				style = ` font-weight="bold"`
			case "2":
				style = ` opacity="0.6"`
			default:
				style = ""
			}
		}
		b.WriteString("</text>\n")
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}
