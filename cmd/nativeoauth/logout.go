package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func (a *app) logoutCmd() *cobra.Command {
	var all, endSession bool
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Sign out: revoke the tokens and forget the session",
		Long: `logout deletes the session here, even one that cannot be read, and revokes its tokens at the provider where that is possible. The profile stays, for
the next login. With --all, every account of this provider and client is signed out, and a client secret that a login kept is forgotten.`,
		Example: `  nativeoauth logout
  nativeoauth logout --profile work --all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all && cmd.Flags().Changed("account") {
				return usage("--all and --account do not go together")
			}
			opts := &oauthclient.LogoutOptions{EndSession: endSession}
			return a.withClient(cmd, func(ctx context.Context, s *settings, c *oauthclient.Client) error {
				if all {
					return a.logoutAll(ctx, s, c, opts)
				}
				_, lookErr := c.Session(ctx, s.Account)
				if err := a.signOut(ctx, c, s.Account, opts); err != nil {
					return err
				}
				if errors.Is(lookErr, oauthclient.ErrLoginRequired) {
					a.person.say("Nobody was signed in at %s%s.", s.Issuer, named(s.Account))
					return nil
				}
				a.person.say("Signed out at %s%s.", s.Issuer, named(s.Account))
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every account of this provider and client")
	cmd.Flags().BoolVar(&endSession, "end-session", false, "end the provider's own session too, in the browser")
	return cmd
}

func (a *app) logoutAll(ctx context.Context, s *settings, c *oauthclient.Client, opts *oauthclient.LogoutOptions) error {
	accounts, err := c.Accounts(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, acc := range accounts {
		if err := a.signOut(ctx, c, acc.Name, opts); err != nil {
			failures = append(failures, err)
			continue
		}
		a.person.say("Signed out%s at %s%s.", asWhom(acc), s.Issuer, named(acc.Name))
	}
	if len(accounts) == 0 {
		a.person.say("Nobody was signed in at %s.", s.Issuer)
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

// signOut is Logout, where a provider that cannot revoke is no failure of the person's.
func (a *app) signOut(ctx context.Context, c *oauthclient.Client, account string, opts *oauthclient.LogoutOptions) error {
	err := c.Logout(ctx, account, opts)
	if errors.Is(err, oauthclient.ErrNotRevoked) && errors.Is(err, errors.ErrUnsupported) {
		a.person.say("The provider cannot revoke tokens: the access token stays good there until it expires.")
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
