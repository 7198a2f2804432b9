//go:build unix

package browser

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// chosen returns the launcher that BROWSER names; nil: none that can be used, and
// refused says why, for the end of a message.
func chosen() (l launcher, refused string) {
	argv, refused := fromVariable(os.Getenv("BROWSER"))
	if argv != nil {
		return command(argv...), ""
	}
	if refused != "" {
		refused = "; BROWSER was not used: " + refused
	}
	return nil, refused
}

// command returns the launcher that runs argv. "%s" in an argument stands for the
// URL. If none has it, the URL is the last argument.
func command(argv ...string) launcher {
	return func(url string) error {
		argv, placed := slices.Clone(argv), false
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
}
