package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// app is one run of the command.
type app struct {
	stdin   io.Reader
	stdout  io.Writer // what was asked for, and nothing else
	screen  bool      // stdout is a terminal
	console *console  // stderr
	env     environ

	verbose bool
	flags   profile // the values of the flags; which were given, cobra knows

	assumeLifetime time.Duration // of the flags, too

	profile string // --profile
	used    *settings
	command *cobra.Command
	helpErr error // of writing a help page, which cobra does not hand on
}

func (a *app) output(text string) error {
	_, err := io.WriteString(a.stdout, text)
	return err
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "nativeoauth",
		Short: "Sign in with OAuth 2.0 and OpenID Connect, and use the session",
		Long: `nativeoauth signs you in at an OAuth 2.0 or OpenID Connect provider with your own browser, keeps the session in the system's
keychain, and refreshes it for as long as the provider allows.

A login is remembered under a profile ("default" unless --profile names another), so that the other commands need no flags.
Settings come from flags, else the environment (NATIVEOAUTH_PROFILE, _ISSUER, _CLIENT_ID, _ACCOUNT, _STORE, _KEY_FILE), else the profile.

Exit codes: 0 done, 1 error, 2 wrong usage, 4 a login is required, 130 interrupted.`,
		Example: `  nativeoauth login --demo
  nativeoauth login --issuer https://login.example.com --client-id my-cli
  nativeoauth token
  curl -H "$(nativeoauth token --format header)" https://api.example.com/me
  nativeoauth logout`,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			a.command = cmd
		},
		SuggestionsMinimumDistance: 2,
	}
	root.SetOut(a.stdout) // the completions remember it
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		a.command = cmd
		return usageError{err}
	})
	f := root.PersistentFlags()
	f.StringVar(&a.profile, "profile", "", "`name` of the profile (default \"default\", or the only one there is)")
	_ = root.RegisterFlagCompletionFunc("profile", func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.completeProfile(cmd, nil, typed)
	}) // fails for a flag that is not there
	f.StringVar(&a.flags.Issuer, "issuer", "", "issuer `URL` of the provider")
	f.StringVar(&a.flags.ClientID, "client-id", "", "client `ID` that the provider registered")
	f.StringVar(&a.flags.Account, "account", "", "`name` for this sign-in, where you have several at one provider")
	f.StringVar(&a.flags.Store, "store", "", "where the session is kept: keychain (default), file, or memory (for one run)")
	f.StringVar(&a.flags.KeyFile, "key-file", "", "`file` with the key that seals --store file: 32 bytes in base64 or hex; without it a passphrase is asked for")
	f.StringVar(&a.flags.ClientSecretFile, "client-secret-file", "", "`file` with the client secret, for providers that insist on one; - reads stdin at login")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say on stderr what happens inside")

	for _, cmd := range []*cobra.Command{
		a.loginCmd(), a.tokenCmd(), a.statusCmd(), a.userinfoCmd(), a.refreshCmd(), a.logoutCmd(), a.requestCmd(), a.inspectCmd(), a.execCredentialCmd(), a.gitCredentialCmd(), a.profileCmd(), a.versionCmd(),
	} {
		root.AddCommand(cmd)
	}
	a.setHelp(root)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	asUsage(root, a)
	return root
}

// noSuchCommand are the arguments of a command that only has commands.
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

// asUsage gives every complaint about arguments the exit code of wrong usage.
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

// logger gives warnings to the person, and with --verbose all there is.
func (a *app) logger() *slog.Logger {
	if !a.verbose {
		return slog.New(warnings{a.console})
	}
	return slog.New(slog.NewTextHandler(a.console, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 && attr.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attr
		},
	}))
}

// helpCommand is what a person types to read about the command that was used.
func (a *app) helpCommand() string {
	if a.command == nil {
		return "nativeoauth --help"
	}
	return a.command.CommandPath() + " --help"
}

// loginCommand is what a person types to sign in to what was used.
func (a *app) loginCommand() string {
	words := []string{"nativeoauth login"}
	s := a.used
	if s == nil {
		return words[0]
	}
	switch {
	case s.fromProfile && s.name != defaultProfile:
		words = append(words, "--profile "+quote(s.name))
	case !s.fromProfile:
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
	if s.Account != "" {
		words = append(words, "--account "+quote(s.Account))
	}
	return strings.Join(words, " ")
}

// quote writes text so that a shell reads it as one word.
func quote(text string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !safe(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func (a *app) storeName() string {
	if a.used == nil || a.used.Store == "" {
		return storeKeychain
	}
	return a.used.Store
}

// close ends a client, and says so where something was cut short.
func (a *app) close(c *oauthclient.Client) {
	if err := c.Close(); err != nil {
		a.console.warn("%s", strings.TrimPrefix(err.Error(), "oauthclient: "))
	}
}
