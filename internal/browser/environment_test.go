package browser_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/browser"
)

// The environments are as seen on real systems. Their methods are abbreviated:
// b for browser, p for paste, d for device.
func TestChooseByEnvironment(t *testing.T) {
	hostCgroup := files{
		"/proc/1/cgroup": "0::/init.scope\n", "/proc/sys/kernel/osrelease": "6.12.0-1-amd64\n",
	}
	wslFiles := files{
		"/proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n",
		"/proc/1/cgroup":             "0::/\n",
	}
	docker := files{"/.dockerenv": "", "/proc/1/cgroup": "0::/\n"}
	x11, none := vars{"DISPLAY": ":0"}, vars{}
	ssh := vars{"SSH_CONNECTION": "10.0.0.2 50000 10.0.0.1 22", "SSH_TTY": "/dev/pts/0"}
	sshX11 := vars{"SSH_CONNECTION": "10.0.0.2 50000 10.0.0.1 22", "DISPLAY": "localhost:10.0"}
	for name, tc := range map[string]struct {
		source    browser.Source
		noBrowser bool
		ways, why string
	}{
		"X11 desktop": {source("linux", x11, hostCgroup),
			false, "b", "on this machine"},
		"Wayland desktop": {source("linux", vars{"WAYLAND_DISPLAY": "wayland-0"}, hostCgroup),
			false, "b", "on this machine"},
		"FreeBSD desktop": {source("freebsd", x11, nil),
			false, "b", "on this machine"},
		"a desktop without xdg-open": {source("linux", x11, hostCgroup),
			true, "pd", "nothing here opens"},
		"a server's console": {source("linux", none, hostCgroup),
			true, "pd", "neither DISPLAY nor WAYLAND_DISPLAY"},
		"a console with BROWSER set": {source("linux", none, hostCgroup),
			false, "b", "on this machine"},
		"macOS": {source("darwin", none, nil),
			false, "b", "on this machine"},
		"Windows": {source("windows", none, nil),
			false, "b", "on this machine"},
		"SSH to Linux": {source("linux", ssh, hostCgroup),
			true, "pd", "SSH_CONNECTION is set"},
		"SSH with a forwarded display": {source("linux", sshX11, hostCgroup),
			false, "pd", "SSH_CONNECTION"},
		"SSH to macOS": {source("darwin", ssh, nil),
			false, "pd", "SSH_CONNECTION"},
		"SSH to Windows": {source("windows", vars{"SSH_CLIENT": "10.0.0.2 50000 22"}, nil),
			false, "pd", "SSH_CLIENT"},
		"SSH into WSL": {
			source("linux", vars{"SSH_CONNECTION": "x", "WSL_DISTRO_NAME": "Debian"}, wslFiles),
			false, "pd", "SSH_CONNECTION"},
		"WSL with WSLg": {
			source("linux", vars{"WSL_DISTRO_NAME": "Debian", "DISPLAY": ":0"}, wslFiles),
			false, "bp", "WSL_DISTRO_NAME"},
		"WSL under sudo": {source("linux", none, wslFiles),
			false, "bp", "osrelease"},
		"WSL 1": {
			source("linux", none, files{"/proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft\n"}),
			false, "bp", "osrelease"},
		"WSL without an opener": {source("linux", vars{"WSL_DISTRO_NAME": "Debian"}, wslFiles),
			true, "pd", "neither DISPLAY"},
		"Docker": {source("linux", none, docker),
			true, "pd", "/.dockerenv"},
		"Docker on WSL's kernel": {
			source("linux", none, files{
				"/.dockerenv":                "",
				"/proc/sys/kernel/osrelease": "5.15-microsoft-standard-WSL2",
			}),
			true, "pd", "/.dockerenv"},
		"Docker with an opener only": {source("linux", none, docker),
			false, "bpd", "with an opener"},
		"Podman": {source("linux", none, files{"/run/.containerenv": "engine=\"podman\""}),
			true, "pd", "/run/.containerenv"},
		"Toolbox, with a display": {source("linux", x11, files{"/run/.containerenv": ""}),
			false, "bpd", "with an opener"},
		"systemd-nspawn": {source("linux", vars{"container": "systemd-nspawn"}, nil),
			true, "pd", "container is set"},
		"Kubernetes": {source("linux", vars{"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, nil),
			true, "pd", "KUBERNETES"},
		"Docker, cgroup v1": {
			source("linux", none, files{"/proc/1/cgroup": "12:pids:/docker/0123\n"}),
			true, "pd", "names docker"},
		"LXC": {source("linux", none, files{"/proc/1/cgroup": "1:name=systemd:/lxc/c1\n"}),
			true, "pd", "names lxc"},
		"VS Code over SSH": {
			source("linux", vars{
				"SSH_CONNECTION": "x", "VSCODE_IPC_HOOK_CLI": "/run/user/0/vscode-ipc.sock",
				"BROWSER": "/h/browser.sh",
			}, hostCgroup),
			false, "bpd", "at your side"},
		"VS Code dev container": {
			source("linux", vars{"REMOTE_CONTAINERS": "true", "BROWSER": "/h/browser.sh"}, docker),
			false, "bpd", "REMOTE_CONTAINERS"},
		"VS Code's terminal, no opener": {
			source("linux", vars{"SSH_CONNECTION": "x", "VSCODE_IPC_HOOK_CLI": "/x"}, hostCgroup),
			true, "pd", "SSH_CONNECTION"},
		"Codespaces in VS Code": {
			source("linux", vars{
				"CODESPACES": "true", "VSCODE_IPC_HOOK_CLI": "/x",
				"BROWSER": "/h/browser.sh",
			}, docker),
			false, "pd", "in the cloud"},
		"Codespaces over gh ssh": {
			source("linux", vars{"CODESPACES": "true", "SSH_CONNECTION": "x"}, docker),
			true, "pd", "in the cloud"},
		"VS Code on this desktop": {
			source("linux", vars{"TERM_PROGRAM": "vscode", "DISPLAY": ":0"}, hostCgroup),
			false, "b", "on this machine"},
		"CI": {source("linux", vars{"CI": "true"}, hostCgroup),
			true, "pd", "CI is set"},
		"CI with a display": {
			source("linux", vars{"GITHUB_ACTIONS": "true", "DISPLAY": ":99"}, hostCgroup),
			false, "b", "on this machine"},
		"CI says no": {source("linux", vars{"CI": "false", "DISPLAY": ":0"}, hostCgroup),
			false, "b", "on this machine"},
		"a marker that is another's dir": {source("darwin", none, docker),
			false, "b", "on this machine"},
	} {
		t.Run(name, func(t *testing.T) {
			env := browser.Detect(tc.source)
			can := browser.Capabilities{Instruct: true, Device: true}
			if tc.noBrowser {
				can.NoBrowser = errNone
			}
			m := env.Choose(can)
			require.Equal(t, tc.ways, letters(m), "%+v", env)
			require.Contains(t, m.Why, tc.why)

			can.Device = false
			require.Equal(t, strings.ReplaceAll(tc.ways, "d", ""), letters(env.Choose(can)),
				"no code where the provider has none")
			can.Instruct, can.Device = false, true
			require.Equal(t, strings.ReplaceAll(strings.ReplaceAll(tc.ways, "d", ""), "p", ""),
				letters(env.Choose(can)), "nothing to be told where nobody can be")
			require.Equal(t, "b",
				letters(env.Choose(browser.Capabilities{
					Opener: true, NoBrowser: errNone, Instruct: true, Device: true,
				})),
				"the program's own opener decides")
		})
	}
}

func TestNoneMeansNoMethod(t *testing.T) {
	m := browser.Environment{SSH: "x"}.Choose(browser.Capabilities{})
	require.True(t, m.None())
	require.NotEmpty(t, m.Why)
	require.False(t, browser.Environment{}.Choose(browser.Capabilities{}).None())
}

// The zero View looks at the machine that the test runs on.
func TestTheZeroSourceReadsTheMachine(t *testing.T) {
	for _, name := range []string{
		"CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "JENKINS_URL", "TF_BUILD",
		"TEAMCITY_VERSION", "SSH_CONNECTION", "SSH_CLIENT",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("SSH_TTY", "/dev/pts/9")
	env := browser.Detect(browser.Source{})
	require.Equal(t, "SSH_TTY is set", env.SSH)
	require.Empty(t, env.CI)
}

// No environment makes it panic, or print what a variable holds.
func FuzzDetect(f *testing.F) {
	f.Add("linux", "x", "microsoft", "docker")
	f.Fuzz(func(t *testing.T, goos, value, release, cgroup string) {
		env := browser.Detect(browser.Source{
			GOOS:   goos,
			Getenv: func(string) string { return value + "-canary" },
			ReadFile: func(name string) ([]byte, error) {
				if strings.HasPrefix(name, "/proc/sys") {
					return []byte(release + "-canary"), nil
				}
				return []byte(cgroup + "-canary"), nil
			},
		})
		require.NotContains(t, env.Choose(browser.Capabilities{Instruct: true}).Why, "canary")
	})
}
