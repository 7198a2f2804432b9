package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Exit codes. After a signal it is 128 plus the signal's number: 130 for Ctrl-C.
const (
	exitOK            = 0
	exitError         = 1
	exitUsage         = 2
	exitLoginRequired = 4
)

// usageError reports a wrong command line.
type usageError struct{ err error }

// Error returns the text without a hint; explain adds one.
func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usage returns a usageError. The arguments are those of fmt.Errorf.
func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errSaid is a failure that the output of the command has described already.
var errSaid = errors.New("")

// loginError is an error of this command that a login cures.
type loginError struct{ text string }

func (e loginError) Error() string { return e.text }

func (e loginError) Is(target error) bool { return target == oauthclient.ErrLoginRequired }

// challengeError is the answer of an API that names the login that it wants. The text
// has the command for it.
type challengeError struct{ text string }

func (e challengeError) Error() string { return e.text }

// output is stdout. It marks its errors, also those of what cobra writes.
type output struct{ w io.Writer }

func (o output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil {
		err = outputError{err}
	}
	return n, err
}

// outputError is a failed write to stdout.
type outputError struct{ err error }

// Error says what is wrong with the output. A broken pipe is common and its system
// error obscure: the reader, such as head, has ended.
func (e outputError) Error() string {
	if errors.Is(e.err, syscall.EPIPE) {
		return "nobody reads the output (broken pipe)"
	}
	return "the output cannot be written: " + e.err.Error()
}
func (e outputError) Unwrap() error { return e.err }

// exit reports err in one line and returns the exit code. A signal comes before
// any other error, which is then most likely its effect.
func (a *app) exit(ctx context.Context, err error) int {
	var sig interrupted
	if errors.As(context.Cause(ctx), &sig) && (err != nil || ctx.Err() != nil) {
		a.console.fail(sig.Error())
		return sig.code()
	}
	if err == nil {
		return exitOK
	}
	code := exitError
	var use usageError
	switch {
	case errors.As(err, &use): // before the next: a wrong flag needs no login
		code = exitUsage
	case errors.Is(err, oauthclient.ErrLoginRequired), errors.As(err, new(challengeError)):
		code = exitLoginRequired
	}
	if err != errSaid {
		a.console.fail(a.explain(err))
	}
	return code
}

// explain returns err in one line with the next step in the words of this
// command. The errors of the packages are written for programs.
func (a *app) explain(err error) string {
	// A user knows neither the packages nor Session.For, which name themselves at the
	// beginning.
	text := err.Error()
	for _, pkg := range []string{"oauthclient: ", "tokenstore: ", "loopback: ", "workload: ", "For: "} {
		text = strings.TrimPrefix(text, pkg)
	}
	// Only the part of the message that is about the field changes: errors above it may
	// say more.
	var field *wire.FieldError
	if errors.As(err, &field) {
		used := &a.flags
		if a.used != nil {
			used = &a.used.choices
		}
		name, member, _ := strings.Cut(field.Field, "Endpoints.")
		if member != "" { // a member of the file that describes a provider
			name, member = name+"Endpoints", member+": "
		}
		if flag := flagFor(name, used); flag != "" {
			text = strings.Replace(text, field.Error(), flag+": "+member+field.Err.Error(), 1)
		}
	}
	// The text may quote a server or a file, so it must be safe to show (S5).
	return wire.SafeText(flagWords(a.withNextStep(text, err)), 2000)
}

// withNextStep adds to the text of err what the user can do.
func (a *app) withNextStep(text string, err error) string {
	var use usageError
	switch {
	case errors.As(err, &use):
		text += "; " + a.helpCommand() + " tells more"
	case errors.Is(err, oauthclient.ErrLoginRequired):
		if errors.Is(err, oauthclient.ErrNoSession) { // there may never have been one
			text = strings.Replace(text, ": sign in again", ": sign in", 1)
		}
		text += "; run: " + a.loginCommand()
	case errors.Is(err, oauthclient.ErrAccountMismatch):
		text, _, _ = strings.Cut(text, "; ") // the package's hint names its own API
		text += "; keep both with --account NAME, " +
			"or give the account to the new user with --replace-user"
	case errors.Is(err, oauthclient.ErrNoBrowser) && a.runs("login"):
		text += "; sign in with a browser on another machine: --no-browser or --device"
	case errors.Is(err, loopback.ErrPortTaken):
		text += "; give another with --port that the provider knows, or leave --port out"
	case errors.Is(err, tokenstore.ErrUnavailable) && a.storeName() == storeKeychain:
		text = strings.Replace(text, "; or keep the session in a sealed file", "", 1)
		text += "; or keep sessions in a sealed file: --store file --key-file FILE"
	case errors.Is(err, tokenstore.ErrDamaged) && !a.runs("logout"):
		text += "; sign in again: " + a.loginCommand()
	case errors.Is(err, tokenstore.ErrWrongKey) && !a.runs("logout"):
		// Signing in again would lose the session that the right key opens.
		text += "; give the key that the login used, with --key-file; if it is lost: " +
			strings.Replace(a.loginCommand(), "login", "logout", 1) + ", and then login"
	case errors.As(err, new(notBackError)): // it has its own
	case errors.Is(err, context.DeadlineExceeded): // of a login, or of a slow provider
		text += "; try again"
		if a.limited != nil && a.limited.Err() != nil { // and not a request's own limit
			text += ", or wait longer with --timeout"
		}
	case cannotMake(err):
		text += "; make that place writable, or set " + homeVariable + " to a directory that is"
	case errors.Is(err, fs.ErrPermission):
		text += "; check who may read it"
	}
	return text
}

// cannotMake reports that a directory could not be made, as in a home directory that
// is read-only or another user's.
func cannotMake(err error) bool {
	var at *fs.PathError
	return errors.As(err, &at) && strings.HasPrefix(at.Op, "mkdir") &&
		(errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS))
}

// runs reports whether this is a run of the command with this name.
func (a *app) runs(name string) bool { return a.command != nil && a.command.Name() == name }

// flagWords replaces what the packages' errors say in Go's words. A field that is at
// fault is typed and needs no replacing, see explain; others are advice.
func flagWords(text string) string {
	text = useNames.Replace(text)
	var c choices
	for _, s := range c.table() {
		if s.field != "" && strings.Contains(text, s.field) {
			text = strings.ReplaceAll(text, "set "+s.field, "give "+s.field)
			text = strings.ReplaceAll(text, s.field, "--"+s.flag)
		}
	}
	text = strings.Replace(text, "ClientSecretPost", "--client-secret-post", 1)
	text = strings.Replace(text, "a tokenstore.File", "a sealed file", 1)
	text = strings.Replace(text, "context deadline exceeded", "the time is up", 1)
	text = strings.Replace(text, "the default account", strconv.Quote(defaultProfile), 1)
	return strings.Replace(text, "set AllowOtherUsers", "give --allow-other-users", 1)
}
