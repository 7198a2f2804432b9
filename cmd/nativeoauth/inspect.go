package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/cmd/nativeoauth/internal/inspect"
)

func (a *app) inspectCmd() *cobra.Command {
	var asJSON bool
	var path string
	cmd := &cobra.Command{
		Use:   "inspect ISSUER",
		Short: "Show what a provider can do, and what is wrong with it",
		Long: `inspect reads what a provider publishes about itself, checks it as a login would, and says what a native program can do with it. Nobody is
signed in. With --client-id it also asks the authorization endpoint whether that client may come back to any port of 127.0.0.1.

It exits with 0 if a native program can sign in safely, else with 1.`,
		Example: `  nativeoauth inspect https://accounts.google.com
  nativeoauth inspect https://login.example.com --client-id my-cli --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := inspect.Provider(cmd.Context(), args[0], inspect.Options{ClientID: a.flags.ClientID, RedirectPath: path})
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
	cmd.Flags().StringVar(&path, "redirect-path", "", "the path of the redirect URI that --client-id is tried with (default /callback)")
	return cmd
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
		lines := wrap(f.Text, a.person.width()-len(indent))
		fmt.Fprintf(&b, "%-7s  %-*s  %s\n", f.Level, wide, f.Area, strings.Join(lines, "\n"+indent))
	}
	if r.Ready {
		b.WriteString("\nA native program can sign in here safely.\n")
	} else {
		b.WriteString("\nA native program cannot sign in here safely: see the problems above.\n")
	}
	return b.String()
}
