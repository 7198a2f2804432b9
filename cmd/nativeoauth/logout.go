package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// logoutCmd binds its flags to the SDK's LogoutOptions.
func (a *app) logoutCmd() *cobra.Command {
	var all bool
	var opts oauthclient.LogoutOptions
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Sign out: revoke the tokens and delete the session",
		Long: `logout deletes the session here, even if it cannot be read, and revokes its
tokens at the provider if the provider supports that. The profile stays, for the next login. Some
providers end all sessions of a user and client at once; logout names the others that are stored.

With --all, every account of this provider and client is signed out, and a client secret that a
login stored is deleted.

With --end-session and --return-path it waits until the browser comes back, for two minutes or for
--timeout. The client needs http://127.0.0.1/PATH as a post_logout_redirect_uri for that. Some
providers also need --id-token-hint, or a fixed port (--port of login).

It exits with 1 if the provider could not be told or did not confirm it. The session is deleted
here nevertheless.`,
		Example: `  nativeoauth logout
  nativeoauth logout --profile work --all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case all && cmd.Flags().Changed("account"):
				return usage("--all and --account cannot be combined")
			// These two have no effect without --end-session. Silence would suggest that
			// the provider's session has ended.
			case opts.ReturnPath != "" && !opts.EndSession:
				return usage("--return-path is for --end-session")
			case opts.IDTokenHint && !opts.EndSession:
				return usage("--id-token-hint is for --end-session")
			}
			return a.logout(cmd, all, &opts)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "sign out every account of this provider and client")
	cmd.Flags().BoolVar(&opts.EndSession, "end-session", false,
		"also end the provider's own session, in the browser")
	cmd.Flags().StringVar(&opts.ReturnPath, "return-path", "",
		"wait until the browser comes back to this `path` of a registered redirect URI")
	cmd.Flags().BoolVar(&opts.IDTokenHint, "id-token-hint", false,
		"send the ID token too, for providers that require it; it is then in the browser's history")
	return cmd
}

// logout signs out one account, or all of them. It must work even if the client secret
// or the session cannot be read: the user wants the session gone.
func (a *app) logout(cmd *cobra.Command, all bool, opts *oauthclient.LogoutOptions) error {
	s, err := a.resolve(cmd)
	if err != nil {
		return err
	}
	if s.nobodySignsIn() {
		a.console.say("Nobody was signed in at %s%s.", s.provider(), named(s.account()))
		return nil
	}
	ctx := cmd.Context()
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
		// A missing secret must not keep the user signed in here. The provider would
		// refuse a revocation that is not authenticated, so nothing is sent to it.
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
	// Only for the messages: Logout succeeds too if there is no session.
	if opts.ReturnPath != "" {
		a.console.tell("Opening your browser to sign out at %s. Waiting until it comes back to %s on "+
			"this machine, for %s at most.", s.provider(), opts.ReturnPath,
			short(cmp.Or(s.Timeout.duration(), 2*time.Minute)))
	}
	session, lookErr := c.Session(ctx, s.account())
	var gone oauthclient.Account // which Logout empties
	if lookErr == nil {
		gone = session.Account()
	}
	if err := out.account(ctx, c, s.account()); err != nil {
		return s.notBack(opts, err)
	}
	if errors.Is(lookErr, oauthclient.ErrLoginRequired) {
		a.console.say("Nobody was signed in at %s%s.", s.provider(), named(s.account()))
		return nil
	}
	a.console.say("Signed out at %s%s.", s.provider(), named(s.account()))
	if lookErr == nil && out.untold == nil {
		a.nameSiblings(ctx, s, c, gone)
	}
	return nil
}

// notBack adds to the error of a logout what the provider may need to send the browser
// back.
func (s *settings) notBack(opts *oauthclient.LogoutOptions, err error) error {
	if opts.ReturnPath == "" || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var needs []string
	if !opts.IDTokenHint {
		needs = append(needs, "--id-token-hint")
	}
	if s.Ports == nil {
		needs = append(needs, "--port (of login or profile set) with a registered port")
	}
	needs = append(needs, fmt.Sprintf("an address of this machine that ends in %s as "+
		"post_logout_redirect_uri of the client", opts.ReturnPath))
	return notBackError{err, "some providers need " + strings.Join(needs, ", or ")}
}

// notBackError is a logout whose browser did not come back. The session is gone here, so
// that trying again is no advice.
type notBackError struct {
	err  error
	hint string
}

func (e notBackError) Error() string { return e.err.Error() + "; " + e.hint }
func (e notBackError) Unwrap() error { return e.err }

// nameSiblings names the other sessions that the provider may have ended with the one
// of gone: many providers revoke all tokens of a user and client at once.
func (a *app) nameSiblings(
	ctx context.Context, s *settings, c *oauthclient.Client, gone oauthclient.Account,
) {
	accounts, err := c.Accounts(ctx)
	if err != nil {
		a.console.warn("whether other sessions ended too is not known: %s", err)
		return
	}
	conf, err := readConfig(a.env)
	if err != nil {
		return // the session is gone, and the next command says what is wrong
	}
	for _, acc := range accounts {
		if acc.Name == gone.Name || acc.Subject != gone.Subject || acc.LoginRequired {
			continue
		}
		name := named(acc.Name)
		for _, profile := range conf.names() {
			p := conf.Profiles[profile]
			if p.provider() == s.provider() && p.ClientID == s.ClientID &&
				p.account(profile) == acc.Name {
				name = fmt.Sprintf(" of profile %q", profile)
			}
		}
		a.console.tell("The provider may have ended the session%s too: "+
			"it is the same user and client.", name)
	}
}

// unsent is a transport that sends nothing. Each request fails with why.
type unsent struct{ why error }

func (u unsent) RoundTrip(*http.Request) (*http.Response, error) { return nil, u.why }

// logoutAll signs out every account, and deletes the client secret. One failure does
// not keep the others signed in.
func (a *app) logoutAll(
	ctx context.Context, s *settings, c *oauthclient.Client, out signingOut,
) error {
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
		a.console.say("Signed out%s at %s%s.", asWhom(acc), s.provider(), named(acc.Name))
	}
	if len(accounts) == 0 {
		a.console.say("Nobody was signed in at %s.", s.provider())
	}
	// The secret belongs to the client and not to an account, so it goes with the last
	// of them.
	if s.ClientSecretStored {
		store, err := a.openStore(s)
		if err == nil {
			err = store.Delete(ctx, secretKey(s))
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("the client secret was not deleted: %w", err))
		} else {
			s.stored.ClientSecretStored = false
			if err := remember(ctx, a.env, s.name, s.stored); err != nil {
				failures = append(failures, err)
			}
		}
	}
	return errors.Join(failures...)
}

// signingOut calls Logout. If the provider has no revocation endpoint, that is not
// an error: the user can do nothing about it.
type signingOut struct {
	app    *app
	opts   *oauthclient.LogoutOptions
	untold error // why nothing is sent to the provider; nil: it is told
}

// account signs out one account.
func (o signingOut) account(ctx context.Context, c *oauthclient.Client, account string) error {
	err := c.Logout(ctx, account, o.opts)
	switch {
	case !errors.Is(err, oauthclient.ErrNotRevoked):
		return err
	case o.untold != nil: // the reason is more useful than the failed request
		return fmt.Errorf("%w, as it was not told: %w", oauthclient.ErrNotRevoked, o.untold)
	case errors.Is(err, errors.ErrUnsupported):
		o.app.console.tell("The provider cannot revoke tokens: " +
			"the access token stays valid there until it expires.")
		return nil
	}
	return err
}

// named returns the account for a message; "" for the default account.
func named(account string) string {
	if account == "" {
		return ""
	}
	return fmt.Sprintf(" (account %q)", account)
}
