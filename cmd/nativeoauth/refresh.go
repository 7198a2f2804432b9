package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// refreshCmd is for trying a session out. Programs do not need it.
func (a *app) refreshCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "refresh",
		Short: "Get new tokens now",
		Long: `refresh gets new tokens, even if the current ones are still valid. The other
commands refresh tokens automatically when it is time. It prints no token.`,
		Example: `  nativeoauth refresh`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSession(cmd, func(ctx context.Context, s *oauthclient.Session) error {
				if err := s.Refresh(ctx); err != nil {
					return err
				}
				acc := s.Account()
				a.console.say("Refreshed: the access token is valid until %s (%s).",
					clock(acc.Expiry), left(acc.Expiry))
				return nil
			})
		},
	}
}
