// Finds out where the program runs, and from that by which way a person can sign in: in a browser on this
// machine, by pasting the URL that a browser elsewhere ends at, or with a code on another device (RFC 8628).
//
// It only reads the environment and a few files, and it can be wrong: every way can be asked for by name instead.

package browser

import (
	"bytes"
	"os"
	"runtime"
	"strings"
)

// View is what [Look] sees. The zero View sees the real machine.
type View struct {
	GOOS     string                            // "": runtime.GOOS
	Getenv   func(name string) string          // nil: os.Getenv
	ReadFile func(name string) ([]byte, error) // nil: os.ReadFile; asked for small files of /proc and for markers only
}

// Facts are what is there. Each string holds how it is known, in words to show ("SSH_CONNECTION is set"); "" means no.
type Facts struct {
	SSH       string // the person sits at another machine
	Editor    string // a remote editor's terminal: VS Code over SSH or in a container opens URLs at the person's side and forwards ports
	WebEditor string // Codespaces or Gitpod, where the editor may be a browser tab, whose forwarded ports have other names than 127.0.0.1
	Container string
	WSL       string // Windows' browser is at hand, and reaches a listener here
	CI        string // there may be nobody
	NoDisplay string // no screen that a browser could open on
}

// Look gathers the facts.
func Look(v View) Facts {
	goos, getenv, readFile := v.GOOS, v.Getenv, v.ReadFile
	if goos == "" {
		goos = runtime.GOOS
	}
	if getenv == nil {
		getenv = os.Getenv
	}
	if readFile == nil {
		readFile = os.ReadFile
	}
	// firstSet says which of the variables is set, and ignores the ways of saying no.
	firstSet := func(names ...string) string {
		for _, name := range names {
			switch strings.ToLower(getenv(name)) {
			case "", "0", "false", "no":
			default:
				return name + " is set"
			}
		}
		return ""
	}

	var f Facts
	f.CI = firstSet("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "JENKINS_URL", "TF_BUILD", "TEAMCITY_VERSION")
	f.SSH = firstSet("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
	f.Editor = firstSet("VSCODE_IPC_HOOK_CLI", "REMOTE_CONTAINERS", "REMOTE_CONTAINERS_IPC")
	f.WebEditor = firstSet("CODESPACES", "GITPOD_WORKSPACE_ID")
	if goos == "windows" || goos == "darwin" {
		return f // a display belongs to the system; what follows is of Linux and the BSDs
	}

	if firstSet("DISPLAY", "WAYLAND_DISPLAY") == "" {
		f.NoDisplay = "neither DISPLAY nor WAYLAND_DISPLAY is set"
	}
	if goos == "linux" {
		f.WSL = wsl(firstSet, readFile)
		f.Container = container(firstSet, readFile)
	}
	return f
}

func wsl(firstSet func(...string) string, readFile func(string) ([]byte, error)) string {
	if why := firstSet("WSL_DISTRO_NAME", "WSL_INTEROP"); why != "" {
		return why
	}
	// sudo and ssh drop the variables; the kernel keeps its name.
	const release = "/proc/sys/kernel/osrelease"
	if b, err := readFile(release); err == nil && bytes.Contains(bytes.ToLower(b), []byte("microsoft")) {
		return release + " names Microsoft's kernel"
	}
	return ""
}

func container(firstSet func(...string) string, readFile func(string) ([]byte, error)) string {
	for _, marker := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := readFile(marker); err == nil {
			return marker + " is there"
		}
	}
	if why := firstSet("container", "KUBERNETES_SERVICE_HOST"); why != "" { // systemd-nspawn and podman set the former
		return why
	}
	const cgroup = "/proc/1/cgroup"
	b, err := readFile(cgroup)
	if err != nil {
		return ""
	}
	for _, name := range []string{"docker", "kubepods", "containerd", "libpod", "lxc"} {
		if bytes.Contains(b, []byte(name)) {
			return cgroup + " names " + name
		}
	}
	return ""
}
