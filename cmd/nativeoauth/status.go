package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
	// Profile is "" if no profile has this provider, client and account.
	Profile string `json:"profile,omitempty"`
	// Account is the name of the profile that has the session, or that of --account. It is
	// "" for the default profile.
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
	// SessionExpiry is when the refresh token expires, if the provider says so.
	SessionExpiry time.Time `json:"session_expiry,omitzero"`
	// LoginRequired says that the session is known to have ended. Every command that
	// needs it exits with 4.
	LoginRequired bool `json:"login_required"`
	// Store is "keychain", or "file" and a path.
	Store string `json:"store"`
}

// statusCmd works offline: what it shows is stored here.
func (a *app) statusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who is signed in, where, and until when",
		Long: `status lists the sessions that are stored here: those of every profile, or the one
of the profile that --profile names. It does not contact the provider, and prints no token.

It exits with 4 if a login is required, as the other commands with the same flags do: there is no
session, or it is known to have ended. Without flags that is about the session that nativeoauth
token would use. If that depends on a flag, it exits with 4 if every session has ended.`,
		Example: `  nativeoauth status
  nativeoauth status || nativeoauth login
  nativeoauth status --profile work --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			shown, meant, err := a.status(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				err = a.outputJSON(shown)
			} else if len(shown) > 0 {
				err = a.output(statusTable(shown))
			}
			if err != nil {
				return err
			}
			return a.loginRequired(shown, meant)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// loginRequired returns an error that matches ErrLoginRequired unless one of the
// sessions that the user means is alive.
func (a *app) loginRequired(shown, meant []statusRow) error {
	alive := func(r statusRow) bool { return !r.LoginRequired }
	if a.used != nil && a.used.Workload != "" {
		a.console.tell("With --workload %s no user signs in, and nothing is stored.", a.used.Workload)
		return nil
	}
	why := ""
	switch {
	case slices.ContainsFunc(meant, alive):
		return nil
	case len(meant) > 0:
		why = "the session has ended"
	case len(shown) > 0 && a.used != nil:
		why = "this session is not stored" + named(a.used.account())
	case a.used != nil && a.used.provider() != "":
		why = "nobody is signed in at " + a.used.provider()
	default:
		why = "nobody is signed in"
	}
	if len(meant) == 0 {
		return loginError{why + ": sign in"}
	}
	return loginError{why + ": sign in again"}
}

// status returns the sessions to show: that of the profile that the user named, those
// of a provider and client, or those of all profiles. The list is never nil. meant are
// the ones that another command with the same flags would use.
func (a *app) status(cmd *cobra.Command) (shown, meant []statusRow, err error) {
	if !a.namesOne(cmd) {
		if shown, meant, err = a.allRows(cmd); err == nil && cmd.Flags().Changed("account") {
			shown = only(shown, a.flags.account(defaultProfile))
			meant = shown
		}
		return shown, meant, err
	}
	s, err := a.resolve(cmd)
	if err != nil {
		return nil, nil, err
	}
	rows, err := a.rows(cmd.Context(), s)
	if err != nil {
		return nil, nil, err
	}
	meant = only(rows, s.account())
	if s.named && s.fromProfile || cmd.Flags().Changed("account") {
		return meant, meant, nil
	}
	return rows, meant, nil
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

// allRows lists the sessions of all profiles. meant is that of the profile that is
// used without flags, or all if there is none. A profile that cannot be read is a
// warning, unless there is nothing else to show.
func (a *app) allRows(cmd *cobra.Command) (shown, meant []statusRow, err error) {
	c, err := readConfig(a.env)
	if err != nil {
		return nil, nil, err
	}
	shown, failures := a.rowsOf(cmd, c)
	if len(shown) == 0 && len(failures) > 0 {
		return nil, nil, errors.Join(failures...)
	}
	for _, err := range failures {
		a.console.warn("%s", wire.SafeText(err.Error(), 1000))
	}
	if _, ok := c.Profiles[c.pick()]; !ok {
		return shown, shown, nil
	}
	if a.used, err = a.choose(c); err != nil {
		return nil, nil, err
	}
	a.used.fromProfile = true
	other := func(r statusRow) bool { return r.Profile != a.used.name }
	return shown, slices.DeleteFunc(slices.Clone(shown), other), nil
}

// rowsOf lists the session of each profile, and then those that no profile has. A
// profile that cannot be read adds to failures.
func (a *app) rowsOf(cmd *cobra.Command, c config) (shown []statusRow, failures []error) {
	shown = []statusRow{}
	// Profiles for several accounts of one client share a list. Its rows get the name
	// of their profile; those without one come last.
	lists := map[string][]statusRow{}
	var order []string
	for _, name := range c.names() {
		s := &settings{name: name, known: true, fromProfile: true}
		s.profile = c.Profiles[name]
		// --store looks into another store than the profile's, such as after a move.
		if cmd.Flags().Changed("store") {
			s.Store, s.KeyFile = a.flags.Store, a.flags.KeyFile
		}
		client := strings.Join([]string{s.provider(), s.ClientID, s.Store}, "\x00")
		if _, seen := lists[client]; !seen {
			order = append(order, client)
			rows, err := a.rows(cmd.Context(), s)
			if err != nil {
				failures = append(failures, fmt.Errorf("profile %s: %w", name, err))
			}
			lists[client] = rows
		}
		for i := range lists[client] {
			if row := &lists[client][i]; row.Account == s.account() {
				row.Profile = cmp.Or(row.Profile, name)
				own := *row
				own.Profile = name
				shown = append(shown, own)
			}
		}
	}
	for _, client := range order {
		for _, row := range lists[client] {
			if row.Profile == "" {
				shown = append(shown, row)
			}
		}
	}
	return shown, failures
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
	if s.nobodySignsIn() {
		return nil, nil
	}
	store, err := a.sessionStore(s)
	if err != nil {
		return nil, err
	}
	// The files may be gone, and the sessions can be listed without them.
	s.MetadataFile, s.CAFile = "", ""
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
			Expiry:        acc.Expiry.UTC().Truncate(time.Second),
			SessionExpiry: acc.SessionExpiry.UTC().Truncate(time.Second),
			Refreshable:   acc.Refreshable, LoginRequired: acc.LoginRequired, Store: acc.Store,
		}
		if s.named && s.known && s.fromProfile && acc.Name == s.account() {
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
		account := r.Account
		if account == r.Profile { // the profile's own
			account = ""
		}
		var lines [][]string
		for _, line := range [][]string{
			{"profile", r.Profile}, {"account", account}, {"user", user},
			{"provider", r.Issuer}, {"client", r.ClientID},
			{"scopes", strings.Join(r.Scopes, " ")},
			{"access token", tokenState(r)}, {"session", sessionState(r)}, {"kept in", r.Store},
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

// sessionState says how long the provider means to keep the session; "": it did not
// say, or the session has ended.
func sessionState(r statusRow) string {
	if r.LoginRequired || !r.SessionExpiry.After(time.Now()) {
		return ""
	}
	return fmt.Sprintf("until %s (%s), as the provider says", clock(r.SessionExpiry), left(r.SessionExpiry))
}

// tokenState says how long the access token is valid, and what follows.
func tokenState(r statusRow) string {
	expired := !r.Expiry.After(time.Now())
	switch { // the access token's expiry is known; that of the session is not
	case r.LoginRequired && expired && !r.Refreshable:
		return "expired; sign in again"
	case r.LoginRequired:
		return "the session has ended; sign in again"
	case expired:
		return "expired; it is refreshed at the next use"
	case r.Refreshable:
		return fmt.Sprintf("until %s (%s), then refreshed", clock(r.Expiry), left(r.Expiry))
	}
	return fmt.Sprintf("until %s (%s), then sign in again", clock(r.Expiry), left(r.Expiry))
}
