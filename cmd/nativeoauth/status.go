package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// statusRow is one session, as --json shows it.
type statusRow struct {
	Profile     string    `json:"profile,omitempty"`
	Account     string    `json:"account"`
	Issuer      string    `json:"issuer"`
	ClientID    string    `json:"client_id"`
	Subject     string    `json:"subject,omitempty"`
	Username    string    `json:"username,omitempty"`
	Scopes      []string  `json:"scopes"`
	Expiry      time.Time `json:"expiry"` // of the access token
	Refreshable bool      `json:"refreshable"`
	Store       string    `json:"store"`
}

func (a *app) statusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who is signed in, where, and until when",
		Long: `status lists the sessions that are kept here: those of every profile, or of the one that is named. It asks no provider and prints no token.
It exits with 4 where there is none.`,
		Example: `  nativeoauth status
  nativeoauth status --profile work --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows, err := a.status(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				if rows == nil {
					rows = []statusRow{}
				}
				if err := a.outputJSON(rows); err != nil {
					return err
				}
			} else if len(rows) > 0 {
				if err := a.output(statusTable(rows)); err != nil {
					return err
				}
			}
			if len(rows) == 0 {
				return fmt.Errorf("nobody is signed in%s: %w", a.where(), oauthclient.ErrLoginRequired)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) where() string {
	if a.used == nil || a.used.place() == "" {
		return ""
	}
	return " at " + a.used.place()
}

// status lists the sessions of one provider and client if any was named, else those of all profiles.
func (a *app) status(cmd *cobra.Command) ([]statusRow, error) {
	ctx := cmd.Context()
	one := false
	for flag, variable := range map[string]string{
		"profile": "NATIVEOAUTH_PROFILE", "issuer": "NATIVEOAUTH_ISSUER", "client-id": "NATIVEOAUTH_CLIENT_ID",
	} {
		one = one || cmd.Flags().Changed(flag) || a.env[variable] != ""
	}
	if one {
		s, err := a.resolve(cmd)
		if err != nil {
			return nil, err
		}
		rows, err := a.rows(ctx, s)
		if cmd.Flags().Changed("account") {
			rows = only(rows, s.Account)
		}
		return rows, err
	}
	c, err := readConfig(a.env)
	if err != nil {
		return nil, err
	}
	var rows []statusRow
	var failures []error
	seen := map[string]string{}
	for _, name := range c.names() {
		s := &settings{profile: c.Profiles[name], name: name, known: true, fromProfile: true}
		if cmd.Flags().Changed("store") {
			s.Store, s.KeyFile = a.flags.Store, a.flags.KeyFile
		}
		place := strings.Join([]string{s.place(), s.ClientID, s.Store}, "\x00")
		if _, again := seen[place]; again {
			continue // profiles for several accounts of one client
		}
		seen[place] = name
		more, err := a.rows(ctx, s)
		if err != nil {
			failures = append(failures, fmt.Errorf("profile %s: %w", name, err))
		}
		rows = append(rows, more...)
	}
	if len(rows) == 0 && len(failures) > 0 {
		return nil, errors.Join(failures...)
	}
	for _, err := range failures {
		a.console.warn("%s", wire.SafeText(err.Error(), 1000))
	}
	if cmd.Flags().Changed("account") {
		rows = only(rows, a.flags.Account)
	}
	return rows, nil
}

func only(rows []statusRow, account string) []statusRow {
	var kept []statusRow
	for _, r := range rows {
		if r.Account == account {
			kept = append(kept, r)
		}
	}
	return kept
}

func (a *app) rows(ctx context.Context, s *settings) ([]statusRow, error) {
	store, err := a.openStore(s)
	if err != nil {
		return nil, err
	}
	s.MetadataFile = "" // nor is anything but the session's place of interest
	cfg, err := a.publicConfig(s, store)
	if err != nil {
		return nil, err
	}
	c, err := oauthclient.New(cfg)
	if err != nil {
		return nil, usageError{err}
	}
	defer a.close(c)
	accounts, err := c.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]statusRow, len(accounts))
	for i, acc := range accounts {
		rows[i] = statusRow{
			Account: acc.Name, Issuer: acc.Issuer, ClientID: s.ClientID, Subject: acc.Subject, Username: acc.Username,
			Scopes: acc.Scopes, Expiry: acc.Expiry.UTC().Truncate(time.Second), Refreshable: acc.Refreshable, Store: acc.Store,
		}
		if s.known && s.fromProfile {
			rows[i].Profile = s.name
		}
		if rows[i].Scopes == nil {
			rows[i].Scopes = []string{}
		}
	}
	return rows, nil
}

// statusTable is a block of lines for each session, which a narrow terminal and a screen reader can take.
func statusTable(rows []statusRow) string {
	var b strings.Builder
	for i, r := range rows {
		if i > 0 {
			b.WriteString("\n")
		}
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		line := func(name, value string) {
			if value != "" {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", name, wire.SafeText(value, 500))
			}
		}
		who := r.Username
		switch {
		case who == "":
			who = r.Subject
		case r.Subject != "" && r.Subject != who:
			who += " (" + r.Subject + ")"
		}
		line("profile", r.Profile)
		line("account", r.Account)
		line("user", who)
		line("provider", r.Issuer)
		line("client", r.ClientID)
		line("scopes", strings.Join(r.Scopes, " "))
		line("access token", tokenState(r))
		line("kept in", r.Store)
		_ = w.Flush()
	}
	return b.String()
}

func tokenState(r statusRow) string {
	expired := !r.Expiry.After(time.Now())
	switch {
	case expired && r.Refreshable:
		return "expired; refreshed at the next use"
	case expired:
		return "expired; sign in again"
	case r.Refreshable:
		return fmt.Sprintf("until %s (%s), then refreshed", clock(r.Expiry), left(r.Expiry))
	}
	return fmt.Sprintf("until %s (%s), then sign in again", clock(r.Expiry), left(r.Expiry))
}
