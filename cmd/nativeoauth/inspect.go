package main

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient/inspect"
)

// inspectCmd prints the report of package inspect. It needs no session and no client.
func (a *app) inspectCmd() *cobra.Command {
	var asJSON bool
	var opts inspect.Options
	cmd := &cobra.Command{
		Use:   "inspect [ISSUER]",
		Short: "Show what a provider can do, and what is wrong with it",
		Long: `inspect reads the metadata that a provider publishes, checks them as a login
does, and shows what a native program can use. Nobody is signed in.

With --client-id it also tries whether the authorization endpoint accepts a redirect URI with any
port of 127.0.0.1 for that client. Without ISSUER, provider and client are those of --issuer or of
the profile, and a metadata file of the profile takes the place of what the provider publishes.

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
			if !r.Ready { // the report says why, so there is nothing to add
				return errSaid
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().StringVar(&opts.TenantIssuer, "tenant-issuer", "",
		a.flags.setting("tenant-issuer").usage)
	cmd.Flags().StringVar(&opts.MetadataURL, "metadata-url", "",
		a.flags.setting("metadata-url").usage)
	cmd.Flags().StringVar(&opts.RedirectPath, "redirect-path", "",
		"`path` of the redirect URI to try with --client-id (default /callback)")
	return cmd
}

// inspected returns the issuer to inspect, and adds to opts what the profile has
// about its client.
func (a *app) inspected(cmd *cobra.Command, args []string, opts *inspect.Options) (string, error) {
	opts.ClientID = a.flags.ClientID
	issuer := a.flags.Issuer
	switch byFlag := cmd.Flags().Changed("issuer"); {
	case len(args) == 1 && byFlag:
		return "", usage("give ISSUER or --issuer, not both")
	case len(args) == 1 || byFlag:
		if len(args) == 1 {
			issuer = args[0]
		}
		given := &settings{}
		given.CAFile = a.givenText(cmd, "ca-file")
		if err := given.reach(opts); err != nil {
			return "", err
		}
		return issuer, a.limit(cmd, a.flags.Timeout.duration())
	}
	// Neither ISSUER nor --issuer: the profile, with its client and its concessions.
	s, err := a.resolve(cmd)
	if err != nil {
		return "", err
	}
	if s.Issuer == "" {
		return "", usage("which provider? The profile names only the resource %s; give ISSUER",
			s.provider())
	}
	if err := s.reach(opts); err != nil {
		return "", err
	}
	if opts.Metadata, err = s.metadata(); err != nil {
		return "", err
	}
	opts.ClientID = s.ClientID
	opts.RedirectPath = cmp.Or(opts.RedirectPath, s.RedirectPath)
	opts.TenantIssuer = cmp.Or(opts.TenantIssuer, s.TenantIssuer)
	opts.MetadataURL = cmp.Or(opts.MetadataURL, s.MetadataURL)
	opts.AllowPrivate = s.AllowPrivate
	return s.Issuer, nil
}

// reach makes an inspection use --ca-file.
func (s *settings) reach(opts *inspect.Options) error {
	transport, err := s.transport()
	if transport != nil {
		opts.Transport = transport
	}
	return err
}

// inspectTable returns the report in columns. The level is a word and not a colour:
// the report may go to a pipe or to a screen reader.
func inspectTable(a *app, r *inspect.Report) string {
	table := findingsTable(a, r.Findings)
	if r.Ready {
		return table + "\nA native program can sign in here safely.\n"
	}
	return table + "\nA native program cannot sign in here safely: see the problems above.\n"
}

func findingsTable(a *app, findings []inspect.Finding) string {
	wide := 0
	for _, f := range findings {
		wide = max(wide, utf8.RuneCountInString(f.Area))
	}
	var b strings.Builder
	indent := strings.Repeat(" ", wide+11) // the columns of level and area
	for _, f := range findings {
		lines := wrap(f.Text, a.console.width()-len(indent))
		fmt.Fprintf(&b, "%-7s  %-*s  %s\n", f.Level, wide, f.Area, strings.Join(lines, "\n"+indent))
	}
	return b.String()
}
