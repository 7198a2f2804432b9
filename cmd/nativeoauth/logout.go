package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func (a *app) logoutCmd() *cobra.Command {
	var all bool
	var opts oauthclient.LogoutOptions
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Sign out: revoke the tokens and forget the session",
		Long: `logout deletes the session here, even one that cannot be read, and revokes its tokens at the provider where that is possible. The profile stays, for
the next login. With --all, every account of this provider and client is signed out, and a client secret that a login kept is forgotten.

It exits with 1 where the provider was not told, or did not confirm it; the session is gone here all the same.`,
		Example: `  nativeoauth logout
  nativeoauth logout --profile work --all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case all && cmd.Flags().Changed("account"):
				return usage("--all and --account do not go together")
			case opts.ReturnPath != "" && !opts.EndSession:
				return usage("--return-path is for --end-session")
			case opts.IDTokenHint && !opts.EndSession:
				return usage("--id-token-hint is for --end-session")
			}
			return a.logout(cmd, all, &opts)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every account of this provider and client")
	cmd.Flags().BoolVar(&opts.EndSession, "end-session", false, "end the provider's own session too, in the browser")
	cmd.Flags().StringVar(&opts.ReturnPath, "return-path", "", "the path of a registered post_logout_redirect_uri on this machine: wait until the browser comes back")
	cmd.Flags().BoolVar(&opts.IDTokenHint, "id-token-hint", false, "send the ID token along, for a provider that ends nothing without; it is then in the browser's history")
	return cmd
}

func (a *app) logout(cmd *cobra.Command, all bool, opts *oauthclient.LogoutOptions) error {
	ctx := cmd.Context()
	s, err := a.resolve(cmd)
	if err != nil {
		return err
	}
	store, err := a.openStore(s)
	if err != nil {
		return err
	}
	cfg, err := a.publicConfig(s, store)
	if err != nil {
		return err
	}
	out := signingOut{app: a, opts: opts}
	if cfg.ClientAuth, out.untold = a.clientAuth(ctx, s, store); out.untold != nil {
		// Nobody stays signed in here for want of a secret. The provider would take nothing from a client that it cannot tell from another.
		cfg.Transport = unsent{out.untold}
	}
	c, err := oauthclient.New(cfg)
	if err != nil {
		return usageError{err}
	}
	defer a.close(c)
	if all {
		return a.logoutAll(ctx, s, c, out)
	}
	_, lookErr := c.Session(ctx, s.Account)
	if err := out.account(ctx, c, s.Account); err != nil {
		return err
	}
	if errors.Is(lookErr, oauthclient.ErrLoginRequired) {
		a.console.say("Nobody was signed in at %s%s.", s.place(), named(s.Account))
		return nil
	}
	a.console.say("Signed out at %s%s.", s.place(), named(s.Account))
	return nil
}

// unsent is a transport that sends nothing, for the reason that it has.
type unsent struct{ why error }

func (u unsent) RoundTrip(*http.Request) (*http.Response, error) { return nil, u.why }

func (a *app) logoutAll(ctx context.Context, s *settings, c *oauthclient.Client, out signingOut) error {
	accounts, err := c.Accounts(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, acc := range accounts {
		if err := out.account(ctx, c, acc.Name); err != nil {
			failures = append(failures, err)
			continue
		}
		a.console.say("Signed out%s at %s%s.", asWhom(acc), s.place(), named(acc.Name))
	}
	if len(accounts) == 0 {
		a.console.say("Nobody was signed in at %s.", s.place())
	}
	if s.ClientSecretStored {
		store, err := a.openStore(s)
		if err == nil {
			err = store.Delete(ctx, secretKey(s))
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("the client secret was not forgotten: %w", err))
		} else {
			s.ClientSecretStored = false
			if err := remember(ctx, a.env, s.name, s.profile); err != nil {
				failures = append(failures, err)
			}
		}
	}
	return errors.Join(failures...)
}

// signingOut is Logout, where a provider that cannot revoke is no failure of the person's.
type signingOut struct {
	app    *app
	opts   *oauthclient.LogoutOptions
	untold error // why the provider is not told; nil: it is
}

func (o signingOut) account(ctx context.Context, c *oauthclient.Client, account string) error {
	err := c.Logout(ctx, account, o.opts)
	switch {
	case !errors.Is(err, oauthclient.ErrNotRevoked):
		return err
	case o.untold != nil:
		return fmt.Errorf("%w, as it was not told: %w", oauthclient.ErrNotRevoked, o.untold)
	case errors.Is(err, errors.ErrUnsupported):
		o.app.console.tell("The provider cannot revoke tokens: the access token stays good there until it expires.")
		return nil
	}
	return err
}

func named(account string) string {
	if account == "" {
		return ""
	}
	return fmt.Sprintf(" (account %q)", account)
}
