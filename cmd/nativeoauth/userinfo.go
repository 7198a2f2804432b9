package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// userinfoCmd asks the provider each time. The claims of the sign-in are in the session.
func (a *app) userinfoCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "userinfo",
		Short: "Print what the provider says about you",
		Long: `userinfo calls the provider's userinfo endpoint (OpenID Connect) and prints the
claims as JSON.`,
		Example: `  nativeoauth userinfo`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSession(cmd, func(ctx context.Context, s *oauthclient.Session) error {
				var claims map[string]any
				if err := s.UserInfo(ctx, &claims); err != nil {
					return err
				}
				return a.outputJSON(claims)
			})
		},
	}
}
