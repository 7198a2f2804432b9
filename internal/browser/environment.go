package browser

import (
	"bytes"
	"os"
	"runtime"
	"strings"
)

// Source is what [Detect] reads. The zero Source reads the real machine.
type Source struct {
	// GOOS is the operating system. If empty, it is runtime.GOOS.
	GOOS string
	// Getenv returns an environment variable. If nil, it is os.Getenv.
	Getenv func(name string) string
	// ReadFile is called for small files of /proc and for marker files. If nil,
	// it is os.ReadFile.
	ReadFile func(name string) ([]byte, error)
}

// Environment is the kind of environment in which the program runs. A field that
// applies says how that is known, in words to show to the user
// ("SSH_CONNECTION is set"). An empty field does not apply.
type Environment struct {
	// SSH is a remote shell. The user is at another machine.
	SSH string
	// Editor is the terminal of a remote editor: VS Code over SSH or in a
	// container. It opens URLs on the user's machine and forwards ports.
	Editor string
	// WebEditor is Codespaces or Gitpod. The editor may be a browser tab, and
	// its forwarded ports have names other than 127.0.0.1.
	WebEditor string
	// Container is a container: Docker, Podman, Kubernetes, LXC, systemd-nspawn.
	Container string
	// WSL is the Windows Subsystem for Linux. The browser of Windows can be
	// opened and reaches a listener here.
	WSL string
	// CI is continuous integration. There may be no user.
	CI string
	// NoDisplay means that there is no screen on which a browser could open.
	NoDisplay string
}

// Detect finds out in which kind of environment the program runs.
func Detect(src Source) Environment {
	goos, getenv, readFile := src.GOOS, src.Getenv, src.ReadFile
	if goos == "" {
		goos = runtime.GOOS
	}
	if getenv == nil {
		getenv = os.Getenv
	}
	if readFile == nil {
		readFile = os.ReadFile
	}
	firstSet := func(names ...string) string { return firstSet(getenv, names...) }

	var e Environment
	e.CI = CI(getenv)
	e.SSH = firstSet("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
	e.Editor = firstSet("VSCODE_IPC_HOOK_CLI", "REMOTE_CONTAINERS", "REMOTE_CONTAINERS_IPC")
	e.WebEditor = firstSet("CODESPACES", "GITPOD_WORKSPACE_ID")
	if goos == "windows" || goos == "darwin" {
		return e // the display is part of the system; what follows is for Linux and the BSDs
	}

	if firstSet("DISPLAY", "WAYLAND_DISPLAY") == "" {
		e.NoDisplay = "neither DISPLAY nor WAYLAND_DISPLAY is set"
	}
	if goos == "linux" {
		e.WSL = wsl(firstSet, readFile)
		e.Container = container(firstSet, readFile)
	}
	return e
}

// CI says how it is known that this is a job of a CI system, in which no user is
// there; "" if it is none. Some systems do not set CI.
func CI(getenv func(string) string) string {
	return firstSet(getenv, "CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "JENKINS_URL", "TF_BUILD",
		"TEAMCITY_VERSION", "CODEBUILD_BUILD_ID")
}

// firstSet says which of the variables is set. "CI=false" means no.
func firstSet(getenv func(string) string, names ...string) string {
	for _, name := range names {
		switch strings.ToLower(getenv(name)) {
		case "", "0", "false", "no", "off", "f":
		default:
			return name + " is set"
		}
	}
	return ""
}

// wsl says how it is known that this is the Windows Subsystem for Linux.
func wsl(firstSet func(...string) string, readFile func(string) ([]byte, error)) string {
	if why := firstSet("WSL_DISTRO_NAME", "WSL_INTEROP"); why != "" {
		return why
	}
	// sudo and ssh drop the variables. The kernel keeps its name.
	const release = "/proc/sys/kernel/osrelease"
	b, err := readFile(release)
	if err == nil && bytes.Contains(bytes.ToLower(b), []byte("microsoft")) {
		return release + " names Microsoft's kernel"
	}
	return ""
}

// container says how it is known that this is a container. There is no single
// sign that all of them have.
func container(firstSet func(...string) string, readFile func(string) ([]byte, error)) string {
	for _, marker := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := readFile(marker); err == nil {
			return marker + " is there"
		}
	}
	// systemd-nspawn and Podman set "container".
	if why := firstSet("container", "KUBERNETES_SERVICE_HOST"); why != "" {
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
