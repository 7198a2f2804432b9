//go:build unix

package browser

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// find returns the launcher: what BROWSER names, else that of the system.
func find() (*launcher, error) {
	chosen, refused := fromVariable(os.Getenv("BROWSER"))
	if chosen != nil {
		return &launcher{argv: chosen}, nil
	}
	if refused != "" {
		refused = "; BROWSER was not used: " + refused
	}
	if runtime.GOOS == "darwin" {
		if lookPath("open") {
			return &launcher{argv: []string{"open"}}, nil
		}
		return nil, none("open is not on the PATH; " +
			"add /usr/bin to it, or open the URL by hand" + refused)
	}
	// Without a display, xdg-open starts a text browser in the user's terminal.
	if !isSet("DISPLAY") && !isSet("WAYLAND_DISPLAY") {
		return nil, none("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); " +
			"open the URL by hand, or set BROWSER to a browser's command" + refused)
	}
	for _, name := range []string{"xdg-open", "x-www-browser"} {
		if lookPath(name) {
			return &launcher{argv: []string{name}}, nil
		}
	}
	return nil, none("xdg-open is not on the PATH; install xdg-utils, " +
		"set BROWSER to a browser's command, or open the URL by hand" + refused)
}

// launcher is a command that opens a URL. "%s" in an argument stands for the URL. If
// none has it, the URL is the last argument.
type launcher struct{ argv []string }

// run returns when the launcher has ended.
func (l *launcher) run(url string) error {
	argv, placed := slices.Clone(l.argv), false
	for i := range argv {
		placed = placed || i > 0 && strings.Contains(argv[i], "%s")
		if i > 0 {
			argv[i] = strings.ReplaceAll(argv[i], "%s", url)
		}
	}
	if !placed {
		argv = append(argv, url)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	// Streams that are nil are the null device, so that the launcher writes nothing to
	// the program's terminal. In a session of its own it has no terminal at all: Ctrl-C
	// ends the program, and not a browser that it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// xdg-open reads BROWSER too, and would start what was refused here.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "BROWSER=")
	})
	return cmd.Run()
}
