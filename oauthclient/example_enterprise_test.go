package oauthclient_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// readNotes is the example of docs/mcp.md. company is the program's client at the
// company's identity provider, and cfg that at the server: Resources, and ClientID and
// ClientAuth as they are registered at its authorization server.
func readNotes(ctx context.Context, company *oauthclient.Client, cfg oauthclient.Config) (*http.Response, error) {
	user, err := company.SessionOrLogin(ctx, nil) // the user signs in here, once
	if err != nil {
		return nil, err
	}
	cfg.IdentityProvider = user
	client, err := oauthclient.New(cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil) // nobody is prompted
	if err != nil {
		return nil, err
	}
	return session.HTTPClient().Get(cfg.Resources[0])
}

// A company's identity provider decides which servers the user may use. One sign-in
// stands for all of them.
func Example_enterprise() {
	idp, err := oauthtest.Start(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer idp.Close()
	server, err := oauthtest.Start(&oauthtest.Options{IdentityProvider: idp})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	api := httptest.NewServer(server.Protect("notes", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "three notes")
	})))
	defer api.Close()

	company, err := oauthclient.New(idp.Config())
	if err != nil {
		log.Fatal(err)
	}
	defer company.Close()
	cfg := oauthclient.Config{Scopes: []string{"notes"}, Resources: []string{api.URL}}
	server.Apply(&cfg)
	resp, err := readNotes(context.Background(), company, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	fmt.Println(string(text), err, server.Requests("authorize"))
	// Output: three notes <nil> 0
}

// The example in docs/mcp.md is the one that runs.
func TestEnterpriseExampleIsTheDocs(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	body := regexp.MustCompile(`(?s)func readNotes\(.*?error\) \{\n(.*?)\n\}`).FindStringSubmatch(read("example_enterprise_test.go"))
	require.Len(t, body, 2)
	block := regexp.MustCompile("(?s)```go\n(.*?)\n```").FindStringSubmatch(read("../docs/mcp.md"))
	require.Len(t, block, 2)
	require.Equal(t, strings.ReplaceAll("\n"+body[1], "\n\t", "\n")[1:], block[1], "docs/mcp.md and readNotes differ")
}
