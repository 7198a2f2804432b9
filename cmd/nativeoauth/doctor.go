package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/browser"
	"github.com/nativeoauth/nativeoauth/internal/peer"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient/inspect"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// diagnosis is the output of doctor --json. It is made for bug reports, so it has no
// secret and no name of a user.
type diagnosis struct {
	Version string    `json:"version"`
	System  string    `json:"system"`
	Checks  []checkup `json:"checks"`
}

// checkup is the result of one check.
type checkup struct {
	Check   string        `json:"check"`
	Verdict inspect.Level `json:"verdict"`
	Text    string        `json:"text"`
	// Next is what the user can do; "": nothing.
	Next string `json:"next,omitempty"`
}

// doctor collects the results.
type doctor struct {
	*app
	checks []checkup
}

// doctorCmd looks at all that a sign-in and a session depend on.
func (a *app) doctorCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what a sign-in needs on this machine",
		Long: `doctor checks the configuration, the store of the sessions, the browser, the
listener on this machine, proxy and certificates, the provider of the profile and its clock, and the
sessions that are stored. Each check has a verdict (ok, note, warning or problem) and the next step.
Nobody is signed in, and no token is used or refreshed. A locked keychain may prompt. With --workload
it checks what gets tokens without a user, in place of store, browser and listener.

With --json the output is fit for a bug report: it has no secrets and no names of users. It names
the provider.

It exits with 1 if there is a problem.`,
		Example: `  nativeoauth doctor
  nativeoauth doctor --profile work --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{app: a}
			if err := d.examine(cmd); err != nil {
				return err
			}
			text := d.table()
			if asJSON {
				var err error
				if text, err = jsonText(diagnosis{
					version(), runtime.GOOS + "/" + runtime.GOARCH, d.checks,
				}); err != nil {
					return err
				}
			}
			if err := a.output(text); err != nil {
				return err
			}
			problem := func(c checkup) bool { return c.Verdict == inspect.Problem }
			if slices.ContainsFunc(d.checks, problem) {
				return errSaid
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// examine makes the checks. Its error is that of wrong flags, or of an interruption.
func (d *doctor) examine(cmd *cobra.Command) error {
	s, err := d.resolve(cmd)
	if errors.As(err, new(usageError)) && (s == nil || s.named || s.provider() != "") {
		return err
	}
	if s == nil {
		d.failed("configuration", err)
		s = &settings{}
		s.Store, s.KeyFile = d.givenText(cmd, "store"), d.givenText(cmd, "key-file")
	} else {
		d.configuration(cmd)
	}
	ctx := cmd.Context()
	if s.Workload != "" { // nobody signs in, and nothing is stored
		d.platform(ctx, s)
	} else {
		d.store(ctx, s)
		d.browser()
		d.loopback(ctx)
	}
	d.proxy(s)
	if err := d.provider(cmd, s); err != nil {
		return err
	}
	return ctx.Err()
}

// add adds a result. Its text and the next step are separated by "; ", as in the
// errors.
func (d *doctor) add(check string, verdict inspect.Level, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, name := range []string{"HOME", "USERPROFILE"} {
		if home := d.env[name]; len(home) > 1 { // it has the name of the user
			text = strings.ReplaceAll(text, home, "~")
		}
	}
	text, next, _ := strings.Cut(wire.SafeText(text, 2000), "; ")
	d.checks = append(d.checks, checkup{check, verdict, text, next})
}

// failed adds a problem.
func (d *doctor) failed(check string, err error) {
	d.add(check, inspect.Problem, "%s", d.explain(err))
}

// configuration counts the profiles, and looks at their sessions.
func (d *doctor) configuration(cmd *cobra.Command) {
	path, _ := configPath(d.env) // it was read from there
	c, err := readConfig(d.env)
	if err != nil {
		d.failed("configuration", err)
		return
	}
	d.add("configuration", inspect.OK, "%d profiles in %s", len(c.Profiles), path)
	rows, failures := d.rowsOf(cmd, c)
	for _, err := range failures {
		d.failed("session", err)
	}
	for _, r := range rows {
		flag := ""
		if r.Profile == "" {
			flag = " --account " + quote(cmp.Or(r.Account, defaultProfile))
		} else if r.Profile != defaultProfile {
			flag = " --profile " + quote(r.Profile)
		}
		where := fmt.Sprintf("of profile %q", r.Profile)
		if r.Profile == "" {
			where = "without a profile"
		}
		if r.LoginRequired {
			d.add("session", inspect.Warning, "the one %s has ended; run: nativeoauth login%s",
				where, flag)
		} else {
			d.add("session", inspect.OK, "the one %s is stored", where)
		}
	}
	if len(rows) == 0 && len(failures) == 0 && d.used.Workload == "" {
		d.add("session", inspect.Note, "none is stored; run: %s", d.loginCommand())
	}
}

// platform asks the job's or pod's platform for a token, which is not sent anywhere.
func (d *doctor) platform(ctx context.Context, s *settings) {
	w, err := d.workload(s)
	if err != nil {
		d.failed("workload", err)
		return
	}
	audience := cmp.Or(w.Audience, s.Issuer)
	if audience == "" && s.MetadataFile != "" { // a profile that was written by hand
		m, err := readMetadata(s.MetadataFile)
		if err != nil {
			d.failed("workload", err)
			return
		}
		audience = m.Issuer
	}
	for _, ask := range []func(context.Context, string) (string, error){
		w.ClientAssertion, w.GrantAssertion, w.SubjectToken,
	} {
		if ask == nil {
			continue
		}
		if _, err := ask(ctx, audience); err != nil {
			d.failed("workload", err)
			return
		}
		d.add("workload", inspect.OK, "the platform issues a token for %s, as %s", audience, s.Workload)
		return
	}
	d.add("workload", inspect.OK, "the client's own secret or key is used")
}

// store tries the store of the profile, and with it the state directory.
func (d *doctor) store(ctx context.Context, s *settings) {
	name := cmp.Or(s.Store, storeKeychain)
	if name == storeFile && s.KeyFile == "" {
		d.add(name, inspect.Note, "the sealed file has a passphrase, which is not tried here")
		return
	}
	store, err := d.openStore(s)
	if err == nil {
		if p, ok := store.(tokenstore.Prober); ok {
			err = p.Probe(ctx)
		}
	}
	if err != nil {
		d.failed(name, err)
		return
	}
	d.add(name, inspect.OK, "a session can be stored")
}

// browser says how a user would be reached.
func (d *doctor) browser() {
	none := browser.Available()
	ways := browser.Detect(browser.Source{}).Choose(browser.Capabilities{
		NoBrowser: none, Instruct: true, Device: true,
	})
	switch {
	case ways.Browser:
		d.add("browser", inspect.OK, "login opens it: %s", ways.Why)
	case none != nil:
		d.add("browser", inspect.Note, "login opens none: %s", d.explain(none))
	default:
		d.add("browser", inspect.Note,
			"login opens none: %s; to open it nevertheless: nativeoauth login --browser", ways.Why)
	}
}

// loopback listens as a login does, and connects to that.
func (d *doctor) loopback(ctx context.Context) {
	var failures []error
	for _, ip := range []string{"127.0.0.1", "::1"} {
		user, err := reachLoopback(ctx, ip)
		switch {
		case err != nil:
			failures = append(failures, err)
			d.add("loopback", inspect.Note, "%s cannot be used: %v", ip, err)
		case user == peer.SameUser:
			d.add("loopback", inspect.OK, "%s works, and other users of this machine are refused", ip)
		default:
			d.add("loopback", inspect.Note, "%s works, but the system does not say "+
				"which user connects, so other users of this machine can reach it", ip)
		}
	}
	if len(failures) == 2 {
		d.add("loopback", inspect.Problem, "no browser can come back to this machine; "+
			"allow connections within it, or sign in with: nativeoauth login --device")
	}
}

// reachLoopback listens at a free port of ip and connects to it. It returns which user
// the system says has connected.
func reachLoopback(ctx context.Context, ip string) (peer.User, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return peer.Unknown, err
	}
	defer l.Close()
	out, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return peer.Unknown, err
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		return peer.Unknown, err
	}
	defer in.Close()
	local, err := netip.ParseAddrPort(in.LocalAddr().String())
	if err != nil {
		return peer.Unknown, err
	}
	remote, err := netip.ParseAddrPort(in.RemoteAddr().String())
	if err != nil {
		return peer.Unknown, err
	}
	return peer.Owner(local, remote), nil
}

// proxy says which proxy and certificates requests use. The URL of a proxy may have a
// password, so only its host is shown, and no error that quotes it.
func (d *doctor) proxy(s *settings) {
	target, err := url.Parse(cmp.Or(s.provider(), "https://login.example.com"))
	if err != nil {
		return // the checks of the provider report it
	}
	set := d.env["HTTPS_PROXY"] + d.env["https_proxy"]
	switch proxy, err := http.ProxyFromEnvironment(&http.Request{URL: target}); {
	case err == nil && proxy != nil:
		d.add("proxy", inspect.Note, "%s", proxy.Host)
	case set != "": // net/http ignores a proxy that is not a URL
		d.add("proxy", inspect.Note, "none for %s, although HTTPS_PROXY is set; "+
			"check it and NO_PROXY if that is not meant", target.Host)
	default:
		d.add("proxy", inspect.OK, "none for %s", target.Host)
	}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if d.env[name] != "" {
			d.add("certificates", inspect.Note, "%s replaces the system's on some systems", name)
		}
	}
	if _, err := s.transport(); err != nil {
		d.failed("certificates", err)
	} else if s.CAFile != "" {
		d.add("certificates", inspect.OK, "those in %s are trusted too", s.CAFile)
	}
}

// provider asks the provider for its metadata; the answer tells about the connection
// and the clock.
func (d *doctor) provider(cmd *cobra.Command, s *settings) error {
	if s.Issuer == "" {
		d.add("provider", inspect.Note, "none was asked, so the clock was not compared; "+
			"give --issuer or --profile")
		return nil
	}
	opts := inspect.Options{
		TenantIssuer: s.TenantIssuer, MetadataURL: s.MetadataURL, AllowPrivate: s.AllowPrivate,
	}
	var err error
	if opts.Metadata, err = s.metadata(); err != nil {
		d.failed("metadata", err)
		return nil
	}
	_ = s.reach(&opts) // proxy has reported its error
	r, err := inspect.Provider(cmd.Context(), s.Issuer, &opts)
	if err != nil {
		return err
	}
	found := r.Ready
	for _, f := range r.Findings {
		if slices.Contains([]string{"metadata", "TLS", "certificate", "clock"}, f.Area) {
			d.add(f.Area, f.Level, "%s", f.Text)
			found = found || f.Level == inspect.Problem
		}
	}
	if !found && s.Workload == "" { // it is none of the above, and about a user's sign-in
		d.add("provider", inspect.Warning, "%s has faults; run: nativeoauth inspect %s",
			s.Issuer, quote(s.Issuer))
	}
	return nil
}

// table returns the results as inspect shows its own.
func (d *doctor) table() string {
	findings := make([]inspect.Finding, len(d.checks))
	for i, c := range d.checks {
		text := c.Text
		if c.Next != "" {
			text += "; " + c.Next
		}
		findings[i] = inspect.Finding{Area: c.Check, Level: c.Verdict, Text: text}
	}
	return findingsTable(d.app, findings)
}
