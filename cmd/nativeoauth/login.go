package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// loginFlags are the flags of login that are not remembered.
type loginFlags struct {
	demo              bool
	noBrowser, device bool
	browser           bool
	prompt, hint      string
	acr, addScopes    []string
	resourceMetadata  string
	maxAge, timeout   time.Duration
	replaceUser       bool
	trace             bool
	traceFile         string
}

func (a *app) loginCmd() *cobra.Command {
	var l loginFlags
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Sign in with your browser",
		Long: `login opens your browser at the provider, waits until you have signed in, checks everything that comes back, and keeps the session.

What it was given is remembered under the profile (never a secret), so that later commands, and the next login, need no flags.
Without --scope it asks for openid, and for offline_access where the provider offers that.`,
		Example: `  nativeoauth login --demo
  nativeoauth login --issuer https://login.example.com --client-id my-cli
  nativeoauth login --profile work --issuer https://login.example.com --client-id my-cli --scope openid --scope email
  nativeoauth login --no-browser          # on a machine without one: open the address elsewhere, paste the one it ends at
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
	f.BoolVar(&l.demo, "demo", false, "show a whole sign-in on this machine, with a provider made for it")
	f.BoolVar(&l.noBrowser, "no-browser", false, "open no browser: show the address, and take the pasted one that it ends at")
	f.BoolVar(&l.browser, "browser", false, "open the browser here, also over SSH and in a container")
	f.BoolVar(&l.device, "device", false, "sign in on another device with a code (RFC 8628)")
	f.StringArrayVar(&l.addScopes, "add-scope", nil, "a `scope` besides the profile's and those that were granted, and without which the login fails; may be repeated")
	f.StringVar(&l.resourceMetadata, "resource-metadata", "", "the `URL` where --resource describes itself (RFC 9728), if not at its well-known place")
	f.StringVar(&l.prompt, "prompt", "", "what the provider asks: login, consent, select_account or none")
	f.StringVar(&l.hint, "login-hint", "", "who is expected to sign in, such as an e-mail address")
	f.StringArrayVar(&l.acr, "acr", nil, "an authentication context `class` of which one is required; may be repeated")
	f.DurationVar(&l.maxAge, "max-age", 0, "how long ago you may have signed in at the provider, such as 10m; negative: sign in anew")
	f.DurationVar(&l.timeout, "timeout", 5*time.Minute, "how long to wait for you")
	f.BoolVar(&l.replaceUser, "replace-user", false, "let another user take over this account's session")
	f.BoolVar(&l.trace, "trace", false, "show each request and answer as it happens, with secrets masked")
	f.StringVar(&l.traceFile, "trace-file", "", "write the trace to a `file`, as JSON lines")
	a.profileFlags(f)
	return cmd
}

// profileFlags are the flags that a profile remembers, besides those of every command.
func (a *app) profileFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&a.flags.Scopes, "scope", nil, "a `scope` to ask for; may be repeated")
	f.StringArrayVar(&a.flags.Resources, "resource", nil, "the `URL` of an API that the tokens are for (RFC 8707); may be repeated; without --issuer, the first one names its provider (RFC 9728)")
	f.StringArrayVar(&a.flags.Origins, "origin", nil, "an `origin` that nativeoauth request may send the token to, as https://api.example.com; may be repeated")
	f.StringArrayVar(&a.flags.TrustedAudiences, "trusted-audience", nil, "another `audience` that the ID token may name; may be repeated")
	f.StringArrayVar(&a.flags.AuthParams, "auth-param", nil, "one more parameter for the provider, as a `name=value`; may be repeated")
	f.BoolVar(&a.flags.DPoP, "dpop", false, "bind the tokens to a key of this session (RFC 9449)")
	f.BoolVar(&a.flags.RequirePAR, "par", false, "fail unless the request can be pushed (RFC 9126)")
	f.StringVar(&a.flags.TenantIssuer, "tenant-issuer", "", "the issuer that a provider for many tenants states, such as https://login.microsoftonline.com/{tenantid}/v2.0")
	f.StringVar(&a.flags.MetadataFile, "metadata-file", "", "a `file` with the provider's metadata (RFC 8414), where it publishes none")
	f.DurationVar(&a.assumeLifetime, "assume-lifetime", 0, "how long a token is good whose answer does not say, such as 8h (default 1h)")
	f.BoolVar(&a.flags.AllowPrivate, "allow-private", false, "let a provider that --resource names have a private address")
	f.BoolVar(&a.flags.Register, "register", false, "register at the provider, without --client-id (RFC 7591)")
	f.StringVar(&a.flags.RegisterTokenFile, "register-token-file", "", "a `file` with the initial access token that the provider wants for it")
	f.StringVar(&a.flags.ClientKeyFile, "client-key", "", "a `file` with a private key in PEM that authenticates the client (private_key_jwt, RFC 7523)")
	f.StringVar(&a.flags.ClientKeyID, "client-key-id", "", "the key's kid at the provider")
	f.StringVar(&a.flags.Listen, "listen", "", "the `IP address` to listen on, such as ::1; another than loopback needs --redirect-uri (default 127.0.0.1)")
	f.IntVar(&a.flags.Port, "port", 0, "the port of the redirect URI, for providers that insist on a registered one (default: a free one)")
	f.StringVar(&a.flags.RedirectPath, "redirect-path", "", "the `path` of the redirect URI (default /callback)")
	f.StringVar(&a.flags.RedirectURI, "redirect-uri", "", "the `URL` that the provider sends the browser to, where a proxy or container maps it to this machine")
	f.BoolVar(&a.flags.Localhost, "localhost", false, "write localhost in the redirect URI, for providers that refuse 127.0.0.1")
	f.BoolVar(&a.flags.FormPost, "form-post", false, "take the answer as a POST too")
	f.BoolVar(&a.flags.AllowOtherUsers, "allow-other-users", false, "take a browser that another user of this computer runs")
}

func (a *app) login(cmd *cobra.Command, l loginFlags) error {
	ctx := cmd.Context()
	if l.timeout <= 0 {
		return usage("--timeout must be positive")
	}
	switch {
	case l.noBrowser && l.device:
		return usage("--no-browser and --device do not go together: both do without a browser here")
	case l.browser && (l.noBrowser || l.device):
		return usage("--browser does not go with --no-browser and --device")
	}
	s, err := a.resolve(cmd)
	if err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	store, err := a.openStore(s)
	if err != nil {
		return err
	}
	cfg, err := a.config(ctx, s, store)
	if err != nil {
		return err
	}
	s.settle()
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	trace, err := a.newTracer(l)
	if err != nil {
		return err
	}
	if trace != nil {
		defer trace.close()
		cfg.Transport = trace
	}
	if s.Scopes == nil && len(s.Resources) == 0 {
		if err := a.chooseScopes(ctx, &cfg); err != nil {
			return err
		}
	}
	ui := &loginUI{console: a.console, trace: trace, noBrowser: l.noBrowser}
	if s.ClientSecretFile != "-" && (l.noBrowser || interactive(a.stdin)) {
		ui.lines = bufio.NewReader(a.stdin)
	}
	cfg.UI = ui.ui()
	c, err := oauthclient.New(cfg)
	if err != nil {
		return usageError{err}
	}
	defer a.close(c)
	opts := &oauthclient.LoginOptions{
		Account: s.Account, ReplaceUser: l.replaceUser, ACRValues: l.acr, MaxAge: l.maxAge, Prompt: l.prompt, LoginHint: l.hint,
		Scopes: l.addScopes, ResourceMetadata: l.resourceMetadata,
	}
	switch {
	case l.browser:
		opts.Flow = oauthclient.FlowBrowser
	case l.noBrowser:
		opts.Flow = oauthclient.FlowPaste
	case l.device:
		opts.Flow = oauthclient.FlowDevice
	}
	session, err := c.Login(ctx, opts)
	ui.done()
	if err != nil {
		return err
	}
	acc := session.Account()
	a.console.tell("Signed in%s at %s.", asWhom(acc), acc.Issuer)
	if s.Store == storeMemory {
		// The tokens are lost with this process: they should not live on at the provider.
		a.console.tell("--store memory keeps nothing: the session is signed out again.")
		return signingOut{app: a}.account(ctx, c, s.Account)
	}
	if s.ClientSecretFile == "-" {
		if err := store.Put(ctx, secretKey(s), []byte(s.secret.Reveal())); err != nil {
			return fmt.Errorf("you are signed in, but the client secret was not kept, and the session cannot be refreshed without it: %w", err)
		}
		s.ClientSecretFile, s.ClientSecretStored = "", true
	}
	s.Scopes = cfg.Scopes
	if err := remember(ctx, a.env, s.name, s.profile); err != nil {
		return fmt.Errorf("you are signed in, but the profile was not written: %w", err)
	}
	a.console.tell("The session is in the %s%s.", acc.Store, profileNote(s))
	switch {
	case acc.Refreshable:
		a.console.tell("It is refreshed by itself. Try: nativeoauth token%s", profileFlag(s))
	default:
		a.console.tell("The provider gave no refresh token: it ends at %s. --scope offline_access or --prompt consent may bring one.", clock(acc.Expiry))
	}
	return nil
}

// newTracer returns what --trace and --trace-file ask for; nil: neither was given.
func (a *app) newTracer(l loginFlags) (*tracer, error) {
	if !l.trace && l.traceFile == "" {
		return nil, nil
	}
	t := &tracer{base: fetch.NewTransport()}
	if l.trace {
		t.console = a.console
	}
	if l.traceFile != "" {
		f, err := os.OpenFile(l.traceFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, fmt.Errorf("--trace-file: %w", err)
		}
		t.file = f
	}
	return t, nil
}

// chooseScopes asks for an ID token and a session that lasts, as far as the provider knows these words: Google refuses offline_access.
func (a *app) chooseScopes(ctx context.Context, cfg *oauthclient.Config) error {
	look := *cfg
	look.Scopes = []string{"openid"} // the order in which the metadata are looked for
	c, err := oauthclient.New(look)
	if err != nil {
		return usageError{err}
	}
	defer a.close(c)
	m, err := c.Metadata(ctx)
	if err != nil {
		return err
	}
	for _, scope := range []string{"openid", "offline_access"} {
		if slices.Contains(m.ScopesSupported, scope) || scope == "openid" && m.ScopesSupported == nil && m.JWKSURI != "" {
			cfg.Scopes = append(cfg.Scopes, scope)
		}
	}
	cfg.Metadata = m
	return nil
}

func asWhom(acc oauthclient.Account) string {
	who := acc.Username
	if who == "" {
		who = acc.Subject
	}
	if who == "" {
		return ""
	}
	return " as " + wire.SafeText(who, 100)
}

func profileNote(s *settings) string {
	if s.name == defaultProfile {
		return ""
	}
	return fmt.Sprintf(" and under the profile %q", s.name)
}

func profileFlag(s *settings) string {
	if s.name == defaultProfile {
		return ""
	}
	return " --profile " + quote(s.name)
}

// clock is a time as a person reads it.
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

// left is the time until t in words.
func left(t time.Time) string {
	d := time.Until(t).Round(time.Second)
	if d <= 0 {
		return "expired"
	}
	if d > 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
