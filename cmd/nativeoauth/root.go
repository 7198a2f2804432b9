package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// app is one run of the command.
type app struct {
	stdin   io.Reader
	stdout  io.Writer // the result of the command, and nothing else
	screen  bool      // stdout is a terminal
	console *console  // stderr
	env     environ

	profile string // --profile
	verbose bool
	flags   choices              // what the flags of the settings were set to
	bound   map[*pflag.Flag]bool // the flags of the settings

	keys    map[string]tokenstore.Key // those that were read, by the path of their file
	limited context.Context           // with the deadline of --timeout; nil: there is none
	used    *settings                 // what resolve returned; nil: nothing yet
	command *cobra.Command            // the command that runs
	helpErr error                     // of writing a help page, which cobra does not return
}

// output writes to stdout.
func (a *app) output(text string) error {
	_, err := io.WriteString(a.stdout, text)
	return err
}

// subcommand makes one command of the program. A program that prints a token starts
// many times a minute, so the others are not made then.
type subcommand struct {
	name string
	make func() *cobra.Command
}

// subcommands returns the commands in the order of the help.
func (a *app) subcommands() []subcommand {
	return []subcommand{
		{"login", a.loginCmd}, {"token", a.tokenCmd}, {"status", a.statusCmd},
		{"userinfo", a.userinfoCmd}, {"refresh", a.refreshCmd}, {"logout", a.logoutCmd},
		{"request", a.requestCmd}, {"inspect", a.inspectCmd}, {"doctor", a.doctorCmd},
		{"serve", a.serveCmd}, {"exec-credential", a.execCredentialCmd},
		{"git-credential", a.gitCredentialCmd}, {"docker-credential", a.dockerCredentialCmd},
		{"profile", a.profileCmd}, {"version", a.versionCmd},
	}
}

// root returns the command for a command line: with the one subcommand that its first
// argument names. If that names none, as a flag, help or a mistyped name, it has all
// of them.
func (a *app) root(args []string) *cobra.Command {
	all := a.subcommands()
	one := len(args) > 0 && slices.ContainsFunc(all, func(c subcommand) bool { return c.name == args[0] })
	var showVersion bool
	root := &cobra.Command{
		Use:   "nativeoauth",
		Short: "Sign in with OAuth 2.0 and OpenID Connect, and use the session",
		Long: `nativeoauth signs you in at an OAuth 2.0 or OpenID Connect provider with your own
browser, stores the session in the system's keychain, and refreshes it for as long as the
provider allows.

A login is remembered under a profile ("default" unless --profile names another), so that the
other commands need no flags. Each profile has a session of its own. A flag overrides an environment variable (` + a.flags.variables() + `),
and that overrides the profile.

Exit codes: 0 success, 1 error, 2 wrong usage, 4 a login is required, 130 interrupted.`,
		Example: `  nativeoauth login --demo
  nativeoauth login --issuer https://login.example.com --client-id my-cli
  nativeoauth token
  nativeoauth token --format curl | curl -K - https://api.example.com/me
  nativeoauth logout`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				return a.output(versionText())
			}
			return cmd.Help()
		},
		SilenceErrors:    true, // exit reports them, in one line
		SilenceUsage:     true,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) { a.command = cmd },

		SuggestionsMinimumDistance: 2,
	}
	root.SetOut(a.stdout) // the completion commands keep this writer when they are made
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		a.command = cmd
		return usageError{err}
	})
	root.Flags().BoolVar(&showVersion, "version", false, "print the version")
	a.everyFlag(root)
	for _, c := range all {
		if !one || c.name == args[0] {
			root.AddCommand(c.make())
		}
	}
	a.setHelp(root)
	if root.CompletionOptions.DisableDefaultCmd = one; !one {
		root.InitDefaultCompletionCmd()
		root.InitDefaultHelpCmd()
	}
	asUsage(root, a)
	return root
}

// everyFlag defines the flags that every command has.
func (a *app) everyFlag(root *cobra.Command) {
	a.bound = map[*pflag.Flag]bool{}
	f := root.PersistentFlags()
	f.StringVar(&a.profile, "profile", "",
		"`name` of the profile (default \"default\", or the only profile there is)")
	_ = root.RegisterFlagCompletionFunc("profile", a.completeProfileFlag) // cannot fail
	a.bind(f, everyCommand)
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log to stderr what happens inside")
}

// noSuchCommand checks the arguments of a command that only has subcommands. An
// argument is a mistyped subcommand.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += `; did you mean "` + strings.Join(near, `" or "`) + `"?`
	}
	return errors.New(text)
}

// asUsage gives every error about arguments the exit code of wrong usage.
func asUsage(cmd *cobra.Command, a *app) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				a.command = cmd
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		asUsage(sub, a)
	}
}

// logger shows warnings, and with --verbose every record.
func (a *app) logger() *slog.Logger {
	if !a.verbose {
		return slog.New(warnings{a.console})
	}
	return slog.New(slog.NewTextHandler(a.console, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		// The time is of no use here, and lines stay shorter.
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 && attr.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attr
		},
	}))
}

// helpCommand returns the command line that shows the help for this run.
func (a *app) helpCommand() string {
	if a.command == nil {
		return "nativeoauth --help"
	}
	return a.command.CommandPath() + " --help"
}

// loginCommand returns the command line that signs in to the provider and account
// of this run.
func (a *app) loginCommand() string {
	words := []string{"nativeoauth login"}
	s := a.used
	if s == nil {
		return words[0]
	}
	if s.IdentityProvider != "" { // the user signs in there
		return s.companyLogin()
	}
	switch { // the default profile needs no flag
	case s.fromProfile && s.name != defaultProfile:
		words = append(words, "--profile "+quote(s.name))
	case !s.fromProfile: // no profile has these settings, so the flags name them again
		if s.Issuer != "" {
			words = append(words, "--issuer "+quote(s.Issuer))
		}
		for _, r := range s.Resources {
			words = append(words, "--resource "+quote(r))
		}
		if s.Register {
			words = append(words, "--register")
		}
		if s.ClientID != "" {
			words = append(words, "--client-id "+quote(s.ClientID))
		}
	}
	return strings.Join(words, " ") + s.accountFlag()
}

// storeName returns the kind of store of this run.
func (a *app) storeName() string {
	if a.used == nil || a.used.Store == "" {
		return storeKeychain
	}
	return a.used.Store
}

// close closes a client. It warns if that interrupted something.
func (a *app) close(c *oauthclient.Client) {
	if err := c.Close(); err != nil {
		a.console.warn("%s", strings.TrimPrefix(err.Error(), "oauthclient: "))
	}
}
