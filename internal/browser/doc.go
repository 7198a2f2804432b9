// Package browser opens the system's browser, and finds out by which methods a
// user can sign in from here.
//
// # Opening a URL
//
// [Open] starts the command that BROWSER names, or the launcher of the system:
// xdg-open, open, or ShellExecute. BROWSER has commands that colons separate, the
// first usable one counts, and %s stands for the URL. On Windows it is not read.
// The package protects the program from what launchers do (S1 to S5 of
// docs/security.md):
//
//   - A launcher written in shell could act on characters of the URL. Only
//     https URLs, and http URLs on loopback, are opened, with these characters
//     percent-encoded.
//   - Without a display, xdg-open starts lynx or w3m in the user's terminal. So
//     it is not run then, and a BROWSER that names a text browser is refused.
//   - BROWSER is split into words without a shell. A relative path is refused.
//   - Ctrl-C in the terminal would end the browser too. The launcher gets a
//     session of its own, which github.com/pkg/browser cannot give it: that is
//     used on Windows, where the system starts the browser.
//   - A launcher prints to the program's standard output. It is connected to
//     the null device instead.
//   - A launcher can run as long as the browser does. Open does not wait for it.
//   - A launcher in the working directory could be an attacker's. It is not run.
//
// # Choosing a method
//
// A browser that runs on this machine reaches the loopback listener. In an SSH
// session or a container there is no such browser, or it is not the user's.
// [Detect] finds out which kind of environment this is, and
// [Environment.Choose] decides: a browser here, pasting the URL at which a
// browser elsewhere ends, or a code for another device (RFC 8628). Detection only
// reads environment variables and a few files, and can be wrong, so a program can
// name a method instead.
//
// The functions of this package are safe for concurrent use.
package browser
