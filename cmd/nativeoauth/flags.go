package main

import (
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// setting is one thing that a user can choose about a session. Its flag comes
// before its environment variable, and that before the profile.
type setting struct {
	flag  string // without dashes
	env   string // environment variable; "": none. Only a string has one.
	field string // the field of the SDK that its errors name; "": none does
	usage string // for help and manual; the word in backquotes names the value
	on    commands

	// identity marks the settings that choose the provider and client. They are
	// resolved before the others, which belong to them (see identify).
	identity bool
	// file marks a path. It is kept absolute, because a profile is used in other
	// working directories too. "-" stays as it is.
	file bool

	// value points to the setting in choices. It is a *string, *[]string, *bool,
	// *int, *time.Duration or a pflag.Value. If it points into a profile, the
	// profile keeps the setting.
	value any
	// to points to the field of the SDK's configuration, of the same type. nil:
	// publicConfig, clientAuth or openStore use the setting together with others.
	to any
	// check reports a value that no package of the SDK would refuse before the
	// user has signed in. nil: there is none.
	check func(p *profile) error
}

// choices are the values of all settings.
type choices struct {
	profile
	login  oauthclient.LoginOptions // of one login; no profile keeps it
	config oauthclient.Config       // what publicConfig makes of the profile
	rows   []setting                // table, once it was called: its pointers are into this value
}

// commands says which commands have a flag.
type commands int

const (
	everyCommand commands = iota // they find the session, so every command needs them
	keepsProfile                 // login and profile set
	loginAlone                   // login; they are about one sign-in, and no profile keeps them
)

// table returns the settings with pointers into c, always in the same order. Flags,
// environment, profile, help, manual and the names in error messages come from it.
func (c *choices) table() []setting {
	if c.rows == nil {
		c.rows = slices.Concat(
			c.sessionTable(), c.tokenTable(), c.timeTable(), c.helperTable(), c.deviationTable(),
			c.clientTable(), c.workloadTable(), c.enterpriseTable(), c.listenTable(), c.loginTable())
	}
	return c.rows
}

// sessionTable has the settings that find a session: the provider, the client, the
// account, and the store with its key. A script can set them in its environment.
func (c *choices) sessionTable() []setting {
	return []setting{
		{flag: "issuer", env: "NATIVEOAUTH_ISSUER", field: "Config.Issuer",
			on: everyCommand, identity: true,
			usage: "issuer `URL` of the provider",
			value: &c.Issuer,
			to:    &c.config.Issuer},
		{flag: "client-id", env: "NATIVEOAUTH_CLIENT_ID", field: "Config.ClientID",
			on: everyCommand, identity: true,
			usage: "client `ID` that the provider registered",
			value: &c.ClientID,
			to:    &c.config.ClientID},
		{flag: "account", env: "NATIVEOAUTH_ACCOUNT", on: everyCommand,
			usage: "`name` of the session, to use another profile's or to have several without " +
				"profiles (default: the profile's own)",
			value: &c.Account},
		{flag: "store", env: "NATIVEOAUTH_STORE", on: everyCommand,
			usage: "`kind` of store for the session: keychain (default), file, or memory (for " +
				"one run)",
			value: &c.Store},
		{flag: "key-file", env: "NATIVEOAUTH_KEY_FILE", on: everyCommand, file: true,
			usage: "`file` with the key for --store file, 32 bytes in base64 or hex; - reads " +
				"standard input (default: prompt for a passphrase)",
			value: &c.KeyFile},
		{flag: "client-secret-file", env: "NATIVEOAUTH_CLIENT_SECRET_FILE",
			field: "Config.ClientAuth",
			on:    everyCommand, file: true,
			usage: "`file` with the client secret, for providers that require one; - reads " +
				"standard input at login",
			value: &c.ClientSecretFile},
		{flag: "ca-file", env: "NATIVEOAUTH_CA_FILE", on: everyCommand, file: true,
			usage: "`file` with certificates in PEM to trust beside the system's, such as a " +
				"company's",
			value: &c.CAFile},
		{flag: "timeout", on: everyCommand,
			usage: "how long the command may take, such as 30s (default 5m for login, and else " +
				"what its requests take)",
			value: &c.Timeout},
	}
}

// tokenTable has what the tokens are for, and what the provider must support. A
// profile keeps these, because a refresh needs most of them again.
func (c *choices) tokenTable() []setting {
	return []setting{
		{flag: "scope", field: "Config.Scopes", on: keepsProfile,
			usage: "`scope` to request; may be repeated",
			value: &c.Scopes,
			to:    &c.config.Scopes},
		{flag: "resource", field: "Config.Resources", on: keepsProfile,
			usage: "`URL` of an API that the tokens are for (RFC 8707); may be repeated; without " +
				"--issuer, the first one names its provider (RFC 9728)",
			value: &c.Resources,
			to:    &c.config.Resources},
		{flag: "origin", field: "Config.Origins", on: keepsProfile,
			usage: "`origin` that nativeoauth request may send the token to, such as " +
				"https://api.example.com; may be repeated",
			value: &c.Origins,
			to:    &c.config.Origins},
		{flag: "trusted-audience", field: "Config.TrustedAudiences", on: keepsProfile,
			usage: "another `audience` that the ID token may name; may be repeated",
			value: &c.TrustedAudiences,
			to:    &c.config.TrustedAudiences},
		{flag: "auth-param", field: "Config.AuthParams", on: keepsProfile,
			usage: "additional parameter of the authorization request, as `name=value`; may be " +
				"repeated",
			value: &c.AuthParams},
		{flag: "token-param", field: "Config.TokenParams", on: keepsProfile,
			usage: "additional parameter of every token request, as `name=value`; may be repeated",
			value: &c.TokenParams},
		{flag: "dpop", field: "Config.DPoP", on: keepsProfile,
			usage: "bind the tokens to a key of this session (RFC 9449)",
			value: &c.DPoP,
			to:    &c.config.DPoP},
		{flag: "par", field: "Config.RequirePAR", on: keepsProfile,
			usage: "fail if the provider has no pushed authorization requests (RFC 9126)",
			value: &c.RequirePAR,
			to:    &c.config.RequirePAR},
		{flag: "tenant-issuer", field: "Config.TenantIssuer", on: keepsProfile,
			usage: "`issuer` in the metadata of a provider with many tenants, such as " +
				"https://login.microsoftonline.com/{tenantid}/v2.0",
			value: &c.TenantIssuer,
			to:    &c.config.TenantIssuer},
		{flag: "metadata-file", field: "Config.Endpoints", on: keepsProfile, file: true,
			usage: "`file` with the provider's metadata (RFC 8414), if the provider does not " +
				"publish them",
			value: &c.MetadataFile},
		{flag: "allow-private", field: "Config.AllowPrivate", on: keepsProfile,
			usage: "let the provider name servers with private addresses",
			value: &c.AllowPrivate,
			to:    &c.config.AllowPrivate},
	}
}

// timeTable has what is known of the tokens' lives.
func (c *choices) timeTable() []setting {
	return []setting{
		{flag: "refresh-before", field: "Config.RefreshBefore", on: keepsProfile,
			usage: "how long before its expiry a token is refreshed in the background while a " +
				"command runs, such as 2m (default a tenth of its life); see also token --min-ttl",
			value: &c.RefreshBefore,
			check: func(p *profile) error {
				if p.RefreshBefore < 0 {
					return usage("--refresh-before cannot be negative")
				}
				return nil
			},
		},
		{flag: "assume-lifetime", field: "Config.AssumeLifetime", on: keepsProfile,
			usage: "lifetime of a token if the provider does not state it, such as 8h (default 1h)",
			value: &c.AssumeLifetime,
			check: func(p *profile) error {
				if p.AssumeLifetime < 0 {
					return usage("--assume-lifetime cannot be negative")
				}
				return nil
			},
		},
	}
}

// helperTable has what a credential helper cannot be told by the program that starts it.
func (c *choices) helperTable() []setting {
	return []setting{
		{flag: "docker-registry", on: keepsProfile,
			usage: "`registry` that gets the token through docker-credential, such as " +
				"registry.example.com; may be repeated",
			value: &c.DockerRegistries,
			check: checkRegistries},
	}
}

// deviationTable has concessions to a provider that bends the specifications. Each
// gives something up, which docs/providers.md names. Deviations.AcceptAudiences is a
// function; --trusted-audience is the list of a user.
func (c *choices) deviationTable() []setting {
	to := &c.config.Deviations
	return []setting{
		{flag: "allow-missing-nonce", field: "Config.Deviations.AllowMissingNonce",
			on: keepsProfile,
			usage: "accept an ID token without the nonce that was sent (LinkedIn), and give up its " +
				"replay protection",
			value: &c.AllowMissingNonce,
			to:    &to.AllowMissingNonce},
		{flag: "metadata-url", field: "Config.Deviations.MetadataURL", on: keepsProfile,
			usage: "`URL` of the provider's metadata, if they are not at a well-known place of the " +
				"issuer (Azure AD B2C); its host vouches for them",
			value: &c.MetadataURL,
			to:    &to.MetadataURL},
		{flag: "raw-basic-auth", field: "Config.Deviations.RawBasicAuth", on: keepsProfile,
			usage: "send the client secret in HTTP Basic as it is, for a provider that does not " +
				"decode it (RFC 6749 section 2.3.1)",
			value: &c.RawBasicAuth,
			to:    &to.RawBasicAuth},
	}
}

// clientTable has what obtains the client's ID and its authentication. Secrets and keys
// come from files only: other users can see the arguments of a process (S67).
func (c *choices) clientTable() []setting {
	return []setting{
		{flag: "register", field: "Config.Registration", on: keepsProfile,
			usage: "register a client at the provider, in place of --client-id (RFC 7591)",
			value: &c.Register},
		{flag: "register-token-file", on: keepsProfile, file: true,
			usage: "`file` with the initial access token, if the provider requires one for " +
				"--register",
			value: &c.RegisterTokenFile,
			check: func(p *profile) error {
				if p.RegisterTokenFile != "" && !p.Register {
					return usage("--register-token-file is for --register")
				}
				return nil
			}},
		{flag: "client-secret-post", on: keepsProfile,
			usage: "send the client secret in the body of requests, for a provider that takes it " +
				"only there",
			value: &c.ClientSecretPost},
		{flag: "client-key", field: "Config.ClientAuth", on: keepsProfile, file: true,
			usage: "`file` with a private key in PEM that authenticates the client " +
				"(private_key_jwt, RFC 7523)",
			value: &c.ClientKeyFile},
		{flag: "client-key-id", on: keepsProfile,
			usage: "`ID` (kid) of that key at the provider",
			value: &c.ClientKeyID,
			check: func(p *profile) error {
				if p.ClientKeyID != "" && p.ClientKeyFile == "" {
					return usage("--client-key-id is for --client-key")
				}
				return nil
			}},
	}
}

// listenTable shapes the redirect URI and the listener behind it. The defaults fit a
// provider that follows RFC 8252; the flags are for those that do not.
func (c *choices) listenTable() []setting {
	return []setting{
		{flag: "listen", field: "Config.Addr", on: keepsProfile,
			usage: "`IP address` to listen on, such as ::1; one that is not loopback needs " +
				"--redirect-uri (default 127.0.0.1)",
			value: &c.Listen,
			check: checkListen},
		{flag: "port", field: "Config.Ports", on: keepsProfile,
			usage: "`port` of the redirect URI, for providers that require a registered one; if " +
				"repeated, the first that is free is used (default: any free port)",
			value: &c.Ports,
			check: func(p *profile) error {
				if len(p.Ports) > 1 && p.RedirectURI != "" {
					return usage("--redirect-uri leads to one port: give one --port with it")
				}
				return nil
			}},
		{flag: "redirect-path", field: "Config.Path", on: keepsProfile,
			usage: "`path` of the redirect URI (default /callback)",
			value: &c.RedirectPath,
			to:    &c.config.Loopback.Path},
		{flag: "redirect-uri", field: "Config.RedirectURI", on: keepsProfile,
			usage: "`URL` that the provider sends the browser to, if a proxy or a container maps " +
				"it to this machine",
			value: &c.RedirectURI,
			to:    &c.config.Loopback.RedirectURI},
		{flag: "localhost", field: "Config.Localhost", on: keepsProfile,
			usage: "use localhost in the redirect URI, for providers that refuse 127.0.0.1",
			value: &c.Localhost,
			to:    &c.config.Loopback.Localhost},
		{flag: "form-post", field: "Config.FormPost", on: keepsProfile,
			usage: "also accept the provider's answer as a POST (response_mode=form_post)",
			value: &c.FormPost,
			to:    &c.config.Loopback.FormPost},
		{flag: "allow-other-users", field: "Config.AllowOtherUsers", on: keepsProfile,
			usage: "also accept a browser that another user of this computer runs",
			value: &c.AllowOtherUsers,
			to:    &c.config.Loopback.AllowOtherUsers},
	}
}

// loginTable is for one login, usually because an API has demanded a stronger sign-in
// (RFC 9470) or another user is to sign in.
func (c *choices) loginTable() []setting {
	return []setting{
		{flag: "add-scope", field: "LoginOptions.Scopes", on: loginAlone,
			usage: "`scope` in addition to the profile's and the granted ones; the login fails " +
				"if it is not granted; may be repeated",
			value: &c.login.Scopes},
		{flag: "resource-metadata", field: "LoginOptions.ResourceMetadata", on: loginAlone,
			usage: "`URL` of the metadata of --resource (RFC 9728), if they are not at the " +
				"well-known URL",
			value: &c.login.ResourceMetadata},
		{flag: "prompt", field: "LoginOptions.Prompt", on: loginAlone,
			usage: "`kind` of prompt at the provider: login, consent, select_account or none",
			value: &c.login.Prompt},
		{flag: "login-hint", field: "LoginOptions.LoginHint", on: loginAlone,
			usage: "`user` that is expected to sign in, such as an e-mail address",
			value: &c.login.LoginHint},
		{flag: "acr", field: "LoginOptions.ACRValues", on: loginAlone,
			usage: "authentication context `class`, one of which is required; may be repeated",
			value: &c.login.ACRValues},
		{flag: "max-age", field: "LoginOptions.MaxAge", on: loginAlone,
			usage: "how long ago you may have signed in at the provider, such as 10m; negative: " +
				"sign in again now",
			value: &c.login.MaxAge},
		{flag: "replace-user", field: "LoginOptions.ReplaceUser", on: loginAlone,
			usage: "let another user replace this account's session",
			value: &c.login.ReplaceUser},
	}
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
	for _, s := range a.flags.table() {
		if s.on != on {
			continue
		}
		// The zero value is the default of every setting: the SDK, or the provider,
		// chooses then. Help texts say what that is.
		switch v := s.value.(type) {
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
		// Commands define flags of their own with the same names; see given.
		a.bound[f.Lookup(s.flag)] = true
	}
}

// given returns a pointer to what the command line says about a setting, else
// the environment. It is nil if neither says anything. A flag of the same name
// that a command defines for itself, as the --scope of token, does not count.
func (a *app) given(cmd *cobra.Command, flag string) any {
	s := a.flags.setting(flag)
	if f := cmd.Flags().Lookup(flag); f != nil && f.Changed && a.bound[f] {
		return s.value
	}
	// An empty variable counts as one that is not set: that is how scripts unset it.
	if text := a.env[s.env]; s.env != "" && text != "" {
		return &text
	}
	return nil
}

// givenText is given for a setting that is a string.
func (a *app) givenText(cmd *cobra.Command, flag string) string {
	if text, ok := a.given(cmd, flag).(*string); ok {
		return *text
	}
	return ""
}

// assign copies the value that from points to. Both are of the same type.
func assign(to, from any) {
	reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem())
}

// setting returns the setting with this flag, which exists.
func (c *choices) setting(flag string) *setting {
	rows := c.table()
	return &rows[slices.IndexFunc(rows, func(s setting) bool { return s.flag == flag })]
}

// flagFor returns the flag that sets a field of the SDK, with its dashes; "" if
// none does. If several do, it is the one that was used.
func flagFor(field string, used *choices) string {
	flag := ""
	for _, s := range used.table() {
		if s.field == field && (flag == "" || !reflect.ValueOf(s.value).Elem().IsZero()) {
			flag = "--" + s.flag
		}
	}
	return flag
}

// variables lists the environment variables of all settings.
func (c *choices) variables() string {
	names := []string{"NATIVEOAUTH_PROFILE"}
	for _, s := range c.table() {
		if s.env != "" {
			names = append(names, strings.TrimPrefix(s.env, "NATIVEOAUTH"))
		}
	}
	return strings.Join(names, ", ")
}
