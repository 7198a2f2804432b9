package oauthclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// openTerminal returns both ends of a pseudo-terminal, and what it shows.
func openTerminal(t *testing.T) (keyboard, tty *os.File, shown *screen) {
	t.Helper()
	keyboard, tty, err := pty.Open()
	require.NoError(t, err)
	shown = &screen{}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(shown, keyboard)
		close(ended)
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		_ = keyboard.Close()
		<-ended
	})
	return keyboard, tty, shown
}

func mode(t *testing.T, tty *os.File) (state unix.Termios) {
	t.Helper()
	raw, err := tty.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		var got *unix.Termios
		if got, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			state = *got
		}
	}))
	require.NoError(t, err)
	return state
}

func waitForReading(t *testing.T, tty *os.File) {
	t.Helper()
	require.Eventually(t, func() bool { return mode(t, tty).Lflag&unix.ICANON == 0 },
		20*time.Second, time.Millisecond, "the terminal is still in canonical mode")
}

var byHand = oauthclient.Instructions{URL: "https://op.example", Paste: true}

// A terminal holds 4,095 bytes of a line on Linux. A pasted address of 6,000 is
// read whole, the keys that edit a line work, and the terminal is restored.
func TestTerminalUIReadsALongLine(t *testing.T) {
	long := "http://127.0.0.1:1/callback?code=" + strings.Repeat("c", 6000)
	for name, tc := range map[string]struct{ typed, want, echo string }{
		"long":       {long + "\n", long, long},
		"return key": {long + "\r", long, long},
		"backspace":  {"abé\x7f\x7fc\x08d\n", "ad", "abé\b \b\b \bc\b \bd"},
		"kill":       {"abc\x15d\n", "d", "abc\b \b\b \b\b \bd"},
		"Ctrl-D":     {"\x04", "", ""},
		"text, ^D":   {"abc\x04", "abc", "abc"},
		"escape":     {"a\x1b[2Jb\n", "a\x1b[2Jb", "a^[[2Jb"},
		"empty":      {"\n\n\x7fabc\n", "abc", "\r\n\r\nabc"},
	} {
		t.Run(name, func(t *testing.T) {
			keyboard, tty, shown := openTerminal(t)
			before := mode(t, tty)
			ui := oauthclient.TerminalUI(io.Discard, tty)
			got := make(chan string, 1)
			go func() {
				text, err := ui.Instruct(t.Context(), byHand)
				if err != nil {
					text = err.Error()
				}
				got <- text
			}()
			waitForReading(t, tty)
			_, err := io.WriteString(keyboard, tc.typed)
			require.NoError(t, err)
			select {
			case text := <-got:
				require.Equal(t, tc.want, text)
			case <-time.After(20 * time.Second):
				require.Fail(t, "nothing was read")
			}
			require.Equal(t, before, mode(t, tty))
			require.Eventually(t, func() bool { return strings.Contains(shown.String(), tc.echo) },
				20*time.Second, time.Millisecond, "%q", shown.String())
			require.NotContains(t, shown.String(), "\x1b")
		})
	}
}

// The terminal is restored if the login ends first. The next one reads again.
func TestTerminalUIRestoresTheTerminal(t *testing.T) {
	keyboard, tty, _ := openTerminal(t)
	before := mode(t, tty)
	ui := oauthclient.TerminalUI(io.Discard, tty)
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			_, _ = ui.Instruct(ctx, byHand)
			close(ended)
		}()
		waitForReading(t, tty)
		cancel()
		<-ended
		require.Equal(t, before, mode(t, tty))
	}
	_, err := io.WriteString(keyboard, "pasted\n")
	require.NoError(t, err)
	text, err := ui.Instruct(t.Context(), byHand)
	require.NoError(t, err)
	require.Equal(t, "pasted", text)
}

// A signal still ends a program that does not handle it, and leaves the terminal
// as it was. The child process reads from its controlling terminal.
func TestTerminalUIRestoresTheTerminalAfterASignal(t *testing.T) {
	if os.Getenv("TERMINAL_TEST_CHILD") != "" {
		_, _ = oauthclient.TerminalUI(os.Stderr, os.Stdin).Instruct(context.Background(), byHand)
		return
	}
	for name, tc := range map[string]struct {
		send func(keyboard *os.File, child *os.Process) error
		want syscall.Signal
	}{
		"Ctrl-C": {func(keyboard *os.File, _ *os.Process) error {
			_, err := keyboard.WriteString("abc\x03")
			return err
		}, syscall.SIGINT},
		"SIGTERM": {func(_ *os.File, child *os.Process) error {
			return child.Signal(syscall.SIGTERM)
		}, syscall.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			if signal.Ignored(tc.want) {
				t.Skip("skipped: the signal is ignored here, as in a background job of a script")
			}
			keyboard, tty, _ := openTerminal(t)
			before := mode(t, tty)
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.Command(self, "-test.run=^TestTerminalUIRestoresTheTerminalAfterASignal$")
			cmd.Env = append(os.Environ(), "TERMINAL_TEST_CHILD=1")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			require.NoError(t, cmd.Start())
			waitForReading(t, tty)
			time.Sleep(50 * time.Millisecond) // signals are caught right after the mode changes
			require.NoError(t, tc.send(keyboard, cmd.Process))
			err = cmd.Wait()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, tc.want, exit.Sys().(syscall.WaitStatus).Signal())
			require.Equal(t, before, mode(t, tty))
		})
	}
}

// The user is told why the browser gets no further, in our own words, and the
// login goes on.
func TestNoticeOfAnErrorWithoutState(t *testing.T) {
	const canary = "text-of-the-server"
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	out := &screen{}
	open := cfg.UI.OpenURL
	cfg.UI.Notice = oauthclient.TerminalUI(out, nil).Notice
	cfg.UI.OpenURL = func(ctx context.Context, ticket string) error {
		u, err := url.Parse(ticket)
		if err != nil {
			return err
		}
		resp, err := http.Get("http://" + u.Host +
			"/callback?error=access_denied&error_description=" + canary)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			return errors.New(fmt.Sprint("the listener said ", resp.StatusCode))
		}
		for range 2000 {
			if out.String() != "" {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		return open(ctx, ticket)
	}
	_, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	require.Contains(t, out.String(), "without the state")
	require.NotContains(t, out.String(), canary)
	require.NotContains(t, out.String(), "access_denied")
}
