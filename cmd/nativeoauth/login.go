package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/securefile"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/internal/words"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// loginFlags say how one login runs. They are neither settings nor kept.
type loginFlags struct {
	demo      bool // all other flags are ignored then
	ifNeeded  bool
	noBrowser bool // at most one of noBrowser, device and browser is set;
	device    bool // none: the SDK chooses by what the machine has
	browser   bool
	trace     bool
	traceFile string // "": none
}

// loginCmd defines the flags of login. Those of the settings come from the table.
func (a *app) loginCmd() *cobra.Command {
	var l loginFlags
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Sign in with your browser",
		Long: `login opens the provider's sign-in page in your browser, waits until you have
signed in, verifies the provider's answer, and stores the session.

The settings are remembered under the profile, so that later commands and the next login need no
flags. A profile never holds a secret.

Without --scope, login requests openid, and offline_access if the provider supports it.

What it says on the way is in the language of LC_ALL, LC_MESSAGES or LANG: English, German, Spanish,
French, Japanese or simplified Chinese. Errors are in English.`,
		Example: `  nativeoauth login --demo
  nativeoauth login --issuer https://login.example.com --client-id my-cli
  nativeoauth login --profile work --issuer https://login.example.com --client-id my-cli \
    --scope openid --scope email
  nativeoauth login --no-browser     # the browser is on another machine
  nativeoauth login --if-needed      # in a script, before a command that needs the session
  nativeoauth login --client-secret-file - < secret`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l.demo {
				return a.demo(cmd.Context())
			}
			return a.login(cmd, l)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&l.demo, "demo", false,
		"show a complete sign-in on this machine, at a provider made for it")
	f.BoolVar(&l.ifNeeded, "if-needed", false,
		"do nothing if there is a session that works and has every --add-scope; several "+
			"at once make one login")
	f.BoolVar(&l.noBrowser, "no-browser", false,
		"show the address, and read the address at which a browser on another machine ends")
	f.BoolVar(&l.browser, "browser", false,
		"open the browser on this machine, even over SSH or in a container")
	f.BoolVar(&l.device, "device", false, "sign in on another device with a code (RFC 8628)")
	f.BoolVar(&l.trace, "trace", false, "show each request and response, with secrets masked")
	f.StringVar(&l.traceFile, "trace-file", "", "`file` to write the trace to, as JSON lines")
	a.bind(f, keepsProfile)
	a.bind(f, loginAlone)
	return cmd
}

// check refuses flags that contradict each other before anything is read or sent.
func (l *loginFlags) check() error {
	switch {
	case l.noBrowser && l.device:
		return usage("--no-browser and --device cannot be combined: choose one")
	case l.browser && (l.noBrowser || l.device):
		return usage("--browser cannot be combined with --no-browser or --device")
	}
	return nil
}

// flow returns the flow that the user chose. Zero lets the SDK choose.
func (l *loginFlags) flow() oauthclient.Flow {
	switch {
	case l.browser:
		return oauthclient.FlowBrowser
	case l.noBrowser:
		return oauthclient.FlowPaste
	case l.device:
		return oauthclient.FlowDevice
	}
	return 0
}

// login signs a user in. Everything that can fail without the user is done before the
// browser opens: the settings, the store, the secret, the trace file, the provider's
// metadata.
func (a *app) login(cmd *cobra.Command, l loginFlags) error {
	if err := l.check(); err != nil {
		return err
	}
	s, err := a.resolve(cmd)
	if err != nil {
		return err
	}
	if err := s.checkUser(); err != nil {
		return err
	}
	store, err := a.openStore(s)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	cfg, err := a.config(ctx, s, store)
	if err != nil {
		return err
	}
	// From here on the clock runs: --timeout includes the provider's answers.
	if err := a.limit(cmd, cmp.Or(s.Timeout.duration(), 5*time.Minute)); err != nil {
		return err
	}
	ctx = cmd.Context()
	trace, err := a.newTracer(l, cfg.Transport)
	if err != nil {
		return err
	}
	if trace != nil {
		defer trace.close()
		cfg.Transport = trace
	}
	if s.Scopes == nil && len(s.Resources) == 0 {
		if err := a.chooseScopes(ctx, s, &cfg); err != nil {
			return err
		}
	}
	ui := newLoginUI(a.console, a.pasted(s, l), trace)
	cfg.UI = ui.ui()
	c, err := oauthclient.New(cfg)
	if err != nil {
		return usageError{err}
	}
	defer a.close(c)
	s.login.Account, s.login.Flow = s.account(), l.flow()
	signIn := c.Login
	if l.ifNeeded {
		signIn = c.SessionOrLogin
	}
	session, err := signIn(ctx, &s.login)
	ui.done() // before the next line is printed
	if err != nil {
		return err
	}
	s.Scopes = cfg.Scopes // the profile keeps what chooseScopes found
	return a.signedIn(ctx, s, store, c, session.Account(), ui.prompted.Load())
}

// pasted returns the stream that a pasted address comes from; nil: none. Standard
// input that holds the client secret, or that a script feeds, is not read. With
// --no-browser there is no other way to sign in, so a script may paste too.
func (a *app) pasted(s *settings, l loginFlags) io.Reader {
	if s.ClientSecretFile != "-" && (l.noBrowser || interactive(a.stdin)) {
		return a.stdin
	}
	return nil
}

// signedIn reports a login, and keeps its settings and client secret. now is false if
// the user was not prompted, because there was a session.
func (a *app) signedIn(
	ctx context.Context, s *settings, store tokenstore.Store,
	c *oauthclient.Client, acc oauthclient.Account, now bool,
) error {
	say := a.console.words
	text, as := say.SignedIn, ""
	if !now {
		text = say.Already
	}
	if who := whom(acc); who != "" {
		as = words.Fill(say.As, "user", who)
	}
	a.console.sayIn(text, "as", as, "issuer", acc.Issuer)
	if s.Store == storeMemory {
		// The tokens are lost with this process, so they must not stay valid at the provider.
		a.console.sayIn(say.Memory)
		return signingOut{app: a}.account(ctx, c, s.account())
	}
	if s.ClientSecretFile == "-" {
		if err := store.Put(ctx, secretKey(s), []byte(s.secret.Reveal())); err != nil {
			return fmt.Errorf("you are signed in, but the client secret was not stored, "+
				"and the session cannot be refreshed without it: %w", err)
		}
		s.ClientSecretFile, s.ClientSecretStored = "", true
	}
	keyGoes := isStream(s.KeyFile)
	if keyGoes {
		s.KeyFile = ""
	}
	if err := remember(ctx, a.env, s.name, s.kept()); err != nil {
		return fmt.Errorf("you are signed in, but the profile was not written: %w", err)
	}
	a.kept(s, acc, keyGoes)
	return nil
}

// kept says where the session is and what comes next. keyGoes means that the profile
// does not keep the key.
func (a *app) kept(s *settings, acc oauthclient.Account, keyGoes bool) {
	say, profile := a.console.words, ""
	if s.name != defaultProfile {
		profile = words.Fill(say.Profile, "name", strconv.Quote(s.name))
	}
	a.console.sayIn(say.Kept, "store", acc.Store, "profile", profile)
	if keyGoes {
		a.console.sayIn(say.NoKey)
	}
	if acc.Refreshable {
		a.console.sayIn(say.Refreshed, "command", "nativeoauth token"+profileFlag(s))
		return
	}
	end := say.UnknownTime
	if !acc.Expiry.IsZero() {
		end = clock(acc.Expiry)
	}
	a.console.sayIn(say.NoRefresh, "time", end)
}

// newTracer returns the tracer for --trace and --trace-file. It is nil if neither
// was given.
func (a *app) newTracer(l loginFlags, base http.RoundTripper) (*tracer, error) {
	if !l.trace && l.traceFile == "" {
		return nil, nil
	}
	// The transport that the SDK would use, with its proxy and TLS settings.
	t := &tracer{base: fetch.NewTransport()}
	if own, ok := base.(*http.Transport); ok {
		t.base = own
	}
	if l.trace {
		t.console = a.console
	}
	if l.traceFile != "" {
		// Only the user may read it: masking protects secrets, but not the names of
		// providers and clients. In /tmp another user may have put a link, or a file
		// of their own, in its place (S94).
		f, err := securefile.CreateGiven(l.traceFile)
		if err != nil {
			return nil, fmt.Errorf("--trace-file: %w", err)
		}
		t.file = f
	}
	return t, nil
}

// chooseScopes requests an ID token and a refresh token, if the provider's
// metadata list the scopes for them. A provider may refuse an unknown scope: Google
// refuses offline_access.
func (a *app) chooseScopes(ctx context.Context, s *settings, cfg *oauthclient.Config) error {
	supported, jwks, err := a.supportedScopes(ctx, s, *cfg)
	if err != nil {
		return err
	}
	for _, scope := range []string{"openid", "offline_access"} {
		if slices.Contains(supported, scope) || scope == "openid" && supported == nil && jwks != "" {
			cfg.Scopes = append(cfg.Scopes, scope)
		}
	}
	return nil
}

// supportedScopes returns the provider's scopes_supported and jwks_uri, from the
// user's file or from the provider.
//
// It fetches the metadata with a Client of its own. The login's Client fetches
// them again, because only those that a Client fetched itself are guarded (S43),
// and its scopes must be known when it is made.
func (a *app) supportedScopes(
	ctx context.Context, s *settings, cfg oauthclient.Config,
) (scopes []string, jwks string, err error) {
	if s.MetadataFile != "" {
		m, err := readMetadata(s.MetadataFile)
		if err != nil {
			return nil, "", err
		}
		return m.Scopes, m.JWKS, nil
	}
	cfg.Scopes = []string{"openid"} // OpenID Connect's metadata are tried first
	c, err := oauthclient.New(cfg)
	if err != nil {
		return nil, "", usageError{err}
	}
	defer a.close(c)
	m, err := c.Metadata(ctx)
	if err != nil {
		return nil, "", err
	}
	return m.ScopesSupported, m.JWKSURI, nil
}

// asWhom returns " as " and the user's name, or "" if the provider named nobody.
func asWhom(acc oauthclient.Account) string {
	if who := whom(acc); who != "" {
		return " as " + who
	}
	return ""
}

// whom is the user's name, safe to show; "" if the provider named nobody.
func whom(acc oauthclient.Account) string {
	return wire.SafeText(cmp.Or(acc.Username, acc.Subject), 100)
}

// profileFlag returns the flags that choose the session again; "" for that of the
// default profile.
func profileFlag(s *settings) string {
	flags := ""
	if s.name != defaultProfile {
		flags = " --profile " + quote(s.name)
	}
	return flags + s.accountFlag()
}

// accountFlag returns the flag for an account that the profile does not keep.
func (s *settings) accountFlag() string {
	if s.Account == s.ownAccount {
		return ""
	}
	return " --account " + quote(s.Account)
}

// clock returns t in local time, without the date if it is less than 20 hours
// away.
func clock(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	t = t.Local()
	if time.Until(t) < 20*time.Hour && time.Until(t) > -20*time.Hour {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}

// left returns the time until t, such as "4m30s" or "3 days".
func left(t time.Time) string {
	d := time.Until(t).Round(time.Second)
	if d <= 0 {
		return "expired"
	}
	if d > 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return short(d)
}

// short returns d without the zeros at the end: "1h" in place of "1h0m0s".
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
