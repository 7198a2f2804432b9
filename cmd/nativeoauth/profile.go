package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// profile is what the configuration keeps of a login. It never holds a secret.
// Each field but ClientSecretStored has a row in the table of settings.
type profile struct {
	// Issuer and ClientID identify the session, with Account. A profile is nothing
	// without them, so they are written even if they are empty.
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes,omitempty"`
	Account  string   `json:"account,omitempty"` // see account

	// What the tokens are for, and what the provider must support.
	Resources        []string `json:"resources,omitempty"`
	Origins          []string `json:"origins,omitempty"`
	TrustedAudiences []string `json:"trusted_audiences,omitempty"`
	AuthParams       []string `json:"auth_params,omitempty"`  // name=value
	TokenParams      []string `json:"token_params,omitempty"` // name=value
	DPoP             bool     `json:"dpop,omitempty"`
	RequirePAR       bool     `json:"require_par,omitempty"`
	TenantIssuer     string   `json:"tenant_issuer,omitempty"`
	MetadataFile     string   `json:"metadata_file,omitempty"`
	AssumeLifetime   seconds  `json:"assume_lifetime,omitempty"`
	RefreshBefore    seconds  `json:"refresh_before,omitempty"`
	AllowPrivate     bool     `json:"allow_private,omitempty"`
	DockerRegistries []string `json:"docker_registries,omitempty"` // that get the token

	// Concessions to the provider.
	AllowMissingNonce bool   `json:"allow_missing_nonce,omitempty"`
	MetadataURL       string `json:"metadata_url,omitempty"`
	RawBasicAuth      bool   `json:"raw_basic_auth,omitempty"`

	// How the client got its ID. RegisterTokenFile is a path, and the token stays there.
	Register          bool   `json:"register,omitempty"`
	RegisterTokenFile string `json:"register_token_file,omitempty"`

	// Where the session is, and how the client authenticates. These are paths and names;
	// ClientSecretStored says that a login put the secret into the store.
	Store              string `json:"store,omitempty"`
	KeyFile            string `json:"key_file,omitempty"`
	ClientSecretFile   string `json:"client_secret_file,omitempty"`
	ClientSecretStored bool   `json:"client_secret_stored,omitempty"` // beside the session
	ClientSecretPost   bool   `json:"client_secret_post,omitempty"`
	ClientKeyFile      string `json:"client_key_file,omitempty"`
	ClientKeyID        string `json:"client_key_id,omitempty"`

	// How tokens are obtained without a user; "": a user signs in. WorkloadTokenFile is a
	// path, and the token stays there.
	Workload          string `json:"workload,omitempty"`
	WorkloadTokenFile string `json:"workload_token_file,omitempty"`
	WorkloadAudience  string `json:"workload_audience,omitempty"`
	SubjectTokenType  string `json:"subject_token_type,omitempty"`

	// IdentityProvider is the profile of the company's sign-in; "": the user signs in here.
	IdentityProvider string `json:"identity_provider,omitempty"`

	// How the provider is reached.
	CAFile  string  `json:"ca_file,omitempty"` // trusted beside the system's certificates
	Timeout seconds `json:"timeout,omitempty"` // of a command

	// The redirect URI and its listener. Zero: 127.0.0.1, a free port, /callback.
	Listen          string `json:"listen,omitempty"` // an IP address
	Ports           ports  `json:"port,omitempty"`
	RedirectPath    string `json:"redirect_path,omitempty"`
	RedirectURI     string `json:"redirect_uri,omitempty"`
	Localhost       bool   `json:"localhost,omitempty"`
	FormPost        bool   `json:"form_post,omitempty"`
	AllowOtherUsers bool   `json:"allow_other_users,omitempty"`
}

// The name of the profile that is used if the user names none, and a limit.
const (
	defaultProfile = "default"
	maxConfig      = 1 << 20 // bytes; some thousand profiles
)

// config is the configuration file.
type config struct {
	Profiles map[string]profile `json:"profiles"`
}

// configPath returns the path of nativeoauth/config.json in the user's
// configuration directory (XDG Base Directory). A relative directory is ignored,
// as the specification says: it would depend on the working directory, and anyone
// who can write there could choose the provider (S44).
func configPath(env environ) (string, error) {
	dir := env["XDG_CONFIG_HOME"]
	if !filepath.IsAbs(dir) {
		dir = ""
	}
	if dir == "" {
		var err error
		// XDG_CONFIG_HOME is relative and thus ignored, but os.UserConfigDir would
		// report it as an error.
		if home := env["HOME"]; filepath.IsAbs(home) && env["XDG_CONFIG_HOME"] != "" {
			dir = filepath.Join(home, ".config")
		} else if dir, err = os.UserConfigDir(); err != nil {
			return "", fmt.Errorf("the configuration directory is not known: %w; set %s", err, homeVariable)
		}
	}
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("the home directory is not an absolute path; set %s to one", homeVariable)
	}
	return filepath.Join(dir, "nativeoauth", "config.json"), nil
}

// readConfig returns the configuration. If there is no file, it is empty.
func readConfig(env environ) (config, error) {
	path, err := configPath(env)
	if err != nil {
		return config{}, err
	}
	// Others may read the file, which holds no secret. They may not change it: it names
	// the provider that gets the client secret (S44).
	data, err := securefile.ReadTrusted(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	}
	if errors.Is(err, syscall.ENOTDIR) { // HOME=/dev/null, as some services have it
		return config{}, fmt.Errorf("configuration: %w; set %s to a directory", err, homeVariable)
	}
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	// The strict decoder: a duplicate name would hide what a login really uses.
	var c config
	if err := wire.UnmarshalJSON(data, &c); err != nil {
		return config{}, fmt.Errorf("configuration %s: %w; mend or remove it", path, err)
	}
	return c, nil
}

// remember stores p as the profile with this name. It writes nothing if the profile
// is stored like that already: the configuration may be read-only.
func remember(ctx context.Context, env environ, name string, p profile) error {
	if c, err := readConfig(env); err == nil {
		if stored, ok := c.Profiles[name]; ok && reflect.DeepEqual(stored, p) {
			return nil
		}
	}
	return editConfig(ctx, env, func(c *config) { c.Profiles[name] = p })
}

// editConfig changes the configuration. It reads the file under a lock, so that
// changes by other processes are kept.
func editConfig(ctx context.Context, env environ, edit func(*config)) error {
	path, err := configPath(env)
	if err != nil {
		return err
	}
	unlock, err := securefile.LockTrusted(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }() // the file was written or not; nothing can be done here
	c, err := readConfig(env)
	if err != nil {
		return err
	}
	if c.Profiles == nil {
		c.Profiles = map[string]profile{}
	}
	edit(&c)
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	// The file is replaced in one step: a crash leaves the old one or the new one.
	return securefile.WriteTrusted(path, append(data, '\n'))
}

// provider returns what a user knows the provider by: its issuer, or the resource
// that names it.
func (p *profile) provider() string {
	if p.Issuer == "" && len(p.Resources) > 0 {
		return p.Resources[0]
	}
	return p.Issuer
}

// account returns the name that the SDK knows the session of p by, if p has this name.
// It is that of the profile, so that two profiles of one client have two sessions. The
// default profile has the SDK's default account, "".
func (p *profile) account(name string) string {
	if account := cmp.Or(p.Account, name); account != defaultProfile {
		return account
	}
	return ""
}

// names returns the sorted names of the profiles.
func (c config) names() []string {
	var names []string
	for name := range c.Profiles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// pick returns the name of the profile to use if the user names none. It is
// "default" unless there is a single profile with another name.
func (c config) pick() (name string) {
	if _, ok := c.Profiles[defaultProfile]; !ok && len(c.Profiles) == 1 {
		return c.names()[0]
	}
	return defaultProfile
}

// checkProfileName accepts printable ASCII without spaces, which is easy to type
// and safe to show.
func checkProfileName(name string) error {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, bad) {
		return usage("the profile name %q cannot be used; "+
			"give letters, digits and punctuation without spaces", name)
	}
	return nil
}
