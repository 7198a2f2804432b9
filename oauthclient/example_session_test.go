package oauthclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// The Examples of this file sign in at a server of package oauthtest. Its Config
// stands for yours.

// What a caller does with each error. The order matters: an error may match several
// cases.
func Example_errors() {
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

	advice := func(err error) string {
		var answer *oauthclient.Error
		switch {
		case err == nil:
			return "signed in"
		case errors.Is(err, oauthclient.ErrLoginRequired):
			return "please sign in"
		case errors.Is(err, oauthclient.ErrAccessDenied), errors.Is(err, context.Canceled):
			return "as you like"
		case errors.As(err, &answer) && answer.RetryAfter > 0:
			return "the provider is busy"
		default:
			return "try again later: " + err.Error() // no error holds a secret
		}
	}
	ctx := context.Background()
	_, err = client.Session(ctx, "")
	fmt.Println(advice(err))
	server.Deny() // the user says no
	_, err = client.Login(ctx, nil)
	fmt.Println(advice(err))
	_, err = client.Login(ctx, nil)
	fmt.Println(advice(err))
	// Output:
	// please sign in
	// as you like
	// signed in
}

// A program moves here from another library. Its users need not sign in again: their
// refresh tokens are imported, at the first start of the new version or at every one.
func ExampleClient_Import() {
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
	// oldStore is what the program had: it read the token from a file of its own.
	oldStore := func() *oauth2.Token { return &oauth2.Token{RefreshToken: "worthless by now"} }

	session, err := client.Import(context.Background(), "", oldStore())
	switch {
	case errors.Is(err, oauthclient.ErrLoginRequired):
		// The provider refused the token, or the user has signed out since.
		session, err = client.Login(context.Background(), nil)
	case err == nil:
		// Delete the old copy: its refresh token may be spent.
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed in as", session.Account().Username)
	// Output: signed in as alice
}

// A desktop program or a daemon notices that the user signed out, in whatever process
// that was.
func ExampleSession_Done() {
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
	session, err := client.Login(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("at work:", session.Err())

	if err := client.Logout(ctx, "", nil); err != nil { // or in another program
		log.Fatal(err)
	}
	<-session.Done()
	fmt.Println(errors.Is(session.Err(), oauthclient.ErrSignedOut), session.Err())
	// Output:
	// at work: <nil>
	// true the session was signed out: sign in again
}

// A logout revokes the tokens and deletes the session, for all programs that share
// it.
func ExampleClient_Logout() {
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
	if _, err := client.Login(ctx, nil); err != nil {
		log.Fatal(err)
	}

	switch err := client.Logout(ctx, "", nil); {
	case errors.Is(err, oauthclient.ErrNotRevoked):
		fmt.Println("signed out here; the provider may accept the tokens until they expire")
	case err != nil:
		log.Fatal(err) // the session may still be here
	default:
		fmt.Println("signed out")
	}
	_, err = client.Session(ctx, "")
	fmt.Println(errors.Is(err, oauthclient.ErrLoginRequired))
	// Output:
	// signed out
	// true
}

// The verified ID token identifies the user. The subject never changes; a name or an
// email address may.
func ExampleSession_Claims() {
	server, err := oauthtest.Start(&oauthtest.Options{Claims: map[string]any{"org": "acme"}})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := oauthclient.New(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}

	var user struct {
		Subject string `json:"sub"`
		Name    string `json:"name"`
		Org     string `json:"org"` // any claim of the provider
	}
	if err := session.Claims(&user); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%+v\n", user)
	// Output: {Subject:alice Name:Alice Example Org:acme}
}

// The HTTP client adds the token, renews it if need be, and sends it to no other
// server than Config.Origins names.
func ExampleSession_HTTPClient() {
	server, err := oauthtest.Start(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	api := httptest.NewServer(server.Protect("", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })))
	defer api.Close()

	cfg := server.Config()
	cfg.Origins = []string{api.URL} // "https://api.example.com"
	client, err := oauthclient.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}

	server.Expire() // the API will answer 401; the client refreshes and asks once more
	resp, err := session.HTTPClient().Get(api.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)

	_, err = session.HTTPClient().Get("https://elsewhere.example.com/")
	fmt.Println("elsewhere:", err != nil)
	// Output:
	// hello <nil>
	// elsewhere: true
}
