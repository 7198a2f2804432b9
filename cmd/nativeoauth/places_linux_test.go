package main

import (
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// odd is an odd place for a login: it succeeds there, or ends with one clear error.
type odd struct {
	name string
	in   string // the shell commands that make the place
	env  []string
	run  string // "": login
	code int
	says string // on stderr
	root bool   // only root can make the place
}

// A namespace of its own, with a directory $H. The key is outside of it.
const (
	onTmpfs   = `mkdir $H && mount -t tmpfs -o mode=700,size=64k tmpfs $H && `
	onlyIPv6  = `ip link set lo up && ip addr del 127.0.0.1/8 dev lo && `
	noBrowser = `DISPLAY= `
)

var oddPlaces = []odd{
	{name: "umask 000", in: `umask 000`, says: "Signed in as alice"},
	{name: "umask 077", in: `umask 077`, says: "Signed in as alice"},
	{name: "umask 777", in: `umask 777`, code: 1, says: `the umask gives it mode 0, .*umask 077`},

	{name: "another user's home", in: `mkdir $H && chown 12345 $H && export HOME=$H`, root: true,
		code: 1, says: `belongs to uid 12345, and what root makes there would lock that user out.*sudo -H`},
	{name: "no HOME", in: `unset HOME`, code: 1, says: `set HOME`},
	{name: "a HOME that is missing", in: `export HOME=$H/missing`, says: "Signed in as alice"},
	{name: "a HOME that is no directory", in: `export HOME=/dev/null`, code: 1, says: `/dev/null.*set HOME to a directory`},
	{name: "a relative HOME", in: `export HOME=here`, code: 1, says: `not an absolute path; set HOME`},
	{name: "a read-only HOME", root: true, in: onTmpfs + `mount -o remount,ro $H && export HOME=$H`,
		code: 1, says: `read-only file system.*set HOME to a directory that is`},
	{name: "a full HOME", root: true, code: 1, says: `no space left on device`,
		in: onTmpfs + `export HOME=$H && { head -c 1M /dev/zero >$H/fill; :; } 2>/dev/null`},

	{name: "9 open files", in: `ulimit -n 9`, code: 1, says: `may open only 9 files.*ulimit -n`},
	{name: "24 open files", in: `ulimit -n 24`, says: "Signed in as alice"},

	// The system's xdg-open, if there is one, tries the browsers that there are.
	{name: "a DISPLAY without a server", env: []string{"DISPLAY=:77", "BROWSER="}, run: "login --timeout 10s", code: 1,
		in:   `mkdir bin && ln -s $(command -v nativeoauth) bin && export PATH=$PWD/bin:/usr/bin:/bin`,
		says: `this address.*no answer came from the browser: the time is up`},
	// A systemd unit has no terminal and no display.
	{name: "a systemd user unit", in: `unset DISPLAY TERM`, env: []string{"INVOCATION_ID=0123"},
		run: "login --timeout 1s", code: 1, says: `(?s)open this address in a browser.*no answer came from the browser`},
	{name: "SSH", env: []string{"SSH_CONNECTION=10.0.0.2 50000 10.0.0.1 22"},
		run: "login --timeout 1s", code: 1, says: `(?s)open this address in a browser.*no answer came from the browser`},
	{name: "tmux over SSH, with the display of a desktop", run: "doctor",
		env:  []string{"TMUX=/tmp/tmux-0/default,1,0", "SSH_CONNECTION=10.0.0.2 50000 10.0.0.1 22"},
		says: `login opens none: a remote shell`},
	{name: "a container", env: []string{"container=podman"}, in: noBrowser + `export DISPLAY`, run: "doctor",
		says: `login opens none`},
	{name: "a dev container", env: []string{"REMOTE_CONTAINERS=true", "BROWSER=xdg-open"}, run: "doctor",
		says: `login opens it: a remote editor`},
	{name: "Codespaces", env: []string{"CODESPACES=true", "BROWSER=xdg-open"}, run: "doctor",
		says: `login opens none: a workspace in the cloud`},
	{name: "WSL, by the kernel's name alone", root: true, run: "doctor",
		in:   `echo 5.15.90.1-microsoft-standard-WSL2 >$K && mount --bind $K /proc/sys/kernel/osrelease`,
		says: `login opens it: the Windows Subsystem for Linux`},

	{name: "only ::1", root: true, in: onlyIPv6 + `unset DISPLAY`,
		run: "login --demo", says: `(?s)runs at http://\[::1\]:.*That was all of it`},
	{name: "no loopback", root: true, in: `unset DISPLAY`, run: "login --demo", code: 1,
		says: `no connection \(network is unreachable\); check the network`},
	{name: "no directory for temporary files", in: `export TMPDIR=/nonexistent`, run: "login --demo", code: 1,
		says: `needs a directory for temporary files.*set TMPDIR to another`},
}

func TestOddPlaces(t *testing.T) {
	t.Parallel()
	for _, tc := range oddPlaces {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, authserver.Config{})
			run := tc.run
			if run == "" {
				run = "login"
			}
			in := tc.in
			if in == "" {
				in = "true"
			}
			cmd := &process{Cmd: exec.Command("sh", "-c", "{ "+in+"; } && exec nativeoauth "+run), t: t}
			if tc.root {
				unshared(t, cmd, strings.Contains(run, "--demo"))
			}
			cmd.Env = append(append(p.env, tc.env...), "H="+filepath.Join(p.home, "place"), "K="+filepath.Join(p.home, "kernel"))
			cmd.Dir, cmd.Stdout, cmd.Stderr = p.home, &cmd.stdout, cmd
			require.NoError(t, cmd.Start())
			code := cmd.code()
			said := strings.Join(strings.Fields(cmd.text()+cmd.stdout.String()), " ")
			if run == "doctor" { // it has other problems here
				code = 0
			}
			require.Regexp(t, tc.says, said)
			require.Equal(t, tc.code, code, said)
			require.NotContains(t, said, "goroutine")
			private(t, p.home)
			if tc.code != 0 {
				require.Equal(t, 1, strings.Count(said, "nativeoauth: ")-strings.Count(said, "nativeoauth: warning"), said)
			}
		})
	}
}

// unshared runs cmd with mounts of its own, and with a network of its own.
func unshared(t *testing.T, cmd *process, network bool) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can make this place")
	}
	tools := realparts.Need(t, "unshare", "ip")
	flags := []string{tools[0], "--mount"}
	if network {
		flags = append(flags, "--net")
	}
	if out, err := exec.Command(tools[0], append(flags[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("skipped: this machine lets root make no namespace: %s", out)
	}
	cmd.Path, cmd.Args = tools[0], append(flags, cmd.Args...)
}

// private checks that nobody else may reach what a login has written.
func private(t *testing.T, home string) {
	t.Helper()
	for _, dir := range []string{".local/state/nativeoauth", ".config/nativeoauth"} {
		err := filepath.WalkDir(filepath.Join(home, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			require.NoError(t, err)
			require.Zero(t, info.Mode().Perm()&0o077, "%s: %v", path, info.Mode())
			return nil
		})
		if err != nil {
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
	}
}

// A clock that is off by minutes does not matter, and one that is off by years is
// named. It is the provider's clock that is off here.
func TestAClockThatIsOff(t *testing.T) {
	t.Parallel()
	for off, says := range map[time.Duration]string{
		8 * time.Minute: "", -8 * time.Minute: "",
		40 * time.Minute: "behind the provider's; set it", -40 * time.Minute: "ahead of the provider's; set it",
		3 * 365 * 24 * time.Hour: "behind the provider's; set it", -3 * 365 * 24 * time.Hour: "ahead of the provider's; set it",
	} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			now := func() time.Time { return time.Now().Add(off) }
			p := newPlace(t, authserver.Config{Now: now, Misbehave: func(_ string, next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Date", now().UTC().Format(http.TimeFormat))
					next.ServeHTTP(w, r)
				})
			}})
			cmd := p.start(nil, "login")
			code := cmd.code()
			require.Equal(t, says == "", code == 0, cmd.text())
			require.Contains(t, cmd.text(), says)
		})
	}
}

// The command is one static program. It works in an empty directory as root, with
// nothing but itself. Only the demo needs a directory for temporary files.
func TestAnEmptyChroot(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can change the root directory")
	}
	root := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(root, "nativeoauth"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, tmp := range []bool{false, true} {
		if tmp {
			require.NoError(t, os.Mkdir(filepath.Join(root, "tmp"), 0o700))
		}
		cmd := exec.Command("/nativeoauth", "login", "--demo")
		cmd.Env, cmd.Dir, cmd.SysProcAttr = []string{"HOME=/"}, "/", &syscall.SysProcAttr{Chroot: root}
		out, err := cmd.CombinedOutput()
		if !tmp {
			require.Error(t, err)
			require.Contains(t, string(out), "nativeoauth: the demo needs a directory for temporary files: stat /tmp: no such file or directory; make it, or set TMPDIR to another\n")
			continue
		}
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "That was all of it")
	}
}
