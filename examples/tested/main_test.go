package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// start returns a provider, an API that wants the scope "notes", and the program's
// own Config, pointed at the provider. Store and user come from the server.
func start(t *testing.T, opts *oauthtest.Options) (*oauthtest.Server, string, oauthclient.Config) {
	server := oauthtest.NewServer(t, opts)
	api := httptest.NewServer(server.Protect("notes", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "buy milk") })))
	t.Cleanup(api.Close)
	cfg := config()
	server.Apply(&cfg)
	return server, api.URL, cfg
}

func TestShowsNotes(t *testing.T) {
	server, api, cfg := start(t, nil)
	for range 2 { // the second run uses the stored session
		var out strings.Builder
		if err := run(context.Background(), cfg, api, &out); err != nil || out.String() != "buy milk" {
			t.Fatalf("got %q, %v", out.String(), err)
		}
	}
	if n := server.Requests("authorize"); n != 1 {
		t.Errorf("the user signed in %d times", n)
	}
}

func TestUserSaysNo(t *testing.T) {
	server, api, cfg := start(t, nil)
	server.Deny()
	err := run(context.Background(), cfg, api, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "you did not allow") {
		t.Errorf("got %v", err)
	}
}

// The API rejects a token that looked good: the SDK renews it, and the program does
// not notice.
func TestTokenIsRejected(t *testing.T) {
	server, api, cfg := start(t, nil)
	if err := run(context.Background(), cfg, api, &strings.Builder{}); err != nil {
		t.Fatal(err)
	}
	server.Expire()
	var out strings.Builder
	if err := run(context.Background(), cfg, api, &out); err != nil || out.String() != "buy milk" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// The provider has ended the session: the next run signs the user in again.
func TestSessionEnded(t *testing.T) {
	server, api, cfg := start(t, nil)
	if err := run(context.Background(), cfg, api, &strings.Builder{}); err != nil {
		t.Fatal(err)
	}
	server.Revoke()
	_ = run(context.Background(), cfg, api, &strings.Builder{}) // learns it
	var out strings.Builder
	if err := run(context.Background(), cfg, api, &out); err != nil || out.String() != "buy milk" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if n := server.Requests("authorize"); n != 2 {
		t.Errorf("the user signed in %d times", n)
	}
}

// The provider is down. The error is shown, and nobody is asked to sign in for it.
func TestProviderIsDown(t *testing.T) {
	var down atomic.Bool
	server, api, cfg := start(t, &oauthtest.Options{
		Misbehave: func(endpoint string, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if endpoint == "token" && down.Load() {
					http.Error(w, "down", http.StatusServiceUnavailable)
					return
				}
				next.ServeHTTP(w, r)
			})
		},
	})
	if err := run(context.Background(), cfg, api, &strings.Builder{}); err != nil {
		t.Fatal(err)
	}
	down.Store(true)
	server.Expire()
	if err := run(context.Background(), cfg, api, &strings.Builder{}); err == nil {
		t.Error("no error")
	}
	if n := server.Requests("authorize"); n != 1 {
		t.Errorf("the user signed in %d times", n)
	}
}
