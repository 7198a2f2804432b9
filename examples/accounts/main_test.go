package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

func TestAccounts(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	api := httptest.NewServer(server.Protect("", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })))
	defer api.Close()
	cfg := server.Config() // one store for all runs
	program := func(args ...string) (string, error) {
		var out strings.Builder
		err := run(context.Background(), cfg, args, &out)
		return out.String(), err
	}
	expect := func(want string, args ...string) {
		t.Helper()
		out, err := program(args...)
		require.NoError(t, err, args)
		require.Equal(t, want, out)
	}

	expect("work is alice\n", "login", "work")
	expect("home is alice\n", "login", "home")
	expect("home\talice\tsigned in\nwork\talice\tsigned in\n", "list")
	expect("hello", "get", "work", api.URL)
	expect("", "logout", "home")
	expect("work\talice\tsigned in\n", "list")

	_, err := program("get", "wrok", api.URL)
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.ErrorContains(t, err, `there is one for "work"`)

	server.Revoke() // the provider ends the session
	server.Expire()
	_, err = program("get", "work", api.URL)
	require.ErrorContains(t, err, "401")
	expect("work\talice\tsign in again\n", "list")
	_, err = program("get", "work", api.URL)
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)

	_, err = program("lsit")
	require.EqualError(t, err, usage)
}
