package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// settings are what one run works with: flags over environment over profile.
type settings struct {
	profile
	name        string // of the profile
	named       bool   // by the person, and not picked
	known       bool   // it is in the configuration
	stored      profile
	fromProfile bool // issuer and client are the profile's
	secret      wire.Secret
}

// resolve finds out which provider, client and account are meant.
func (a *app) resolve(cmd *cobra.Command) (*settings, error) {
	c, err := readConfig(a.env)
	if err != nil {
		return nil, err
	}
	s := &settings{name: a.profile}
	if s.name == "" {
		s.name = a.env["NATIVEOAUTH_PROFILE"]
	}
	named := s.name != ""
	if named {
		if err := checkProfileName(s.name); err != nil {
			return nil, err
		}
	} else {
		s.name = c.pick()
	}
	s.stored, s.known = c.Profiles[s.name]
	s.profile, s.named = s.stored, named
	a.used = s

	flags := cmd.Flags()
	given := func(flag, variable string, value string) string {
		if flags.Changed(flag) {
			return value
		}
		return a.env[variable]
	}
	issuer, client := given("issuer", "NATIVEOAUTH_ISSUER", a.flags.Issuer), given("client-id", "NATIVEOAUTH_CLIENT_ID", a.flags.ClientID)
	if issuer == "" && flags.Changed("metadata-file") && a.flags.MetadataFile != "" {
		described, err := readMetadata(a.flags.MetadataFile)
		if err != nil {
			return nil, err
		}
		issuer = described.Issuer
	}
	s.fromProfile = s.known
	byResource := s.Issuer == "" && flags.Changed("resource") && !slices.Equal(a.flags.Resources, s.Resources)
	anew := flags.Changed("register") && a.flags.Register && client == "" && s.ClientID != ""
	if issuer != "" && issuer != s.Issuer || client != "" && client != s.ClientID || byResource || anew {
		// What a profile says belongs to its provider and client: its secret, above all, goes nowhere else (S44).
		s.fromProfile = false
		s.profile = profile{Issuer: cmp.Or(issuer, s.Issuer), ClientID: client}
	}
	for _, o := range []struct {
		flag, variable, value string
		to                    *string
	}{
		{"account", "NATIVEOAUTH_ACCOUNT", a.flags.Account, &s.Account},
		{"store", "NATIVEOAUTH_STORE", a.flags.Store, &s.Store},
		{"key-file", "NATIVEOAUTH_KEY_FILE", a.flags.KeyFile, &s.KeyFile},
		{"client-secret-file", "NATIVEOAUTH_CLIENT_SECRET_FILE", a.flags.ClientSecretFile, &s.ClientSecretFile},
	} {
		if value := given(o.flag, o.variable, o.value); value != "" || flags.Changed(o.flag) {
			*o.to = value
		}
	}
	s.overlay(flags, &a.flags)
	if flags.Changed("assume-lifetime") {
		s.AssumeLifetime = int64(a.assumeLifetime / time.Second)
	}
	for _, path := range []*string{&s.KeyFile, &s.ClientSecretFile, &s.ClientKeyFile, &s.RegisterTokenFile, &s.MetadataFile} {
		if *path == "" || *path == "-" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil { // as the profile outlives the working directory
			return nil, err
		}
	}
	place := s.place()
	switch {
	case named && !s.known && place == "":
		return nil, usage("there is no profile %q%s", s.name, known(c))
	case place == "" && len(c.Profiles) > 0 && s.ClientID == "":
		return nil, usage("which of your profiles? Give --profile%s", known(c))
	case place == "":
		return nil, usage("which provider? Give --issuer and --client-id; a login is remembered")
	case s.ClientID == "" && !s.Register:
		return nil, usage("--client-id is missing: give the client ID that the provider registered")
	}
	if strings.Contains(s.Issuer, "/.well-known/") {
		issuer, _, _ := strings.Cut(s.Issuer, "/.well-known/")
		return nil, usage("--issuer is the address of a metadata document; give the issuer itself, probably %s", issuer)
	}
	return s, nil
}

// settle chooses the profile that a login is remembered under: one that the person did not name is not given another provider, client or account,
// unless it is the default one.
func (s *settings) settle() {
	if !s.named && (s.Issuer != s.stored.Issuer || s.ClientID != s.stored.ClientID || s.Account != s.stored.Account || s.place() != s.stored.place()) {
		s.name = defaultProfile
	}
}

func known(c config) string {
	if len(c.Profiles) == 0 {
		return "; there are none yet: give --issuer and --client-id to make it"
	}
	return "; there are: " + strings.Join(c.names(), ", ")
}

// place is the provider, as a person knows it: by its issuer, or by the resource that names it.
func (p *profile) place() string {
	if p.Issuer == "" && len(p.Resources) > 0 {
		return p.Resources[0]
	}
	return p.Issuer
}

// check finds what no package would: the flags of an address to listen on, and those that go together.
func (s *settings) check() error {
	switch ip := net.ParseIP(s.Listen); {
	case s.Port < 0 || s.Port > 65535:
		return usage("--port %d is no port", s.Port)
	case s.Listen != "" && ip == nil:
		return usage("--listen %q is no IP address", s.Listen)
	case s.Listen != "" && !ip.IsLoopback() && s.RedirectURI == "":
		return usage("--listen %s can be reached from the network: say with --redirect-uri how the browser gets there", s.Listen)
	case s.AssumeLifetime < 0:
		return usage("--assume-lifetime cannot be negative")
	case s.RegisterTokenFile != "" && !s.Register:
		return usage("--register-token-file is for --register")
	case s.ClientKeyID != "" && s.ClientKeyFile == "":
		return usage("--client-key-id is for --client-key")
	}
	return nil
}

// overlay takes the flags of login that were given.
func (p *profile) overlay(flags *pflag.FlagSet, f *profile) {
	take(flags, "scope", &p.Scopes, f.Scopes)
	take(flags, "resource", &p.Resources, f.Resources)
	take(flags, "origin", &p.Origins, f.Origins)
	take(flags, "trusted-audience", &p.TrustedAudiences, f.TrustedAudiences)
	take(flags, "auth-param", &p.AuthParams, f.AuthParams)
	take(flags, "dpop", &p.DPoP, f.DPoP)
	take(flags, "par", &p.RequirePAR, f.RequirePAR)
	take(flags, "tenant-issuer", &p.TenantIssuer, f.TenantIssuer)
	take(flags, "metadata-file", &p.MetadataFile, f.MetadataFile)
	take(flags, "allow-private", &p.AllowPrivate, f.AllowPrivate)
	take(flags, "register", &p.Register, f.Register)
	take(flags, "register-token-file", &p.RegisterTokenFile, f.RegisterTokenFile)
	take(flags, "client-key", &p.ClientKeyFile, f.ClientKeyFile)
	take(flags, "client-key-id", &p.ClientKeyID, f.ClientKeyID)
	take(flags, "listen", &p.Listen, f.Listen)
	take(flags, "port", &p.Port, f.Port)
	take(flags, "redirect-path", &p.RedirectPath, f.RedirectPath)
	take(flags, "redirect-uri", &p.RedirectURI, f.RedirectURI)
	take(flags, "localhost", &p.Localhost, f.Localhost)
	take(flags, "form-post", &p.FormPost, f.FormPost)
	take(flags, "allow-other-users", &p.AllowOtherUsers, f.AllowOtherUsers)
}

func take[T any](flags *pflag.FlagSet, name string, to *T, value T) {
	if flags.Changed(name) {
		*to = value
	}
}

// config returns the Config of a client for s. Sessions are in store.
func (a *app) config(ctx context.Context, s *settings, store tokenstore.Store) (oauthclient.Config, error) {
	cfg, err := a.publicConfig(s, store)
	if err != nil {
		return oauthclient.Config{}, err
	}
	cfg.ClientAuth, err = a.clientAuth(ctx, s, store)
	return cfg, err
}

// publicConfig is the Config for s without what authenticates the client.
func (a *app) publicConfig(s *settings, store tokenstore.Store) (oauthclient.Config, error) {
	params, err := s.authParams()
	if err != nil {
		return oauthclient.Config{}, err
	}
	cfg := oauthclient.Config{
		Issuer: s.Issuer, ClientID: s.ClientID, TenantIssuer: s.TenantIssuer,
		Scopes: s.Scopes, Resources: s.Resources, Origins: s.Origins, AuthParams: params, TrustedAudiences: s.TrustedAudiences,
		DPoP: s.DPoP, RequirePAR: s.RequirePAR, AssumeLifetime: time.Duration(s.AssumeLifetime) * time.Second, AllowPrivate: s.AllowPrivate,
		Store: store,
		Loopback: loopback.Config{
			Path: s.RedirectPath, Localhost: s.Localhost, RedirectURI: s.RedirectURI, FormPost: s.FormPost, AllowOtherUsers: s.AllowOtherUsers,
			Page: loopback.Page{AppName: "nativeoauth"},
		},
		Logger: a.logger(),
	}
	if s.Port != 0 || s.Listen != "" {
		cfg.Loopback.Addr = net.JoinHostPort(cmp.Or(s.Listen, "127.0.0.1"), strconv.Itoa(s.Port))
	}
	if s.MetadataFile != "" {
		described, err := readMetadata(s.MetadataFile)
		if err != nil {
			return oauthclient.Config{}, err
		}
		cfg.Endpoints = described.endpoints()
	}
	if s.Register {
		cfg.Registration = &oauthclient.Registration{ClientName: "nativeoauth", SoftwareID: "nativeoauth"}
		if path := s.RegisterTokenFile; path != "" {
			cfg.Registration.InitialAccessToken = func(context.Context) (string, error) {
				token, err := readSecretFile("--register-token-file", path)
				return token.Reveal(), err
			}
		}
	}
	return cfg, nil
}

func (s *settings) authParams() (url.Values, error) {
	var params url.Values
	for _, kv := range s.AuthParams {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			return nil, usage("--auth-param %q is not name=value", kv)
		}
		if params == nil {
			params = url.Values{}
		}
		params.Add(name, value)
	}
	return params, nil
}

// withSession runs do with the stored session that is meant.
func (a *app) withSession(cmd *cobra.Command, do func(ctx context.Context, s *oauthclient.Session) error) error {
	return a.withClient(cmd, func(ctx context.Context, s *settings, c *oauthclient.Client) error {
		session, err := c.Session(ctx, s.Account)
		if err != nil {
			return a.otherAccounts(ctx, s, c, err)
		}
		return do(ctx, session)
	})
}

// withClient runs do with the client that is meant, and closes it.
func (a *app) withClient(cmd *cobra.Command, do func(context.Context, *settings, *oauthclient.Client) error) error {
	ctx := cmd.Context()
	s, err := a.resolve(cmd)
	if err != nil {
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
	c, err := oauthclient.New(cfg)
	if err != nil {
		return usageError{err}
	}
	defer a.close(c)
	return do(ctx, s, c)
}

// otherAccounts adds to a missing session which ones there are.
func (a *app) otherAccounts(ctx context.Context, s *settings, c *oauthclient.Client, cause error) error {
	accounts, err := c.Accounts(ctx)
	if err != nil || len(accounts) == 0 {
		return cause
	}
	names := make([]string, 0, len(accounts))
	for _, acc := range accounts {
		if acc.Name != s.Account {
			names = append(names, fmt.Sprintf("%q", acc.Name))
		}
	}
	if len(names) == 0 {
		return cause
	}
	return fmt.Errorf("%w (--account may be %s)", cause, strings.Join(names, " or "))
}
