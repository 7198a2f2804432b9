package main

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// settings are the values that one run of the command works with.
type settings struct {
	choices
	name        string  // of the profile
	named       bool    // the user named the profile; else it was picked
	known       bool    // the configuration has the profile
	stored      profile // as the configuration has it
	fromProfile bool    // provider and client are those of the profile
	ownAccount  string  // profile.Account that the profile keeps; see kept
	secret      wire.Secret
}

// resolve returns the settings for cmd: flags before environment variables
// before the profile. It fails if they do not name a provider and a client.
func (a *app) resolve(cmd *cobra.Command) (*settings, error) {
	c, err := readConfig(a.env)
	if err != nil {
		return nil, err
	}
	s, err := a.choose(c)
	if err != nil {
		return nil, err
	}
	a.used = s // errors from here on name the profile or its flags
	if err := a.identify(cmd, s); err != nil {
		return nil, err
	}
	s.ownAccount = s.Account
	for _, row := range s.table() {
		if value := a.given(cmd, row.flag); value != nil && !row.identity {
			assign(row.value, value)
		}
	}
	a.dropKeyFile(cmd, s)
	if s.named && cmd.Flags().Changed("account") {
		s.ownAccount = s.Account
	}
	if err := s.makeAbsolute(); err != nil {
		return nil, err
	}
	if !a.runs("login") { // which limits what follows its preparations
		if err := a.limit(cmd, s.Timeout.duration()); err != nil {
			return nil, err
		}
	}
	return s, s.complete(c)
}

// dropKeyFile forgets the key file of the profile or of the environment if the user
// chose another kind of store for this run, which needs none. A key file that was
// given together with the store is kept, and openStore refuses the two.
func (a *app) dropKeyFile(cmd *cobra.Command, s *settings) {
	nearness := func(flag string) int { // of what a setting comes from
		switch {
		case cmd.Flags().Changed(flag):
			return 2
		case a.given(cmd, flag) != nil: // in the environment
			return 1
		}
		return 0
	}
	if s.Store != storeFile && nearness("store") > nearness("key-file") {
		s.KeyFile = ""
	}
}

// choose picks the profile.
func (a *app) choose(c config) (*settings, error) {
	name := cmp.Or(a.profile, a.env["NATIVEOAUTH_PROFILE"])
	s := &settings{name: name, named: name != ""}
	if !s.named {
		s.name = c.pick()
	} else if err := checkProfileName(name); err != nil {
		return nil, err
	}
	s.stored, s.known = c.Profiles[s.name]
	s.profile = s.stored // a copy: stored stays as it is
	return s, nil
}

// identify decides about provider and client. The settings of a profile belong
// to the provider and client that it names. If the user gives others, nothing of
// the profile is used: its client secret, above all, must not be sent to another
// provider (S44). The default profile then has the session, unless the user named
// another one.
func (a *app) identify(cmd *cobra.Command, s *settings) error {
	issuer, client := a.givenText(cmd, "issuer"), a.givenText(cmd, "client-id")
	if path := a.givenText(cmd, "metadata-file"); issuer == "" && path != "" {
		m, err := readMetadata(path)
		if err != nil {
			return err
		}
		issuer = m.Issuer
	}
	// A profile without an issuer belongs to the provider that its first resource names.
	resources, ok := a.given(cmd, "resource").(*[]string)
	otherResource := s.Issuer == "" && ok && !slices.Equal(*resources, s.Resources)
	// --register asks for a client of its own, in place of the profile's.
	register, ok := a.given(cmd, "register").(*bool)
	newClient := ok && *register && client == "" && s.ClientID != ""
	s.fromProfile = s.known
	if issuer != "" && issuer != s.Issuer || client != "" && client != s.ClientID ||
		otherResource || newClient {
		s.fromProfile = false
		s.profile = profile{Issuer: cmp.Or(issuer, s.Issuer), ClientID: client}
		if !s.named {
			s.name = defaultProfile
		}
	}
	return nil
}

// makeAbsolute resolves the paths of files against the working directory.
func (s *settings) makeAbsolute() error {
	for _, row := range s.table() {
		path, ok := row.value.(*string)
		if !row.file || !ok || *path == "" || *path == "-" {
			continue
		}
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	return nil
}

// complete reports what is missing for a provider and a client.
func (s *settings) complete(c config) error {
	provider := s.provider()
	switch {
	case s.named && !s.known && provider == "":
		return usage("there is no profile %q%s", s.name, known(c))
	case provider == "" && len(c.Profiles) > 0 && s.ClientID == "":
		return usage("which of your profiles? Give --profile%s", known(c))
	case provider == "":
		return usage("which provider? Give --issuer and --client-id; a login is remembered")
	case s.ClientID == "" && !s.Register && !s.needsNoClientID():
		return usage("--client-id is missing: give the client ID that the provider registered")
	}
	if err := checkScheme(s.Issuer); err != nil {
		return err
	}
	if s.Register && s.ClientID != "" {
		return usage("--register obtains a client ID of its own; leave --client-id out")
	}
	if issuer, _, ok := strings.Cut(s.Issuer, "/.well-known/"); ok {
		return usage("--issuer is the address of a metadata document; "+
			"give the issuer itself, probably %s", issuer)
	}
	return nil
}

// checkScheme tells a user that an issuer lacks its scheme, which is easily left out.
func checkScheme(issuer string) error {
	if issuer == "" || strings.Contains(issuer, "//") {
		return nil
	}
	return usage("--issuer %q has no scheme: add https://, as in https://%s",
		issuer, wire.SafeText(issuer, 200))
}

// check reports the first setting that cannot be used for a login.
func (s *settings) check() error {
	for _, row := range s.table() {
		if row.check != nil {
			if err := row.check(&s.profile); err != nil {
				return err
			}
		}
	}
	return nil
}

// account returns the SDK's name of the session. A profile has a session of its own,
// unless --account names one to share.
func (s *settings) account() string { return s.profile.account(s.name) }

// kept returns what the profile keeps of s. It keeps --account only if the user named
// the profile too. Otherwise the next plain login would store another user under it.
func (s *settings) kept() profile {
	p := s.profile
	p.Account = s.ownAccount
	return p
}

// known lists the profiles, for an error message.
func known(c config) string {
	if len(c.Profiles) == 0 {
		return "; there are none yet: give --issuer and --client-id to make it"
	}
	return "; there are: " + strings.Join(c.names(), ", ")
}

// config returns the configuration of a client for s. Its sessions are in store, unless
// there is no user.
func (a *app) config(
	ctx context.Context, s *settings, store tokenstore.Store,
) (oauthclient.Config, error) {
	cfg, err := a.publicConfig(s, store)
	if err != nil {
		return oauthclient.Config{}, err
	}
	if cfg.ClientAuth, err = a.clientAuth(ctx, s, store); err != nil {
		return oauthclient.Config{}, err
	}
	cfg.Workload, err = a.workload(s)
	if cfg.Workload != nil && cfg.Resources == nil {
		cfg.Resources = a.chosenResource()
	}
	return cfg, err
}

// publicConfig is config without the client's secret or key, for what needs none:
// listing sessions, checking a profile, a logout that must not fail.
func (a *app) publicConfig(s *settings, store tokenstore.Store) (oauthclient.Config, error) {
	authParams, err := parameters("--auth-param", s.AuthParams)
	if err != nil {
		return oauthclient.Config{}, err
	}
	tokenParams, err := parameters("--token-param", s.TokenParams)
	if err != nil {
		return oauthclient.Config{}, err
	}
	for _, row := range s.table() {
		if row.to != nil {
			assign(row.to, row.value)
		}
	}
	cfg := s.choices.config
	cfg.Store, cfg.AuthParams, cfg.TokenParams = store, authParams, tokenParams
	cfg.Logger = a.logger()
	cfg.AssumeLifetime = s.AssumeLifetime.duration()
	cfg.RefreshBefore = s.RefreshBefore.duration()
	transport, err := s.transport()
	if err != nil {
		return oauthclient.Config{}, err
	}
	if transport != nil { // an interface that holds a nil pointer would not be nil
		cfg.Transport = transport
	}
	cfg.Loopback.Page = loopback.Page{AppName: "nativeoauth"}
	cfg.Loopback.Addr, cfg.Loopback.Ports = s.listenAt()
	if s.MetadataFile != "" {
		described, err := readMetadata(s.MetadataFile)
		if err != nil {
			return oauthclient.Config{}, err
		}
		cfg.Endpoints = described.endpoints()
		if s.Issuer != "" && s.Issuer != described.Issuer {
			return oauthclient.Config{}, usage(
				"--issuer and the issuer in --metadata-file differ; " +
					"make them equal, or leave --issuer out")
		}
	}
	if s.Register {
		cfg.Registration = &oauthclient.Registration{
			ClientName: "nativeoauth", SoftwareID: "nativeoauth",
		}
		if path := s.RegisterTokenFile; path != "" {
			// It is read when a registration needs it, which is only once.
			cfg.Registration.InitialAccessToken = func(context.Context) (string, error) {
				token, err := readSecretFile("--register-token-file", path)
				return token.Reveal(), err
			}
		}
	}
	return cfg, nil
}

// listenAt returns the address to listen on, and the ports to try if there are several.
// A single port belongs to the address, which may then have a redirect URI of its own.
// Without either flag the SDK tries IPv4, then IPv6.
func (s *settings) listenAt() (addr string, candidates []uint16) {
	if s.Ports == nil && s.Listen == "" {
		return "", nil
	}
	port := "0"
	if len(s.Ports) == 1 {
		port = s.Ports.String()
	} else {
		candidates = s.Ports
	}
	return net.JoinHostPort(cmp.Or(s.Listen, "127.0.0.1"), port), candidates
}

// parameters parses the values of a flag, each name=value. It returns nil if there are
// none.
func parameters(flag string, values []string) (url.Values, error) {
	var params url.Values
	for _, kv := range values {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			return nil, usage("%s %q is not name=value", flag, kv)
		}
		if params == nil {
			params = url.Values{}
		}
		params.Add(name, value)
	}
	return params, nil
}

// withSession runs do with the stored session, or with --workload with that of the
// program itself. It never signs in: a missing session matches ErrLoginRequired.
func (a *app) withSession(
	cmd *cobra.Command, do func(ctx context.Context, s *oauthclient.Session) error,
) error {
	return a.withClient(cmd, func(ctx context.Context, s *settings, c *oauthclient.Client) error {
		session, err := c.Session(ctx, s.account())
		if err != nil {
			return err
		}
		return do(ctx, session)
	})
}

// withClient runs do with the client that cmd names, and closes it.
func (a *app) withClient(
	cmd *cobra.Command, do func(context.Context, *settings, *oauthclient.Client) error,
) error {
	s, err := a.resolve(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	store, err := a.sessionStore(s)
	if err != nil {
		return err
	}
	cfg, err := a.config(ctx, s, store)
	if err != nil {
		return err
	}
	var end func()
	cfg.IdentityProvider, end, err = a.identityProvider(ctx, s)
	defer end()
	if err != nil {
		return err
	}
	c, err := oauthclient.New(cfg)
	if err != nil {
		return usageError{err}
	}
	defer a.close(c)
	return do(ctx, s, c)
}
