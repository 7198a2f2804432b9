package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/stretchr/testify/require"
)

const matrixFile = "../../docs/interop.md"

// makes are the providers of the matrix.
var makes = []struct {
	name  string
	start func(t *testing.T) subject
}{
	{"oidc-provider", func(t *testing.T) subject {
		return subject{issuer: StartOIDCProvider(t, Options{}).Issuer, newUser: anybody}
	}},
	{"oidc-provider, PAR and DPoP required", func(t *testing.T) subject {
		return subject{issuer: StartOIDCProvider(t, Options{RequirePAR: true, RequireDPoP: true}).Issuer, newUser: anybody, strict: true}
	}},
	{"zitadel op", func(t *testing.T) subject {
		return subject{issuer: StartZitadel(t, 0).Issuer, newUser: zitadelUser}
	}},
	{"glewlwyd", func(t *testing.T) subject {
		g := StartGlewlwyd(t)
		return subject{issuer: g.Issuer, newUser: g.User, port: g.Port, hint: true,
			ending: "with LogoutOptions.IDTokenHint, without which it ends nothing. The user is then asked for the password even with prompt=none, " +
				"of which it takes no notice in a pushed request"}
	}},
	{"lemonldap-ng", func(t *testing.T) subject {
		l := StartLemonLDAP(t)
		return subject{issuer: l.Issuer, newUser: l.User, port: l.Port, late: true,
			ending: "its sign-in page is the last one. The user is then asked for the password even with prompt=none, " +
				"of which it takes no notice before the sign-in"}
	}},
	{"django-oauth-toolkit", func(t *testing.T) subject {
		d := StartDjangoOAuth(t)
		return subject{issuer: d.Issuer, newUser: d.User, revocation: d.Issuer + "/revoke_token/"}
	}},
	{"hydra", func(t *testing.T) subject {
		h := StartHydra(t)
		return subject{issuer: h.Issuer, newUser: h.User}
	}},
	{"better-auth", func(t *testing.T) subject {
		b := StartBetterAuth(t)
		return subject{issuer: b.Issuer, newUser: b.User}
	}},
}

func anybody(issuer string) *User { return NewUser(issuer, "alice", "correct horse") }

func zitadelUser(issuer string) *User { return NewUser(issuer, ZitadelUser, "verysecure") }

// subject is a provider.
type subject struct {
	issuer     string
	newUser    func(issuer string) *User // one with an account there
	strict     bool                      // PAR and DPoP are required
	port       int                       // of the registered redirect URIs; 0 means any
	hint       bool                      // it needs the ID token to end a session
	revocation string                    // the endpoint, if the metadata do not name it
	ending     string                    // how the end of its session differs; "" means not at all
	late       bool                      // it knows a registered client only when it reads its configuration again
}

// docs/interop.md shows the result of this test: what works against real
// providers. NATIVEOAUTH_UPDATE=1 rewrites it. Each provider is a test of its
// own; the document is compared only if all of them ran.
func TestMatrix(t *testing.T) {
	t.Parallel()
	needIPv6(t)
	var columns []column
	for _, provider := range makes {
		t.Run(provider.name, func(t *testing.T) { columns = append(columns, fill(t, provider.start(t))) })
	}
	if len(columns) < len(makes) {
		return // -run chose some of them, or a part is missing
	}
	table := render(columns)
	if os.Getenv("NATIVEOAUTH_UPDATE") != "" {
		require.NoError(t, os.WriteFile(matrixFile, []byte(table), 0o644))
	}
	written, err := os.ReadFile(matrixFile)
	require.NoError(t, err)
	require.Equal(t, table, strings.ReplaceAll(string(written), "\r\n", "\n"), "NATIVEOAUTH_UPDATE=1 go test -run TestMatrix writes docs/interop.md anew")
}

// column is what one provider can do: a result for each feature.
type column []note

// fill tries every feature at a provider.
func fill(t *testing.T, s subject) column {
	client, err := oauthclient.New(oauthclient.Config{Issuer: s.issuer, ClientID: NativeClient, Store: &tokenstore.Memory{}})
	require.NoError(t, err)
	metadata, err := client.Metadata(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Close())
	results := make(column, len(features))
	for i, feature := range features {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		m := &matrix{subject: s, t: t, ctx: ctx, metadata: metadata, user: s.newUser(s.issuer)}
		err := feature.check(m)
		m.wait.Wait()
		if m.client != nil { // its listener may still hold the one port that the next row needs
			require.NoError(t, m.client.Close())
		}
		cancel()
		var n *note
		switch {
		case err == nil:
			results[i] = note{cell: "pass"}
		case errors.As(err, &n):
			results[i] = *n
		case errors.Is(err, errors.ErrUnsupported):
			results[i] = note{cell: "unsupported"}
		default:
			results[i] = note{cell: "fail"}
			t.Errorf("%s: %v", feature.name, err)
		}
		if testing.Verbose() {
			t.Logf("%s: %s", feature.name, results[i].Error())
		}
	}
	return results
}

func render(columns []column) string {
	var names, notes strings.Builder
	cells := make([][]string, len(features))
	numbered := 0
	for j, provider := range makes {
		names.WriteString(" " + provider.name + " |")
		for i, feature := range features {
			result := columns[j][i]
			cell := result.cell
			if result.why != "" {
				numbered++
				fmt.Fprintf(&notes, "%d. %s, %s: %s.\n", numbered, provider.name, feature.name, result.why)
				cell += fmt.Sprintf(" (%d)", numbered)
			}
			cells[i] = append(cells[i], cell)
		}
	}
	var b strings.Builder
	b.WriteString(matrixHead + "| |" + names.String() + "\n|---|" + strings.Repeat("---|", len(makes)) + "\n")
	for i, feature := range features {
		fmt.Fprintf(&b, "| %s | %s |\n", feature.name, strings.Join(cells[i], " | "))
	}
	b.WriteString("\n" + notes.String())
	return b.String()
}

const matrixHead = `# Interoperability

What works against authorization servers that this project did not write. The table is written by a test that does each thing through the public API, against the real
server (` + "`internal/interop`, TestMatrix" + `), and compared with it in every run of ` + "`.ci/run`" + `. "Unsupported" is what the provider has not, and what the SDK then says
before anything is sent, or refuses.

The servers are npm's oidc-provider 9.13 and better-auth 1.7.5; zitadel/oidc 3.51 with its example's storage; Ory Hydra 2.3.0 on SQLite; and from Debian 12 glewlwyd 2.7.5 on
SQLite, lemonldap-ng 2.16.1, and django-oauth-toolkit 1.7.0 in a Django project of one file. Hydra and better-auth have no pages for sign-in: theirs are from this project.
The user at the provider's pages is a scripted HTTP browser with cookies and forms; glewlwyd's page is a program, and its user calls the provider's own interface as
that program would. Sign-in, denial, logout, the device flow, registration, PAR with DPoP and IPv6 at oidc-provider, and a sign-in at glewlwyd's page, are also done in a
real Chromium, with sessions in a real gnome-keyring, across real processes (TestStory…). A device login that was done by hand is in [device-login.md](device-login.md).

`
