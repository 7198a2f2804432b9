package interop

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// LemonLDAP is the portal of Debian's lemonldap-ng, an OpenID provider in Perl,
// in a process of its own with its sessions in files. Refresh tokens stay the
// same. It knows NativeClient, with redirect URIs on Port only: it compares the
// whole URI with the registered one.
type LemonLDAP struct {
	Issuer string
	Port   int // of NativeClient's redirect URIs
}

// The user. The portal's module Demo has accounts with passwords that are their
// names.
const LemonLDAPUser = "rtyler"

// lemonldapServer serves the portal at the listener that the process is given.
const lemonldapServer = `use strict;
use HTTP::Server::PSGI;
use IO::Socket::INET;
use Lemonldap::NG::Portal::Main;
my $listener = IO::Socket::INET->new_from_fd(3, 'r+') or die "no listener: $!";
HTTP::Server::PSGI->new(listen_sock => $listener)->run(Lemonldap::NG::Portal::Main->run({}));
`

const lemonldapConfig = `[all]
logLevel = warn
[configuration]
type = File
dirName = %[1]s/conf
[portal]
staticPrefix = /static
templateDir = /usr/share/lemonldap-ng/portal/templates
languages = en
`

// StartLemonLDAP starts a provider that ends with the test. It needs Debian's
// package (see realparts.Need).
func StartLemonLDAP(tb testing.TB) *LemonLDAP {
	tb.Helper()
	perl := realparts.Need(tb, "perl")[0]
	needDebian(tb, "liblemonldap-ng-portal-perl", "2.16.")
	address, handed := listen(tb)
	// Its cookies are for a domain, which cannot be an address.
	l := &LemonLDAP{
		Issuer: fmt.Sprintf("http://localhost:%d/", address.Port),
		Port:   int(realparts.FreePort(tb)),
	}
	dir := tb.TempDir()
	l.furnish(tb, dir)
	cmd := exec.Command(perl, "-e", lemonldapServer)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LLNG_DEFAULTCONFFILE="+filepath.Join(dir, "lemonldap-ng.ini"))
	cmd.ExtraFiles = []*os.File{handed}
	startServer(tb, "lemonldap-ng", cmd, serves(tb.Context(), strings.TrimSuffix(l.Issuer, "/")+discovery))
	return l
}

// furnish writes the configuration, with the provider and the client, as the
// manager of lemonldap-ng does.
func (l *LemonLDAP) furnish(tb testing.TB, dir string) {
	tb.Helper()
	private, public := rsaKeys(tb)
	var redirects []string
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		redirects = append(redirects, "http://"+host+":"+strconv.Itoa(l.Port)+"/callback")
	}
	for _, sub := range []string{"conf", "sessions/lock", "psessions/lock", "cache"} {
		require.NoError(tb, os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	storage := func(name string) map[string]any {
		at := filepath.Join(dir, name)
		return map[string]any{"Directory": at, "LockDirectory": filepath.Join(at, "lock"),
			"generateModule": "Lemonldap::NG::Common::Apache::Session::Generate::SHA256"}
	}
	config, err := json.Marshal(map[string]any{
		"cfgNum": 1, "cfgDate": time.Now().Unix(), "key": rand.Text(),
		"portal": l.Issuer, "domain": "localhost", "cookieName": "lemonldap", "securedCookie": 0,
		"authentication": "Demo", "userDB": "Same", "passwordDB": "Demo", "registerDB": "Null",
		"demoExportedVars": map[string]any{"cn": "cn", "mail": "mail", "uid": "uid"},
		"whatToTrace":      "uid",
		"locationRules":    map[string]any{"localhost": map[string]any{"default": "accept"}},
		"globalStorage":    "Apache::Session::File", "globalStorageOptions": storage("sessions"),
		"persistentStorage": "Apache::Session::File", "persistentStorageOptions": storage("psessions"),
		"localSessionStorage": "Cache::FileCache", "localSessionStorageOptions": map[string]any{
			"cache_root": filepath.Join(dir, "cache"), "namespace": "sessions", "default_expires_in": 600,
		},
		// The real one needs ImageMagick, and no page here shows it.
		"captcha": "::Password::Null",
		// prompt=login prompts, however short the last sign-in is ago.
		"portalForceAuthnInterval":            0,
		"issuerDBOpenIDConnectActivation":     1,
		"oidcServicePrivateKeySig":            private,
		"oidcServicePublicKeySig":             public,
		"oidcServiceKeyIdSig":                 "interop",
		"oidcServiceAllowDynamicRegistration": 1,
		"oidcRPMetaDataExportedVars": map[string]any{
			"interop": map[string]any{"name": "cn", "email": "mail"},
		},
		"oidcRPMetaDataOptions": map[string]any{"interop": map[string]any{
			"oidcRPMetaDataOptionsClientID":               NativeClient,
			"oidcRPMetaDataOptionsDisplayName":            "Interop",
			"oidcRPMetaDataOptionsPublic":                 1,
			"oidcRPMetaDataOptionsRequirePKCE":            1,
			"oidcRPMetaDataOptionsAllowOffline":           1,
			"oidcRPMetaDataOptionsRefreshToken":           1,
			"oidcRPMetaDataOptionsIDTokenSignAlg":         "RS256",
			"oidcRPMetaDataOptionsRedirectUris":           strings.Join(redirects, " "),
			"oidcRPMetaDataOptionsPostLogoutRedirectUris": strings.Join(redirects, " "),
		}},
	})
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(filepath.Join(dir, "conf", "lmConf-1.json"), config, 0o600))
	settings := fmt.Appendf(nil, lemonldapConfig, dir)
	require.NoError(tb, os.WriteFile(filepath.Join(dir, "lemonldap-ng.ini"), settings, 0o600))
}

// User returns a user with an account here.
func (l *LemonLDAP) User(issuer string) *User { return NewUser(issuer, LemonLDAPUser, LemonLDAPUser) }
