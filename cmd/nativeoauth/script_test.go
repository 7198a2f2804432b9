package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// TestScripts runs testdata/script. Each script has a home directory and a provider of
// its own.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script") }

func runScripts(t *testing.T, dir string) {
	t.Helper()
	if runtime.GOOS == "windows" && os.Getenv("NATIVEOAUTH_WINE") == "" {
		t.Skip("skipped: the browser of Windows cannot be replaced for a test; .ci/windows does it under Wine")
	}
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			p := newProvider(tb, authserver.Config{AutoUser: "alice", AccessTokenLifetime: 5 * time.Minute, InitialAccessToken: "initial canary"})
			env.Values[providerKey{}], env.Values[testingKey{}] = p, tb
			home := filepath.Join(env.WorkDir, "home")
			if err := os.Mkdir(home, 0o700); err != nil {
				return err
			}
			newKeyFile(tb, filepath.Join(home, "key"))
			if err := os.WriteFile(filepath.Join(home, "client.pem"), p.clientKey, 0o600); err != nil {
				return err
			}
			for name, value := range map[string]string{
				"HOME": home, "USERPROFILE": home, "PROVIDER": p.http.URL, "API": p.http.URL + "/api/me", "STRANGER": p.stranger.URL,
				"DISPLAY": ":0", "BROWSER_LOG": filepath.Join(env.WorkDir, "browser.log"),
				"NATIVEOAUTH_STORE": "file", "NATIVEOAUTH_KEY_FILE": filepath.Join(home, "key"),
				"KEY": filepath.Join(home, "key"), "NO_PROXY": "*",
				"GORACE":  "atexit_sleep_ms=0", // with the race detector, each command would wait a second before it ends
				"AppData": filepath.Join(home, "AppData", "Roaming"), "LocalAppData": filepath.Join(home, "AppData", "Local"),
			} {
				env.Setenv(name, value)
			}
			if runtime.GOOS == "windows" { // so that the scripts find the configuration in one place
				env.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
			}
			return useFakeBrowser()
		},
		Condition: func(name string) (bool, error) {
			if name != "root" { // root may own secrets that others read
				return false, errors.New("unknown condition " + name)
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    cmdExits,
			"provider": cmdProvider,
			"chmod":    cmdChmod,
			"private":  cmdPrivate,
			"browsed":  cmdBrowsed,
			"occupied": cmdOccupied,
			"free":     cmdFree,
			"idtoken":  cmdIDToken,
		},
	})
}

// useFakeBrowser makes the stand-in of [TestMain] the browser of Wine, which
// reads it from the registry. Elsewhere it is found by its name.
func useFakeBrowser() error {
	if runtime.GOOS != "windows" {
		return nil
	}
	path, err := exec.LookPath("xdg-open")
	if err != nil {
		return err
	}
	const key = `HKCR\http\shell\open\command`
	return exec.Command("reg", "add", key, "/ve", "/f", "/d", `"`+path+`" "%1"`).Run()
}

type (
	providerKey struct{}
	testingKey  struct{} // the testing.TB of the script
)

// cmdBrowsed waits until the browser has loaded its last page, which may be after the
// end of the command.
func cmdBrowsed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: browsed")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		data, _ := os.ReadFile(ts.MkAbs("browser.log"))
		if strings.Contains(string(data), "200 OK /") {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the browser did not get to the last page: %s", data)
		}
	}
}

// cmdExits runs a command that must end with an exit code, as in
// "exits 4 nativeoauth token".
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdProvider controls the provider, as in "provider expire" or "provider user bob".
func cmdProvider(ts *testscript.TestScript, _ bool, args []string) {
	p := ts.Value(providerKey{}).(*provider)
	switch args[0] {
	case "expire":
		p.Expire()
	case "revoke":
		p.Revoke()
	case "deny":
		p.Deny()
	case "stop":
		p.http.Close()
	case "user":
		p.SetAutoUser(args[1])
	case "describe": // writes its metadata to a file
		resp, err := http.Get(p.http.URL + "/.well-known/openid-configuration")
		ts.Check(err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o644))
	case "sts": // writes the metadata of newSTS to a file
		data := fmt.Sprintf(`{"issuer":"%[1]s/sts","token_endpoint":"%[1]s/sts/token"}`, p.http.URL)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(data), 0o644))
	case "alive": // how many sessions it would still honour
		if got := strconv.Itoa(p.Alive()); got != args[1] {
			ts.Fatalf("%s grants are alive, want %s", got, args[1])
		}
	default:
		ts.Fatalf("provider %s: unknown", args[0])
	}
}

// cmdOccupied sets a variable to a port of 127.0.0.1 that another program has.
func cmdOccupied(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// cmdFree sets a variable to a port that no program has.
func cmdFree(ts *testscript.TestScript, _ bool, args []string) {
	port := realparts.FreePort(ts.Value(testingKey{}).(testing.TB))
	ts.Setenv(args[0], strconv.Itoa(int(port)))
}

// cmdChmod changes the mode of a file, as in "chmod 600 secret.txt".
func cmdChmod(ts *testscript.TestScript, _ bool, args []string) {
	mode, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	ts.Check(os.Chmod(ts.MkAbs(args[1]), os.FileMode(mode)))
}

// cmdPrivate checks that only its owner can read a file. Windows has no modes.
func cmdPrivate(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		ts.Fatalf("%s: mode %o", args[0], info.Mode().Perm())
	}
}
