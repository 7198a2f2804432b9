package oauthtest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// greet is the program under test: it signs in and calls an API. The test
// passes it another Config than a user's computer would.
func greet(ctx context.Context, cfg oauthclient.Config, api string) (string, error) {
	client, err := oauthclient.New(cfg)
	if err != nil {
		return "", err
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil)
	if err != nil {
		return "", err
	}
	resp, err := session.HTTPClient().Get(api)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%s, %s!", body, session.Account().Username), err
}

// This is the test of a program: it starts a server and an API, and runs the
// program against them.
func ExampleNewServer() {
	TestGreet := func(t testing.TB) {
		server := oauthtest.NewServer(t, nil)
		hello := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "Hello") }
		api := httptest.NewServer(server.Protect("email", http.HandlerFunc(hello)))
		defer api.Close()

		greeting, err := greet(context.Background(), server.Config(), api.URL)
		fmt.Println(greeting, err)
	}
	run(TestGreet)
	// Output: Hello, alice! <nil>
}
