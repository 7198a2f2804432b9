package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func (a *app) profileCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "List, show, set and remove profiles",
		Long: `A profile is what a login remembers: provider, client, scopes and where the session is kept. It never holds a secret. They are in
nativeoauth/config.json in the configuration directory ($XDG_CONFIG_HOME, ~/.config).`,
		Example: `  nativeoauth profile list
  nativeoauth profile set work --issuer https://login.example.com --client-id my-cli --scope openid --scope email
  nativeoauth login --profile work`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(a.profileListCmd(), a.profileShowCmd(), a.profileSetCmd(), a.profileRemoveCmd())
	return cmd
}

func (a *app) profileListCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the profiles",
		Example: `  nativeoauth profile list`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := readConfig(a.env)
			if err != nil {
				return err
			}
			if asJSON {
				if c.Profiles == nil {
					c.Profiles = map[string]profile{}
				}
				return a.outputJSON(c.Profiles)
			}
			if len(c.Profiles) == 0 {
				a.console.say("There are no profiles; a login makes one.")
				return nil
			}
			var b strings.Builder
			w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
			for _, name := range c.names() {
				p := c.Profiles[name]
				line := []string{name, p.place(), p.ClientID}
				if p.Account != "" {
					line = append(line, p.Account)
				}
				for i, text := range line {
					line[i] = wire.SafeText(text, 500)
				}
				_, _ = fmt.Fprintln(w, strings.Join(line, "\t"))
			}
			_ = w.Flush()
			return a.output(b.String())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, with all of their settings")
	return cmd
}

func (a *app) profileShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a profile, as JSON",
		Example:           `  nativeoauth profile show work`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeProfile,
		RunE: func(_ *cobra.Command, args []string) error {
			_, p, err := a.profileNamed(args[0])
			if err != nil {
				return err
			}
			return a.outputJSON(p)
		},
	}
}

func (a *app) profileSetCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Make or change a profile without signing in",
		Long: `set writes what its flags say into a profile, and leaves the rest of it as it is; with another issuer or client, it begins anew. Nothing is
sent. The next login uses it.`,
		Example:           `  nativeoauth profile set work --issuer https://login.example.com --client-id my-cli --scope openid --scope email`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeProfile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.profile != "" && a.profile != args[0] {
				return usage("--profile %s is not the profile %s that is to be set", a.profile, args[0])
			}
			a.profile = args[0]
			s, err := a.resolve(cmd)
			if err != nil {
				return err
			}
			if err := s.check(); err != nil {
				return err
			}
			if s.ClientSecretFile == "-" {
				return usage("--client-secret-file - is for login, which keeps the secret beside the session")
			}
			store, err := a.openStore(s)
			if err != nil {
				return err
			}
			cfg, err := a.publicConfig(s, store)
			if err != nil {
				return err
			}
			c, err := oauthclient.New(cfg)
			if err != nil {
				return usageError{err}
			}
			a.close(c)
			return remember(cmd.Context(), a.env, s.name, s.profile)
		},
	}
	a.profileFlags(cmd.Flags())
	return cmd
}

func (a *app) profileRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a profile whose session is signed out",
		Long: `remove forgets a profile. It refuses while the profile's session, or the client secret that a login kept, would be left behind where nobody finds it:
sign out first.`,
		Example:           `  nativeoauth profile remove work`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeProfile,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			c, p, err := a.profileNamed(name)
			if err != nil {
				return err
			}
			delete(c.Profiles, name)
			if err := a.leftBehind(cmd.Context(), name, p, slices.Collect(maps.Values(c.Profiles))); err != nil {
				return err
			}
			return editConfig(cmd.Context(), a.env, func(c *config) { delete(c.Profiles, name) })
		},
	}
}

// leftBehind is an error if p is the last way to something that is kept.
func (a *app) leftBehind(ctx context.Context, name string, p profile, others []profile) error {
	client := func(o profile) bool {
		return o.place() == p.place() && o.ClientID == p.ClientID && o.Store == p.Store
	}
	if p.ClientSecretStored && !slices.ContainsFunc(others, client) {
		return fmt.Errorf("the client secret of profile %q is still kept; first run: nativeoauth logout --all --profile %s", name, quote(name))
	}
	if slices.ContainsFunc(others, func(o profile) bool { return client(o) && o.Account == p.Account }) {
		return nil
	}
	rows, err := a.rows(ctx, &settings{profile: p, name: name})
	if err != nil {
		return err
	}
	if len(only(rows, p.Account)) > 0 {
		return fmt.Errorf("profile %q is signed in; first run: nativeoauth logout --profile %s", name, quote(name))
	}
	return nil
}

func (a *app) profileNamed(name string) (config, profile, error) {
	c, err := readConfig(a.env)
	if err != nil {
		return config{}, profile{}, err
	}
	p, ok := c.Profiles[name]
	if !ok {
		return config{}, profile{}, usage("there is no profile %q%s", name, known(c))
	}
	return c, p, nil
}

func (a *app) completeProfile(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := readConfig(a.env)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return c.names(), cobra.ShellCompDirectiveNoFileComp
}
