package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// profileCmd groups the commands about profiles.
func (a *app) profileCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "List, show, set and remove profiles",
		Long: `A profile has the settings of a login: provider, client, scopes, and the store of
the session. It never holds a secret.

Profiles are in nativeoauth/config.json in the configuration directory ($XDG_CONFIG_HOME,
~/.config).`,
		Example: `  nativeoauth profile list
  nativeoauth profile set work --issuer https://login.example.com --client-id my-cli \
    --scope openid --scope email
  nativeoauth login --profile work`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(a.profileListCmd(), a.profileShowCmd(), a.profileSetCmd(), a.profileRemoveCmd())
	return cmd
}

// profileListCmd prints a line for each profile: name, provider, client, account.
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
				if c.Profiles == nil { // which JSON would write as null
					c.Profiles = map[string]profile{}
				}
				return a.outputJSON(c.Profiles)
			}
			if len(c.Profiles) == 0 {
				a.console.say("There are no profiles; a login makes one.")
				return nil
			}
			var rows [][]string
			for _, name := range c.names() {
				p := c.Profiles[name]
				row := []string{name, p.provider(), p.ClientID}
				if p.Account != "" {
					row = append(row, p.Account)
				}
				rows = append(rows, row)
			}
			return a.output(columns(rows))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print all their settings as JSON")
	return cmd
}

// profileShowCmd prints a profile as the configuration has it. There is no secret in it
// to leave out.
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

// profileSetCmd makes or changes a profile. It validates the settings with the SDK, as
// a login would, so that a mistake shows now.
func (a *app) profileSetCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Make or change a profile without signing in",
		Long: `set stores the settings that its flags give, and keeps the other settings of the
profile. With another issuer or client, it starts with an empty profile. It contacts no provider.
The next login uses the settings.`,
		Example: `  nativeoauth profile set work \
    --issuer https://login.example.com --client-id my-cli --scope openid --scope email`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeProfile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.profile != "" && a.profile != args[0] {
				return usage("--profile %s and NAME %s differ; give only NAME", a.profile, args[0])
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
				return usage("--client-secret-file - is for login, " +
					"which stores the secret beside the session")
			}
			store, err := a.sessionStore(s)
			if err != nil {
				return err
			}
			cfg, err := a.publicConfig(s, store)
			if err != nil {
				return err
			}
			cfg.Workload = s.checkedWorkload()
			c, err := oauthclient.New(cfg)
			if err != nil {
				return usageError{err}
			}
			// The client was made for its checks alone.
			a.close(c)
			return remember(cmd.Context(), a.env, s.name, s.kept())
		},
	}
	a.bind(cmd.Flags(), keepsProfile)
	return cmd
}

// profileRemoveCmd deletes a profile, unless something would be left behind.
func (a *app) profileRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a profile whose session is signed out",
		Long: `remove deletes a profile. It fails if the profile still has a session, or a
client secret that a login stored: no command would find them afterwards. Sign out first. It also
fails if another profile names it with --identity-provider.`,
		Example:           `  nativeoauth profile remove work`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeProfile,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			c, p, err := a.profileNamed(name)
			if err != nil {
				return err
			}
			delete(c.Profiles, name) // from this copy, so that the others remain
			if err := a.leftBehind(cmd.Context(), name, p, c.Profiles); err != nil {
				return err
			}
			return editConfig(cmd.Context(), a.env, func(c *config) { delete(c.Profiles, name) })
		},
	}
}

// leftBehind fails if a profile in others needs p, or if none of them leads to the
// session or the client secret of p.
func (a *app) leftBehind(
	ctx context.Context, name string, p profile, others map[string]profile,
) error {
	var dependents []string
	for _, other := range slices.Sorted(maps.Keys(others)) {
		if others[other].IdentityProvider == name {
			dependents = append(dependents, strconv.Quote(other))
		}
	}
	if dependents != nil {
		return fmt.Errorf("profile %q is the --identity-provider of %s; first remove what needs it, "+
			"or set another --identity-provider there", name, strings.Join(dependents, ", "))
	}
	client := func(o profile) bool {
		return o.provider() == p.provider() && o.ClientID == p.ClientID && o.Store == p.Store
	}
	// Another profile with the same provider, client and store leads to the secret too.
	secret, session := p.ClientSecretStored, true
	for other, o := range others {
		if client(o) {
			secret = false
			session = session && o.account(other) != p.account(name)
		}
	}
	if secret {
		return fmt.Errorf("the client secret of profile %q is still stored; "+
			"first run: nativeoauth logout --all --profile %s", name, quote(name))
	}
	if !session || p.nobodySignsIn() {
		return nil
	}
	p.Workload, p.IdentityProvider = "", "" // a user may have signed in before these were set
	rows, err := a.rows(ctx, &settings{choices: choices{profile: p}, name: name})
	if err != nil {
		return err
	}
	if len(only(rows, p.account(name))) > 0 {
		return fmt.Errorf("profile %q is signed in; first run: nativeoauth logout --profile %s",
			name, quote(name))
	}
	return nil
}

// profileNamed returns the configuration and one of its profiles.
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

// completeProfileFlag completes the value of --profile in a shell.
func (a *app) completeProfileFlag(
	cmd *cobra.Command, _ []string, typed string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeProfile(cmd, nil, typed)
}

// completeProfile completes an argument that is the name of a profile.
func (a *app) completeProfile(
	_ *cobra.Command, args []string, _ string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := readConfig(a.env)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return c.names(), cobra.ShellCompDirectiveNoFileComp
}
