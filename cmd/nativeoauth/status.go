package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// statusRow is one session in the output of --json. Scripts read it: a member keeps
// its name and meaning.
type statusRow struct {
	// Profile is "" if no profile has this provider and client.
	Profile string `json:"profile,omitempty"`
	// Account is "" for the default account.
	Account  string `json:"account"`
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
	// Subject is the sub of the ID token; "" without one.
	Subject string `json:"subject,omitempty"`
	// Username is for showing. Only Subject identifies the user.
	Username string `json:"username,omitempty"`
	// Scopes are those that were granted, not those that were requested.
	Scopes []string `json:"scopes"`
	// Expiry is that of the access token.
	Expiry time.Time `json:"expiry"`
	// Refreshable says that there is a refresh token. It may have expired.
	Refreshable bool `json:"refreshable"`
	// Store is "keychain", or "file" and a path.
	Store string `json:"store"`
}

// statusCmd works offline: what it shows is stored here.
func (a *app) statusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who is signed in, where, and until when",
		Long: `status lists the sessions that are stored here: those of every profile, or of the
one that --profile names. It does not contact the provider, and prints no token.

It exits with 4 if there is no session.`,
		Example: `  nativeoauth status
  nativeoauth status --profile work --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows, err := a.status(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				err = a.outputJSON(rows)
			} else if len(rows) > 0 {
				err = a.output(statusTable(rows))
			}
			if err == nil && len(rows) == 0 {
				err = fmt.Errorf("nobody is signed in%s: %w",
					a.atProvider(), oauthclient.ErrLoginRequired)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// atProvider returns " at " and the provider, if the user named one.
func (a *app) atProvider() string {
	if a.used == nil || a.used.provider() == "" {
		return ""
	}
	return " at " + a.used.provider()
}

// status lists the sessions of one provider and client if the user named one,
// else those of all profiles. The list is never nil.
func (a *app) status(cmd *cobra.Command) ([]statusRow, error) {
	rows, account := []statusRow{}, a.flags.Account
	if a.namesOne(cmd) {
		s, err := a.resolve(cmd)
		if err != nil {
			return nil, err
		}
		if rows, err = a.rows(cmd.Context(), s); err != nil {
			return nil, err
		}
		account = s.Account
	} else {
		var err error
		if rows, err = a.allRows(cmd); err != nil {
			return nil, err
		}
	}
	if cmd.Flags().Changed("account") {
		rows = only(rows, account)
	}
	return rows, nil
}

// namesOne reports whether the user named a profile, a provider or a client.
func (a *app) namesOne(cmd *cobra.Command) bool {
	if cmd.Flags().Changed("profile") || a.env["NATIVEOAUTH_PROFILE"] != "" {
		return true
	}
	for _, row := range a.flags.table() {
		if row.identity && a.given(cmd, row.flag) != nil {
			return true
		}
	}
	return false
}

// allRows lists the sessions of all profiles. A profile that cannot be read is a
// warning, unless there is nothing else to show.
func (a *app) allRows(cmd *cobra.Command) ([]statusRow, error) {
	c, err := readConfig(a.env)
	if err != nil {
		return nil, err
	}
	rows := []statusRow{}
	var failures []error
	seen := map[string]bool{}
	for _, name := range c.names() {
		s := &settings{name: name, known: true, fromProfile: true}
		s.profile = c.Profiles[name]
		// --store looks into another store than the profile's, such as after a move.
		if cmd.Flags().Changed("store") {
			s.Store, s.KeyFile = a.flags.Store, a.flags.KeyFile
		}
		// Profiles for several accounts of one client list the same sessions.
		client := strings.Join([]string{s.provider(), s.ClientID, s.Store}, "\x00")
		if seen[client] {
			continue
		}
		seen[client] = true
		more, err := a.rows(cmd.Context(), s)
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
	return rows, nil
}

// only returns the rows of one account.
func only(rows []statusRow, account string) []statusRow {
	kept := []statusRow{}
	for _, r := range rows {
		if r.Account == account {
			kept = append(kept, r)
		}
	}
	return kept
}

// rows lists the sessions of one provider and client.
func (a *app) rows(ctx context.Context, s *settings) ([]statusRow, error) {
	store, err := a.openStore(s)
	if err != nil {
		return nil, err
	}
	s.MetadataFile = "" // the file may be gone, and the sessions can be listed without it
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
			Account: acc.Name, Issuer: acc.Issuer, ClientID: s.ClientID,
			Subject: acc.Subject, Username: acc.Username, Scopes: acc.Scopes,
			Expiry:      acc.Expiry.UTC().Truncate(time.Second),
			Refreshable: acc.Refreshable, Store: acc.Store,
		}
		if s.known && s.fromProfile {
			rows[i].Profile = s.name
		}
		if rows[i].Scopes == nil { // [] in JSON, and not null
			rows[i].Scopes = []string{}
		}
	}
	return rows, nil
}

// statusTable returns a block of lines for each session. Unlike columns, blocks
// fit a narrow terminal and are easy to follow with a screen reader.
func statusTable(rows []statusRow) string {
	var b strings.Builder
	for i, r := range rows {
		if i > 0 {
			b.WriteString("\n")
		}
		user := r.Username
		switch {
		case user == "":
			user = r.Subject
		case r.Subject != "" && r.Subject != user:
			user += " (" + r.Subject + ")"
		}
		var lines [][]string
		for _, line := range [][]string{
			{"profile", r.Profile}, {"account", r.Account}, {"user", user},
			{"provider", r.Issuer}, {"client", r.ClientID},
			{"scopes", strings.Join(r.Scopes, " ")},
			{"access token", tokenState(r)}, {"kept in", r.Store},
		} {
			if line[1] != "" {
				lines = append(lines, line)
			}
		}
		b.WriteString(columns(lines))
	}
	return b.String()
}

// columns aligns the cells of the rows, and makes them safe to show. Package
// text/tabwriter aligns too, but makes the binary 8 kB larger.
func columns(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			row[i] = wire.SafeText(cell, 500)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			if i < len(row)-1 { // no spaces at the end of a line
				cell += strings.Repeat(" ", widths[i]+2-utf8.RuneCountInString(cell))
			}
			b.WriteString(cell)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// tokenState says how long the access token is valid, and what follows.
func tokenState(r statusRow) string {
	expired := !r.Expiry.After(time.Now())
	switch { // the access token's expiry is known; that of the session is not
	case expired && r.Refreshable:
		return "expired; it is refreshed at the next use"
	case expired:
		return "expired; sign in again"
	case r.Refreshable:
		return fmt.Sprintf("until %s (%s), then refreshed", clock(r.Expiry), left(r.Expiry))
	}
	return fmt.Sprintf("until %s (%s), then sign in again", clock(r.Expiry), left(r.Expiry))
}
