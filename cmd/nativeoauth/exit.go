package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Exit codes. One that a signal caused is 128 and the signal's number: 130 for Ctrl-C.
const (
	exitOK            = 0
	exitError         = 1
	exitUsage         = 2
	exitLoginRequired = 4
)

// usageError is a command line that cannot be meant.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errSaid is a failure of which everything was said already.
var errSaid = errors.New("")

// output is stdout, also for what cobra writes by itself.
type output struct{ w io.Writer }

func (o output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil {
		err = outputError{err}
	}
	return n, err
}

// outputError is a write to stdout that failed.
type outputError struct{ err error }

func (e outputError) Error() string {
	if errors.Is(e.err, syscall.EPIPE) {
		return "nobody reads the output (broken pipe)"
	}
	return "the output cannot be written: " + e.err.Error()
}
func (e outputError) Unwrap() error { return e.err }

// exit says what went wrong, in one line, and returns the exit code.
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
	case errors.As(err, &use):
		code = exitUsage
	case errors.Is(err, oauthclient.ErrLoginRequired):
		code = exitLoginRequired
	}
	if err != errSaid {
		a.console.fail(a.explain(err))
	}
	return code
}

// explain is err in one line, with the next step in the words of this command: the packages' errors name their own API.
func (a *app) explain(err error) string {
	var use usageError
	text := err.Error()
	for _, room := range []string{"oauthclient: ", "tokenstore: ", "loopback: "} {
		text = strings.TrimPrefix(text, room)
	}
	switch {
	case errors.As(err, &use):
		text += "; " + a.helpCommand() + " tells more"
	case errors.Is(err, oauthclient.ErrLoginRequired):
		text += "; run: " + a.loginCommand()
	case errors.Is(err, oauthclient.ErrAccountMismatch):
		text, _, _ = strings.Cut(text, "; ")
		text += "; keep both with --account NAME, or give the account to the new user with --replace-user"
	case errors.Is(err, loopback.ErrPortTaken):
		text += "; give another with --port that the provider knows, or leave --port out"
	case errors.Is(err, tokenstore.ErrUnavailable) && a.storeName() == storeKeychain:
		text += "; or keep sessions in a sealed file: --store file --key-file FILE"
	case errors.Is(err, context.DeadlineExceeded):
		text += "; try again, or wait longer with --timeout"
	case errors.Is(err, fs.ErrPermission):
		text += "; check who may read it"
	}
	return wire.SafeText(flagWords(text), 2000)
}

// flagWords writes the packages' names for things as this command's.
func flagWords(text string) string {
	return strings.NewReplacer(
		"Config.Metadata.Issuer", "the issuer in --metadata-file", "Config.TenantIssuer", "--tenant-issuer", "Config.TrustedAudiences", "--trusted-audience",
		"Config.Path", "--redirect-path", "Config.RedirectURI", "--redirect-uri", "Config.Addr", "--listen", "set RequirePAR", "set --par", "RequirePAR is set", "--par was given", "LoginOptions.Scopes", "--add-scope", "AllowOtherUsers", "--allow-other-users",
		"Config.Issuer", "--issuer", "Config.ClientID", "--client-id", "Config.ClientAuth", "--client-secret-file",
		"Config.Scopes", "--scope", "Config.Resources", "--resource", "Config.Origins", "--origin",
		"Config.AuthParams", "--auth-param", "LoginOptions.AuthParams", "--auth-param", "AuthParams", "--auth-param",
		`LoginOptions{Prompt: "consent"}`, "--prompt consent", `Prompt "consent"`, "--prompt consent", "a tokenstore.File", "a sealed file",
	).Replace(text)
}
