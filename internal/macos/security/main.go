// Security stands in for security(1) of macOS in tests on Linux. It has the three
// commands that tokenstore uses, and behaves as Apple's source says:
//
//   - With -i it reads lines of at most 4,095 bytes. The rest of a longer line is
//     the next line. A line without an end is not run.
//   - Quotes and backslashes in a line are removed.
//   - The exit status is the low byte of the last command's OSStatus. An empty line
//     is a command that succeeds.
//   - Messages are in the user's language, which is German here.
//   - A password is printed in hexadecimal if it is not plain text.
//
// The directory $NATIVEOAUTH_KEYCHAIN is the keychain. Files in it control what
// happens:
//
//	status.COMMAND   the command (add, find or delete) ends with this status
//	locked           the keychain is locked, and no prompt can be shown
//	denied           the user does not allow the use of an item
//	warning          a library prints a warning on stderr
//	hold.COMMAND     the next command makes it held.COMMAND, and waits until that is gone
//	calls            gets a line for each run
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The OSStatus values, from SecBase.h.
const (
	userCanceled          = -128
	authFailed            = -25293
	duplicateItem         = -25299
	itemNotFound          = -25300
	interactionNotAllowed = -25308
)

const (
	failed = 1
	usage  = 2
)

func main() {
	k := keychain{os.Getenv("NATIVEOAUTH_KEYCHAIN")}
	if k.dir == "" {
		fmt.Fprintln(os.Stderr, "NATIVEOAUTH_KEYCHAIN is not set")
		os.Exit(usage)
	}
	k.note(strings.Join(os.Args[1:], " "))
	if k.has("warning") {
		fmt.Fprintln(os.Stderr, "objc[1]: Class X is implemented in both A and B.")
	}
	status := 0
	if len(os.Args) == 2 && os.Args[1] == "-i" {
		status = k.interactive(os.Stdin)
	} else {
		status = k.run(os.Args[1:])
	}
	os.Exit(status & 0xff)
}

// maxLine is the size of the buffer for a line, with the zero at its end.
const maxLine = 4096

// interactive runs the commands of in, and returns the status of the last one.
func (k keychain) interactive(in io.Reader) (status int) {
	lines := bufio.NewReader(in)
	for {
		var line []byte
		for len(line) < maxLine-1 {
			c, err := lines.ReadByte()
			if err != nil {
				return status
			}
			if c == '\n' {
				break
			}
			line = append(line, c)
		}
		argv := split(string(line))
		if status = k.run(argv); status != 0 {
			fmt.Fprintf(os.Stderr, "%s: returned %d\n", argv[0], status)
		}
	}
}

// split splits a line as security -i does. A quote ends an argument, and a
// backslash takes the meaning of the next character away, in quotes too.
func split(line string) (argv []string) {
	var (
		arg     strings.Builder
		in      bool // in an argument
		quote   byte // that began it, or 0
		escaped bool
	)
	end := func() {
		argv = append(argv, arg.String())
		arg.Reset()
		in, quote = false, 0
	}
	for i := range len(line) {
		c := line[i]
		space := c == ' ' || '\t' <= c && c <= '\r'
		switch {
		case escaped:
			arg.WriteByte(c)
			escaped = false
		case !in && space:
		case !in && (c == '"' || c == '\''):
			in, quote = true, c
		case c == '\\':
			in, escaped = true, true
		case in && quote != 0 && c == quote, in && quote == 0 && space:
			end()
		default:
			in = true
			arg.WriteByte(c)
		}
	}
	if in {
		end()
	}
	return argv
}

// run runs one command.
func (k keychain) run(argv []string) (status int) {
	if len(argv) == 0 {
		return 0
	}
	switch argv[0] {
	case "add-generic-password":
		return k.do("add", argv, "s:a:w:U", k.add)
	case "find-generic-password":
		return k.do("find", argv, "s:a:w", k.find)
	case "delete-generic-password":
		return k.do("delete", argv, "s:a:", k.remove)
	}
	fmt.Fprintf(os.Stderr, "security: unknown command %q\n", argv[0])
	return failed
}

// do parses the options of a command and runs it, unless a file says otherwise.
func (k keychain) do(name string, argv []string, spec string, command func(options) int) int {
	opts, ok := parse(argv[1:], spec)
	if !ok {
		fmt.Fprintf(os.Stderr, "Usage: %s\n", argv[0])
		return usage
	}
	held := filepath.Join(k.dir, "held."+name)
	if opts["a"] != "probe_" && os.Rename(filepath.Join(k.dir, "hold."+name), held) == nil {
		for k.has("held." + name) {
			time.Sleep(2 * time.Millisecond)
		}
	}
	if data, err := os.ReadFile(filepath.Join(k.dir, "status."+name)); err == nil {
		status, _ := strconv.Atoi(strings.TrimSpace(string(data)))
		return status
	}
	return command(opts)
}

type options map[string]string

// parse parses options as getopt does. A letter of spec with a colon has a value,
// which may follow at once or be the next argument.
func parse(args []string, spec string) (options, bool) {
	opts := options{}
	for len(args) > 0 {
		group, ok := strings.CutPrefix(args[0], "-")
		args = args[1:]
		if !ok || group == "" {
			return nil, false // the stand-in has one keychain, and it is not named
		}
		for group != "" {
			letter := group[:1]
			group = group[1:]
			i := strings.Index(spec, letter)
			switch {
			case i < 0 || letter == ":":
				return nil, false
			case i+1 == len(spec) || spec[i+1] != ':':
				opts[letter] = ""
				continue
			case group == "" && len(args) == 0:
				return nil, false
			case group == "":
				group, args = args[0], args[1:]
			}
			opts[letter], group = group, ""
		}
	}
	return opts, true
}

// keychain is a directory with a file for each item.
type keychain struct{ dir string }

func (k keychain) has(name string) bool {
	_, err := os.Lstat(filepath.Join(k.dir, name))
	return err == nil
}

func (k keychain) note(call string) {
	f, err := os.OpenFile(filepath.Join(k.dir, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = fmt.Fprintln(f, call)
		_ = f.Close()
	}
}

func (k keychain) item(opts options) string {
	name := sha256.Sum256([]byte(opts["s"] + "\x00" + opts["a"]))
	return filepath.Join(k.dir, "item."+hex.EncodeToString(name[:]))
}

// fail says what went wrong, in the user's language, and returns the status.
func fail(what string, status int) int {
	text := map[int]string{
		itemNotFound:          "Das angegebene Objekt wurde nicht im Schlüsselbund gefunden.",
		duplicateItem:         "Das angegebene Objekt existiert bereits im Schlüsselbund.",
		interactionNotAllowed: "Die Interaktion mit dem Benutzer ist nicht erlaubt.",
		authFailed:            "Der Benutzername oder das Passwort ist nicht korrekt.",
		userCanceled:          "Der Benutzer hat die Aktion abgebrochen.",
	}[status]
	fmt.Fprintf(os.Stderr, "security: %s: %s\n", what, text)
	return status
}

// add makes an item. With -U it replaces an item that is there. If that fails, it
// tries to make another one, and reports that error.
func (k keychain) add(opts options) int {
	const what = "SecKeychainItemCreateFromContent (<default>)"
	path := k.item(opts)
	_, err := os.Lstat(path)
	_, update := opts["U"]
	switch {
	case k.has("locked"):
		return fail(what, interactionNotAllowed)
	case err == nil && (!update || k.has("denied")):
		return fail(what, duplicateItem)
	}
	fresh := filepath.Join(k.dir, "new."+strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(fresh, []byte(opts["w"]), 0o600); err != nil {
		return failed
	}
	if err := os.Rename(fresh, path); err != nil {
		return failed
	}
	return 0
}

func (k keychain) find(opts options) int {
	data, err := os.ReadFile(k.item(opts))
	switch {
	case err != nil: // a locked keychain knows its items
		return fail("SecKeychainSearchCopyNext", itemNotFound)
	case k.has("locked"):
		return fail("SecKeychainItemCopyContent", interactionNotAllowed)
	case k.has("denied"):
		return fail("SecKeychainItemCopyContent", userCanceled)
	}
	text := string(data)
	for _, c := range data {
		if c < ' ' || c > '~' {
			text = hex.EncodeToString(data)
			break
		}
	}
	fmt.Println(text)
	return 0
}

func (k keychain) remove(opts options) int {
	if err := os.Remove(k.item(opts)); err != nil {
		return fail("SecKeychainSearchCopyNext", itemNotFound)
	}
	fmt.Fprintln(os.Stderr, "password has been deleted.")
	return 0
}
