package oauthtest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"sync/atomic"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// The program makes its own Config. The test points it at the server, and leaves what
// the program asks for.
func ExampleServer_Apply() {
	server, err := oauthtest.Start(nil) // in a test: oauthtest.NewServer(t, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	cfg := oauthclient.Config{ // of the program
		Issuer: "https://login.example.com", ClientID: "my-cli",
		Scopes: []string{"openid", "notes"},
	}
	server.Apply(&cfg)

	client, err := oauthclient.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(session.Account().Scopes, session.Account().Refreshable)
	// Output: [openid notes] false
}

// The user says no, and later the provider ends the session.
func ExampleServer_Revoke() {
	server, err := oauthtest.Start(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := oauthclient.New(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()

	server.Deny()
	_, err = client.Login(ctx, nil)
	fmt.Println(errors.Is(err, oauthclient.ErrAccessDenied))

	session, err := client.Login(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	server.Revoke()
	err = session.Refresh(ctx)
	fmt.Println(errors.Is(err, oauthclient.ErrLoginRequired))
	// Output:
	// true
	// true
}

// The token endpoint is down for a while. That is no reason to sign in again.
func ExampleOptions() {
	var down atomic.Bool
	server, err := oauthtest.Start(&oauthtest.Options{
		Misbehave: func(endpoint string, next http.Handler) http.Handler {
			if endpoint != "token" {
				return next
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if down.Load() {
					http.Error(w, "down", http.StatusServiceUnavailable)
					return
				}
				next.ServeHTTP(w, r)
			})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := oauthclient.New(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.Login(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}

	down.Store(true)
	err = session.Refresh(context.Background())
	fmt.Println(err)
	fmt.Println(errors.Is(err, oauthclient.ErrLoginRequired))
	// Output:
	// the provider's token endpoint answered HTTP status 503: try again later
	// false
}
