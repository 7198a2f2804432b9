package main

import (
	"context"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func TestLeftIsShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for d, want := range map[time.Duration]string{
			0: "expired", 5 * time.Second: "5s", 10 * time.Second: "10s", 10 * time.Minute: "10m", time.Hour: "1h",
			20*time.Hour + 10*time.Minute: "20h10m", time.Minute + 30*time.Second: "1m30s", 72 * time.Hour: "3 days",
		} {
			require.Equal(t, want, left(time.Now().Add(d)))
		}
	})
}

// Every option of the SDK has a flag, or a reason why a user of the command does not
// need it. A new field in the SDK fails this test.
func TestEveryOptionHasAFlag(t *testing.T) {
	t.Parallel()
	const no = "" // with the reason beside it
	options := map[reflect.Type]map[string]string{
		reflect.TypeFor[oauthclient.Config](): {
			"Issuer": "issuer", "ClientID": "client-id", "ClientAuth": "client-secret-file client-secret-post client-key client-key-id", "Registration": "register register-token-file",
			"Endpoints": "metadata-file", "TenantIssuer": "tenant-issuer", "Scopes": "scope", "Resources": "resource", "Origins": "origin", "AuthParams": "auth-param", "TokenParams": "token-param", "RefreshBefore": "refresh-before",
			"TrustedAudiences": "trusted-audience", "DPoP": "dpop", "RequirePAR": "par", "Store": "store key-file", "AssumeLifetime": "assume-lifetime",
			"AllowPrivate": "allow-private", "Transport": "ca-file trace trace-file", "Logger": "verbose",
			"Workload":         "workload workload-token-file workload-audience subject-token-type",
			"IdentityProvider": "identity-provider",
			"UI":               no, // the command is one
			"Loopback":         no, // below
			"Deviations":       no, // below
		},
		reflect.TypeFor[oauthclient.Deviations](): {
			"AllowMissingNonce": "allow-missing-nonce", "MetadataURL": "metadata-url", "RawBasicAuth": "raw-basic-auth",
			"AcceptAudiences": "trusted-audience", // it is a function; a user has a list
			"AcceptIssuer":    "issuer",           // likewise
		},
		reflect.TypeFor[oauthclient.LoginOptions](): {
			"Account": "account", "ReplaceUser": "replace-user", "Flow": "browser no-browser device", "Scopes": "add-scope", "ACRValues": "acr", "MaxAge": "max-age",
			"Prompt": "prompt", "LoginHint": "login-hint", "ResourceMetadata": "resource-metadata",
			"AuthParams": no, // Config's
			"DPoP":       no, // Config's
		},
		reflect.TypeFor[loopback.Config](): {
			"Addr": "listen port", "Path": "redirect-path", "Localhost": "localhost", "RedirectURI": "redirect-uri", "FormPost": "form-post", "AllowOtherUsers": "allow-other-users",
			"Ports": "port",
			"Page":  no, // an application's
		},
	}
	a := &app{console: newConsole(t.Output(), nil)}
	root := a.root(nil)
	root.SetContext(context.Background())
	login, _, err := root.Find([]string{"login"})
	require.NoError(t, err)
	for of, flags := range options {
		for f := range of.Fields() {
			names, known := flags[f.Name]
			require.True(t, known || !f.IsExported(), "%s.%s: give it a flag of login", of, f.Name)
			for _, name := range strings.Fields(names) {
				require.True(t, login.Flags().Lookup(name) != nil || root.PersistentFlags().Lookup(name) != nil, name)
			}
		}
	}
}

// What the provider says of the session's end is shown, and not after it.
func TestStatusShowsTheSessionsExpiry(t *testing.T) {
	t.Parallel()
	row := statusRow{Issuer: "https://op.example", Refreshable: true, Expiry: time.Now().Add(time.Hour)}
	require.NotContains(t, statusTable([]statusRow{row}), "session ")
	row.SessionExpiry = time.Now().Add(30*24*time.Hour + time.Minute)
	require.Regexp(t, `session +until .* \(30 days\), as the provider says`, statusTable([]statusRow{row}))
	row.LoginRequired = true
	require.NotContains(t, statusTable([]statusRow{row}), "as the provider says")
}

// Advice is given once.
func TestMissingKeychainHasOneAdvice(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	var said strings.Builder
	args := []string{"token", "--issuer", "https://op.example", "--client-id", "cli"}
	run(t.Context(), args, strings.NewReader(""), io.Discard, &said, environ{})
	if runtime.GOOS == "linux" {
		require.Contains(t, said.String(), "no session bus")
		require.Equal(t, 1, strings.Count(said.String(), "sealed file"), said.String())
	}
}
