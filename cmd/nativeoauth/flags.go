package main

import (
	"net"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// setting is one thing that a user can choose about a session. Its flag comes
// before its environment variable, and that before the profile.
type setting struct {
	flag  string
	env   string // environment variable; "": none. Only a string has one.
	field string // the field of the SDK that its errors name; "": none does
	usage string
	on    commands

	// identity marks the settings that choose the provider and client. They are
	// resolved before the others, which belong to them (see identify).
	identity bool
	// file marks a path. It is kept absolute, because a profile is used in other
	// working directories too. "-" stays as it is.
	file bool

	// value returns a pointer to the setting in c: a *string, *[]string, *bool,
	// *int, *time.Duration or a pflag.Value. If it points into c.profile, the
	// profile keeps the setting.
	value func(c *choices) any
	// check reports a value that no package of the SDK would refuse before the
	// user has signed in. nil: there is none.
	check func(p *profile) error
	// apply copies the setting into the SDK's configuration. nil: publicConfig,
	// clientAuth or openStore use it together with others.
	apply func(p *profile, c *oauthclient.Config)
}

// choices are the values of all settings.
type choices struct {
	profile
	login oauthclient.LoginOptions // of one login; no profile keeps it
}

// commands says which commands have a flag.
type commands int

const (
	everyCommand commands = iota // they find the session, so every command needs them
	keepsProfile                 // login and profile set
	loginAlone                   // login; they are about one sign-in, and no profile keeps them
)

// seconds is a duration that the profile keeps as a number of seconds.
type seconds int64

// Set parses a value such as "8h30m". Fractions of a second are dropped.
func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	*s = seconds(d / time.Second)
	return err
}

func (s *seconds) String() string {
	if *s == 0 {
		return "0" // which the help does not show as a default
	}
	return s.duration().String()
}

// Type is the name of the value in the help.
func (s *seconds) Type() string { return "duration" }

func (s *seconds) duration() time.Duration { return time.Duration(*s) * time.Second }

// table has every setting. Flags, environment, profile, help, manual and the
// names in error messages come from it.
var table = []setting{
	// These find the session: the provider, the client, the account, and the store with
	// its key. A script can set them in its environment.
	{flag: "issuer", env: "NATIVEOAUTH_ISSUER", field: "Config.Issuer",
		on: everyCommand, identity: true,
		usage: "issuer `URL` of the provider",
		value: func(c *choices) any { return &c.Issuer },
		apply: func(p *profile, c *oauthclient.Config) { c.Issuer = p.Issuer }},
	{flag: "client-id", env: "NATIVEOAUTH_CLIENT_ID", field: "Config.ClientID",
		on: everyCommand, identity: true,
		usage: "client `ID` that the provider registered",
		value: func(c *choices) any { return &c.ClientID },
		apply: func(p *profile, c *oauthclient.Config) { c.ClientID = p.ClientID }},
	{flag: "account", env: "NATIVEOAUTH_ACCOUNT", on: everyCommand,
		usage: "your `name` for this session, if you have several at one provider",
		value: func(c *choices) any { return &c.Account }},
	{flag: "store", env: "NATIVEOAUTH_STORE", on: everyCommand,
		usage: "`kind` of store for the session: keychain (default), file, or memory (for one " +
			"run)",
		value: func(c *choices) any { return &c.Store }},
	{flag: "key-file", env: "NATIVEOAUTH_KEY_FILE", on: everyCommand, file: true,
		usage: "`file` with the key for --store file, 32 bytes in base64 or hex (default: " +
			"prompt for a passphrase)",
		value: func(c *choices) any { return &c.KeyFile }},
	{flag: "client-secret-file", env: "NATIVEOAUTH_CLIENT_SECRET_FILE", field: "Config.ClientAuth",
		on: everyCommand, file: true,
		usage: "`file` with the client secret, for providers that require one; - reads " +
			"standard input at login",
		value: func(c *choices) any { return &c.ClientSecretFile }},

	// These say what the tokens are for, and what the provider must support. They are
	// part of the profile, because a refresh needs most of them again.
	{flag: "scope", field: "Config.Scopes", on: keepsProfile,
		usage: "`scope` to request; may be repeated",
		value: func(c *choices) any { return &c.Scopes },
		apply: func(p *profile, c *oauthclient.Config) { c.Scopes = p.Scopes }},
	{flag: "resource", field: "Config.Resources", on: keepsProfile,
		usage: "`URL` of an API that the tokens are for (RFC 8707); may be repeated; without " +
			"--issuer, the first one names its provider (RFC 9728)",
		value: func(c *choices) any { return &c.Resources },
		apply: func(p *profile, c *oauthclient.Config) { c.Resources = p.Resources }},
	{flag: "origin", field: "Config.Origins", on: keepsProfile,
		usage: "`origin` that nativeoauth request may send the token to, such as " +
			"https://api.example.com; may be repeated",
		value: func(c *choices) any { return &c.Origins },
		apply: func(p *profile, c *oauthclient.Config) { c.Origins = p.Origins }},
	{flag: "trusted-audience", field: "Config.TrustedAudiences", on: keepsProfile,
		usage: "another `audience` that the ID token may name; may be repeated",
		value: func(c *choices) any { return &c.TrustedAudiences },
		apply: func(p *profile, c *oauthclient.Config) {
			c.TrustedAudiences = p.TrustedAudiences
		}},
	{flag: "auth-param", field: "Config.AuthParams", on: keepsProfile,
		usage: "additional parameter of the authorization request, as `name=value`; may be " +
			"repeated",
		value: func(c *choices) any { return &c.AuthParams }},
	{flag: "dpop", field: "Config.DPoP", on: keepsProfile,
		usage: "bind the tokens to a key of this session (RFC 9449)",
		value: func(c *choices) any { return &c.DPoP },
		apply: func(p *profile, c *oauthclient.Config) { c.DPoP = p.DPoP }},
	{flag: "par", field: "Config.RequirePAR", on: keepsProfile,
		usage: "fail if the provider has no pushed authorization requests (RFC 9126)",
		value: func(c *choices) any { return &c.RequirePAR },
		apply: func(p *profile, c *oauthclient.Config) { c.RequirePAR = p.RequirePAR }},
	{flag: "tenant-issuer", field: "Config.TenantIssuer", on: keepsProfile,
		usage: "`issuer` in the metadata of a provider with many tenants, such as " +
			"https://login.microsoftonline.com/{tenantid}/v2.0",
		value: func(c *choices) any { return &c.TenantIssuer },
		apply: func(p *profile, c *oauthclient.Config) { c.TenantIssuer = p.TenantIssuer }},
	{flag: "metadata-file", field: "Config.Metadata", on: keepsProfile, file: true,
		usage: "`file` with the provider's metadata (RFC 8414), if the provider does not " +
			"publish them",
		value: func(c *choices) any { return &c.MetadataFile }},
	{flag: "assume-lifetime", field: "Config.AssumeLifetime", on: keepsProfile,
		usage: "lifetime of a token if the provider does not state it, such as 8h (default 1h)",
		value: func(c *choices) any { return &c.AssumeLifetime },
		check: func(p *profile) error {
			if p.AssumeLifetime < 0 {
				return usage("--assume-lifetime cannot be negative")
			}
			return nil
		},
		apply: func(p *profile, c *oauthclient.Config) {
			c.AssumeLifetime = p.AssumeLifetime.duration()
		}},
	{flag: "allow-private", field: "Config.AllowPrivate", on: keepsProfile,
		usage: "let the provider that --resource names have a private address",
		value: func(c *choices) any { return &c.AllowPrivate },
		apply: func(p *profile, c *oauthclient.Config) { c.AllowPrivate = p.AllowPrivate }},

	// These obtain the client's ID and its authentication. Secrets and keys come from
	// files only: other users can see the arguments of a process (S67).
	{flag: "register", field: "Config.Registration", on: keepsProfile,
		usage: "register a client at the provider, in place of --client-id (RFC 7591)",
		value: func(c *choices) any { return &c.Register }},
	{flag: "register-token-file", on: keepsProfile, file: true,
		usage: "`file` with the initial access token, if the provider requires one for " +
			"--register",
		value: func(c *choices) any { return &c.RegisterTokenFile },
		check: func(p *profile) error {
			if p.RegisterTokenFile != "" && !p.Register {
				return usage("--register-token-file is for --register")
			}
			return nil
		}},
	{flag: "client-key", field: "Config.ClientAuth", on: keepsProfile, file: true,
		usage: "`file` with a private key in PEM that authenticates the client " +
			"(private_key_jwt, RFC 7523)",
		value: func(c *choices) any { return &c.ClientKeyFile }},
	{flag: "client-key-id", on: keepsProfile,
		usage: "`ID` (kid) of that key at the provider",
		value: func(c *choices) any { return &c.ClientKeyID },
		check: func(p *profile) error {
			if p.ClientKeyID != "" && p.ClientKeyFile == "" {
				return usage("--client-key-id is for --client-key")
			}
			return nil
		}},

	// These shape the redirect URI and the listener behind it. The defaults fit a
	// provider that follows RFC 8252; the flags are for those that do not.
	{flag: "listen", field: "Config.Addr", on: keepsProfile,
		usage: "`IP address` to listen on, such as ::1; one that is not loopback needs " +
			"--redirect-uri (default 127.0.0.1)",
		value: func(c *choices) any { return &c.Listen },
		check: checkListen},
	{flag: "port", on: keepsProfile,
		usage: "`port` of the redirect URI, for providers that require a registered one " +
			"(default: a free port)",
		value: func(c *choices) any { return &c.Port },
		check: func(p *profile) error {
			if p.Port < 0 || p.Port > 65535 {
				return usage("--port %d is not a port; give a number from 1 to 65535", p.Port)
			}
			return nil
		}},
	{flag: "redirect-path", field: "Config.Path", on: keepsProfile,
		usage: "`path` of the redirect URI (default /callback)",
		value: func(c *choices) any { return &c.RedirectPath },
		apply: func(p *profile, c *oauthclient.Config) { c.Loopback.Path = p.RedirectPath }},
	{flag: "redirect-uri", field: "Config.RedirectURI", on: keepsProfile,
		usage: "`URL` that the provider sends the browser to, if a proxy or a container maps " +
			"it to this machine",
		value: func(c *choices) any { return &c.RedirectURI },
		apply: func(p *profile, c *oauthclient.Config) {
			c.Loopback.RedirectURI = p.RedirectURI
		}},
	{flag: "localhost", field: "Config.Localhost", on: keepsProfile,
		usage: "use localhost in the redirect URI, for providers that refuse 127.0.0.1",
		value: func(c *choices) any { return &c.Localhost },
		apply: func(p *profile, c *oauthclient.Config) { c.Loopback.Localhost = p.Localhost }},
	{flag: "form-post", field: "Config.FormPost", on: keepsProfile,
		usage: "also accept the provider's answer as a POST (response_mode=form_post)",
		value: func(c *choices) any { return &c.FormPost },
		apply: func(p *profile, c *oauthclient.Config) { c.Loopback.FormPost = p.FormPost }},
	{flag: "allow-other-users", field: "Config.AllowOtherUsers", on: keepsProfile,
		usage: "also accept a browser that another user of this computer runs",
		value: func(c *choices) any { return &c.AllowOtherUsers },
		apply: func(p *profile, c *oauthclient.Config) {
			c.Loopback.AllowOtherUsers = p.AllowOtherUsers
		}},

	// These are for one login, usually because an API has demanded a stronger sign-in
	// (RFC 9470) or another user is to sign in.
	{flag: "add-scope", field: "LoginOptions.Scopes", on: loginAlone,
		usage: "`scope` in addition to the profile's and the granted ones; the login fails if " +
			"it is not granted; may be repeated",
		value: func(c *choices) any { return &c.login.Scopes }},
	{flag: "resource-metadata", field: "LoginOptions.ResourceMetadata", on: loginAlone,
		usage: "`URL` of the metadata of --resource (RFC 9728), if they are not at the " +
			"well-known URL",
		value: func(c *choices) any { return &c.login.ResourceMetadata }},
	{flag: "prompt", field: "LoginOptions.Prompt", on: loginAlone,
		usage: "`kind` of prompt at the provider: login, consent, select_account or none",
		value: func(c *choices) any { return &c.login.Prompt }},
	{flag: "login-hint", field: "LoginOptions.LoginHint", on: loginAlone,
		usage: "`user` that is expected to sign in, such as an e-mail address",
		value: func(c *choices) any { return &c.login.LoginHint }},
	{flag: "acr", field: "LoginOptions.ACRValues", on: loginAlone,
		usage: "authentication context `class`, one of which is required; may be repeated",
		value: func(c *choices) any { return &c.login.ACRValues }},
	{flag: "max-age", field: "LoginOptions.MaxAge", on: loginAlone,
		usage: "how long ago you may have signed in at the provider, such as 10m; negative: " +
			"sign in again now",
		value: func(c *choices) any { return &c.login.MaxAge }},
	{flag: "replace-user", field: "LoginOptions.ReplaceUser", on: loginAlone,
		usage: "let another user replace this account's session",
		value: func(c *choices) any { return &c.login.ReplaceUser }},
}

// checkListen finds an address that the SDK would refuse only after it has
// fetched the provider's metadata.
func checkListen(p *profile) error {
	switch ip := net.ParseIP(p.Listen); {
	case p.Listen == "":
		return nil
	case ip == nil:
		return usage("--listen %q is not an IP address", p.Listen)
	case !ip.IsLoopback() && p.RedirectURI == "":
		return usage("--listen %s can be reached from the network; "+
			"give --redirect-uri too, the address at which the browser reaches it", p.Listen)
	}
	return nil
}

// bind defines the flags of the settings that are on these commands.
func (a *app) bind(f *pflag.FlagSet, on commands) {
	for i := range table {
		s := &table[i]
		if s.on != on {
			continue
		}
		switch v := s.value(&a.flags).(type) {
		case *string:
			f.StringVar(v, s.flag, "", s.usage)
		case *[]string:
			f.StringArrayVar(v, s.flag, nil, s.usage)
		case *bool:
			f.BoolVar(v, s.flag, false, s.usage)
		case *int:
			f.IntVar(v, s.flag, 0, s.usage)
		case *time.Duration:
			f.DurationVar(v, s.flag, 0, s.usage)
		case pflag.Value:
			f.Var(v, s.flag, s.usage)
		}
		a.bound[f.Lookup(s.flag)] = true
	}
}

// given returns a pointer to what the command line says about a setting, else
// the environment. It is nil if neither says anything. A flag of the same name
// that a command defines for itself, as the --scope of token, does not count.
func (a *app) given(cmd *cobra.Command, s *setting) any {
	if f := cmd.Flags().Lookup(s.flag); f != nil && f.Changed && a.bound[f] {
		return s.value(&a.flags)
	}
	if text := a.env[s.env]; s.env != "" && text != "" {
		return &text
	}
	return nil
}

// givenText is given for a setting that is a string.
func (a *app) givenText(cmd *cobra.Command, flag string) string {
	if text, ok := a.given(cmd, settingOf(flag)).(*string); ok {
		return *text
	}
	return ""
}

// assign copies the value that from points to. Both are of the same type.
func assign(to, from any) {
	reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem())
}

// settingOf returns the setting with this flag, which exists.
func settingOf(flag string) *setting {
	for i := range table {
		if table[i].flag == flag {
			return &table[i]
		}
	}
	return nil
}

// flagFor returns the flag that sets a field of the SDK, with its dashes; "" if
// none does. If several do, it is the one that was used.
func flagFor(field string, used *settings) string {
	flag := ""
	for i := range table {
		s := &table[i]
		if s.field != field {
			continue
		}
		if flag == "" || used != nil && !reflect.ValueOf(s.value(&used.choices)).Elem().IsZero() {
			flag = "--" + s.flag
		}
	}
	return flag
}

// variables lists the environment variables of all settings.
func variables() string {
	names := []string{"NATIVEOAUTH_PROFILE"}
	for _, s := range table {
		if s.env != "" {
			names = append(names, strings.TrimPrefix(s.env, "NATIVEOAUTH"))
		}
	}
	return strings.Join(names, ", ")
}
