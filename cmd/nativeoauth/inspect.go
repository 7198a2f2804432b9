package main

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient/inspect"
)

func (a *app) inspectCmd() *cobra.Command {
	var asJSON bool
	var opts inspect.Options
	cmd := &cobra.Command{
		Use:   "inspect [ISSUER]",
		Short: "Show what a provider can do, and what is wrong with it",
		Long: `inspect reads what a provider publishes about itself, checks it as a login would, and says what a native program can do with it. Nobody is
signed in. With --client-id it also asks the authorization endpoint whether that client may come back to any port of 127.0.0.1. Without ISSUER it is the
provider and client of --issuer, or of the profile.

It exits with 0 if a native program can sign in safely, else with 1.`,
		Example: `  nativeoauth inspect https://accounts.google.com
  nativeoauth inspect https://login.example.com --client-id my-cli --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			issuer, err := a.inspected(cmd, args, &opts)
			if err != nil {
				return err
			}
			r, err := inspect.Provider(cmd.Context(), issuer, &opts)
			if err != nil {
				return err
			}
			text := inspectTable(a, r)
			if asJSON {
				if text, err = jsonText(r); err != nil {
					return err
				}
			}
			if err := a.output(text); err != nil {
				return err
			}
			if !r.Ready {
				return errSaid
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().StringVar(&opts.TenantIssuer, "tenant-issuer", "", "the issuer that a provider for many tenants states, such as https://login.microsoftonline.com/{tenantid}/v2.0")
	cmd.Flags().StringVar(&opts.RedirectPath, "redirect-path", "", "the `path` of the redirect URI that --client-id is tried with (default /callback)")
	return cmd
}

// inspected is the issuer that is meant, and adds to opts what is known of its client.
func (a *app) inspected(cmd *cobra.Command, args []string, opts *inspect.Options) (string, error) {
	opts.ClientID = a.flags.ClientID
	switch {
	case len(args) == 1 && cmd.Flags().Changed("issuer"):
		return "", usage("give ISSUER or --issuer, not both")
	case len(args) == 1:
		return args[0], nil
	case cmd.Flags().Changed("issuer"):
		return a.flags.Issuer, nil
	}
	s, err := a.resolve(cmd)
	if err != nil {
		return "", err
	}
	if s.Issuer == "" {
		return "", usage("which provider? The profile has none but %s; give its ISSUER", s.place())
	}
	opts.ClientID = s.ClientID
	opts.RedirectPath = cmp.Or(opts.RedirectPath, s.RedirectPath)
	opts.TenantIssuer = cmp.Or(opts.TenantIssuer, s.TenantIssuer)
	return s.Issuer, nil
}

// inspectTable is the report in columns. The level is a word, not a colour: for a pipe, and for whoever sees none.
func inspectTable(a *app, r *inspect.Report) string {
	wide := 0
	for _, f := range r.Findings {
		wide = max(wide, utf8.RuneCountInString(f.Area))
	}
	var b strings.Builder
	indent := strings.Repeat(" ", wide+11)
	for _, f := range r.Findings {
		lines := wrap(f.Text, a.console.width()-len(indent))
		fmt.Fprintf(&b, "%-7s  %-*s  %s\n", f.Level, wide, f.Area, strings.Join(lines, "\n"+indent))
	}
	if r.Ready {
		b.WriteString("\nA native program can sign in here safely.\n")
	} else {
		b.WriteString("\nA native program cannot sign in here safely: see the problems above.\n")
	}
	return b.String()
}
