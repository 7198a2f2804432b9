package main

import (
	"fmt"
	"runtime"
	"strings"
)

// The commands and variables that messages show are those of the system's shell: a
// POSIX shell, or PowerShell on Windows. cmd.exe also reads what quote writes there.

// homeVariable is the variable that leads to the configuration directory.
var homeVariable = map[bool]string{false: "HOME", true: "AppData"}[runtime.GOOS == "windows"]

// tempVariable is the variable that names the directory for temporary files.
var tempVariable = map[bool]string{false: "TMPDIR", true: "TMP"}[runtime.GOOS == "windows"]

// quote returns text as one word of the shell.
func quote(text string) string { return quoteFor(runtime.GOOS, text) }

func quoteFor(goos, text string) string {
	safe := "-_./:@%+=,"
	if goos == "windows" {
		safe = `-_./:+=\` // cmd.exe reads %, and PowerShell @ and a comma
	}
	special := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') &&
			!strings.ContainsRune(safe, r)
	}
	switch {
	case text != "" && !strings.ContainsFunc(text, special):
		return text
	case goos == "windows" && !strings.ContainsAny(text, "\"$`"):
		return `"` + text + `"`
	case goos == "windows":
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// newKeyCommand returns a command that writes a new key to a file.
func newKeyCommand(goos, path string) string {
	if goos == "windows" {
		return "$b = [byte[]]::new(32); [Security.Cryptography.RandomNumberGenerator]::Create().GetBytes($b); " +
			"[Convert]::ToBase64String($b) | Set-Content " + quoteFor(goos, path)
	}
	return fmt.Sprintf("(umask 077; openssl rand -base64 32 > %s)", quoteFor(goos, path))
}
