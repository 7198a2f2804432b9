package oauthclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rsc.io/qr"

	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The Examples sign in at a provider of their own, with a user at its browser, and
// keep sessions in memory. A real program leaves out Store and UI.

// A program can have several accounts. It gives each a name.
func ExampleClient_Accounts() {
	provider := exampleProvider()
	defer provider.Close()
	ctx := context.Background()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli",
		Scopes: []string{"openid", "profile", "offline_access"},
		Store:  &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for _, name := range []string{"home", "work"} {
		if _, err := client.Login(ctx, &oauthclient.LoginOptions{Account: name}); err != nil {
			log.Fatal(err)
		}
	}
	if err := client.Logout(ctx, "home", nil); err != nil {
		log.Fatal(err)
	}
	accounts, err := client.Accounts(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range accounts {
		fmt.Println(a.Name, a.Username)
	}
	// Output: work alice
}

// A desktop application shows its name on the page that ends the login, shows the
// progress in its window, and has a button that cancels ctx.
func ExampleConfig_desktop() {
	provider := exampleProvider()
	defer provider.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // the button

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli",
		Scopes:   []string{"openid", "email", "offline_access"},
		Loopback: loopback.Config{Page: loopback.Page{AppName: "Notes"}},
		UI: oauthclient.UI{
			OpenURL:  provider.UI.OpenURL,
			Progress: func(step oauthclient.Step) { fmt.Println("step:", step) },
		},
		Store: &tokenstore.Memory{},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close() // when the application quits

	session, err := client.SessionOrLogin(ctx, nil)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, oauthclient.ErrAccessDenied):
		return // the user changed their mind
	case err != nil:
		log.Fatal(err)
	}
	var who struct {
		Email string `json:"email"`
	}
	if err := session.Claims(&who); err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed in as", who.Email)
	// Output:
	// step: discover
	// step: user
	// step: exchange
	// step: store
	// signed in as alice@example.com
}

// A device has a screen and no browser. The user scans a QR code with a telephone
// (RFC 8628).
func ExampleUI_device() {
	provider := exampleProvider()
	defer provider.Close()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli", Scopes: []string{"offline_access"},
		Store: &tokenstore.Memory{},
		UI: oauthclient.UI{Instruct: func(
			_ context.Context, do oauthclient.Instructions,
		) (string, error) {
			code, err := qr.Encode(do.VerificationURIComplete, qr.L)
			if err != nil {
				return "", err
			}
			// Show it, with do.VerificationURI and do.UserCode beside it.
			fmt.Println("a QR code:", len(code.PNG()) > 0)
			provider.visit(do.VerificationURIComplete) // the telephone
			return "", nil
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	opts := &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice}
	_, err = client.SessionOrLogin(context.Background(), opts)
	fmt.Println("signed in:", err == nil)
	// Output:
	// a QR code: true
	// signed in: true
}

// A daemon has no user. It uses the session that a login of another program stored,
// and says what to do if there is none.
func ExampleClient_Session() {
	provider := exampleProvider()
	defer provider.Close()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli", Scopes: []string{"offline_access"},
		Store: &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	sync := func(ctx context.Context) error {
		session, err := client.Session(ctx, "")
		if err != nil {
			return err
		}
		resp, err := session.HTTPClient().Get(provider.API + "/me")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	for range 2 { // a real daemon: at each tick
		switch err := sync(context.Background()); {
		case errors.Is(err, oauthclient.ErrLoginRequired):
			fmt.Println("not signed in; run: my-cli login")
		case err != nil:
			fmt.Println("trying again later:", err)
		default:
			fmt.Println("synced")
		}
		// Meanwhile the user runs "my-cli login".
		if _, err := client.Login(context.Background(), nil); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// not signed in; run: my-cli login
	// synced
}

// A credential plugin of kubectl prints an ID token for the cluster.
func ExampleSession_IDToken() {
	provider := exampleProvider()
	defer provider.Close()
	ctx, stdout := context.Background(), &bytes.Buffer{} // os.Stdout

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli", Scopes: []string{"openid", "offline_access"},
		Store: &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	token, expiry, err := session.IDToken(ctx)
	if err != nil {
		log.Fatal(err)
	}
	err = json.NewEncoder(stdout).Encode(map[string]any{
		"apiVersion": "client.authentication.k8s.io/v1",
		"kind":       "ExecCredential",
		"status": map[string]any{
			"token": token, "expirationTimestamp": expiry.UTC().Format(time.RFC3339),
		},
	})
	fmt.Println(strings.Contains(stdout.String(), "ExecCredential"), err)
	// Output: true <nil>
}

// A credential helper of git answers "get" with the access token as the password.
// "git config credential.helper my-helper" sets it up.
func ExampleSession_Token() {
	provider := exampleProvider()
	defer provider.Close()
	ctx, stdout := context.Background(), &bytes.Buffer{} // os.Stdout

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli", Scopes: []string{"offline_access"},
		Store: &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	token, err := session.Token(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(stdout, "username=oauth2\npassword=%s\npassword_expiry_utc=%d\n",
		token.AccessToken, token.Expiry.Unix())
	fmt.Println(strings.Count(stdout.String(), "\n"), "lines for git")
	// Output: 3 lines for git
}

// One login serves two APIs. Each gets a token that the other rejects (RFC 8707).
func ExampleSession_For() {
	provider := exampleProvider()
	defer provider.Close()
	ctx := context.Background()
	mail, files := provider.API+"/mail", provider.API+"/files"

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli", Scopes: []string{"offline_access"},
		Resources: []string{mail, files},
		Store:     &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, api := range []string{mail, files} {
		resp, err := session.HTTPClient().Get(api) // chooses the token by the address
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	one, err := session.For(mail).Token(ctx) // without HTTPClient
	if err != nil {
		log.Fatal(err)
	}
	two, err := session.For(files).Token(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same token:", one.AccessToken == two.AccessToken)
	// Output:
	// 200 OK
	// 200 OK
	// the same token: false
}

// Some providers require a secret of native apps, as Google does. It is not
// confidential: everybody who has the program has it.
func ExampleClientSecret() {
	provider := exampleProvider()
	defer provider.Close()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-desktop-app", Scopes: []string{"offline_access"},
		ClientAuth: oauthclient.ClientSecret("installed, so no secret"),
		Store:      &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_, err = client.SessionOrLogin(context.Background(), nil)
	fmt.Println("signed in:", err == nil)
	// Output: signed in: true
}

// An API requires more than the login had, here a second factor. It says so in a 401
// or 403 (RFC 9470), and the user signs in once more.
func ExampleParseChallenge() {
	provider := exampleProvider()
	defer provider.Close()
	ctx := context.Background()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli", Scopes: []string{"openid", "offline_access"},
		Store: &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := session.HTTPClient().Get(provider.API + "/payments")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	if opts, ok := oauthclient.ParseChallenge(resp); ok {
		fmt.Println("signing in again, with", opts.ACRValues)
		// ErrStepUp would mean that the new login has no second factor either.
		if session, err = client.SessionOrLogin(ctx, opts); err != nil {
			log.Fatal(err)
		}
		if resp, err = session.HTTPClient().Get(provider.API + "/payments"); err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
	}
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output:
	// 401 Unauthorized
	// signing in again, with [mfa]
	// hello <nil>
}

// The program is not registered at the provider. It registers itself, once
// (RFC 7591).
func ExampleRegistration() {
	provider := exampleProvider()
	defer provider.Close()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, Scopes: []string{"openid", "profile", "offline_access"},
		Registration: &oauthclient.Registration{
			ClientName: "Notes", SoftwareID: "com.example.notes",
		},
		Store: &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed in:", session.Account().Username)
	// Output: signed in: alice
}

// A server or a CI runner has no keychain. The session is stored in an encrypted
// file, and the key comes from outside.
func ExampleConfig_sealedFile() {
	provider := exampleProvider()
	defer provider.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// (umask 077; openssl rand -base64 32 >/run/secrets/my-cli.key) makes a key.
	secret := filepath.Join(dir, "my-cli.key")
	const base64 = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\n"
	if err := os.WriteFile(secret, []byte(base64), 0o600); err != nil {
		log.Fatal(err)
	}

	key, err := tokenstore.ReadKey(secret)
	if err != nil {
		log.Fatal(err)
	}
	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli", Scopes: []string{"offline_access"},
		Store: tokenstore.NewFile(filepath.Join(dir, "sessions"), key),
		UI:    provider.UI, // a real program: oauthclient.TerminalUI(os.Stderr, os.Stdin)
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("kept in a file:", strings.HasPrefix(session.Account().Store, "file "))
	// Output: kept in a file: true
}

// A provider publishes no metadata, as GitHub does not. The program writes down the
// endpoints that it uses.
func ExampleEndpoints() {
	provider := exampleProvider()
	defer provider.Close()

	client, err := oauthclient.New(oauthclient.Config{
		ClientID: "my-cli", Scopes: []string{"offline_access"},
		Endpoints: &oauthclient.Endpoints{
			Issuer:        provider.URL,
			Authorization: provider.URL + "/authorize",
			Token:         provider.URL + "/token",
			S256:          true,
		},
		Store: &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed in:", session.Account().Refreshable)
	// Output: signed in: true
}

// A program that adapts to the provider reads its metadata. Claims has the members
// without a field.
func ExampleClient_Metadata() {
	provider := exampleProvider()
	defer provider.Close()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli",
		Store: &tokenstore.Memory{}, UI: provider.UI,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	metadata, err := client.Metadata(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	var more struct {
		Prompts []string `json:"prompt_values_supported"`
	}
	if err := metadata.Claims(&more); err != nil {
		log.Fatal(err)
	}
	fmt.Println("device login:", metadata.DeviceAuthorizationEndpoint != "")
	fmt.Println("prompts:", more.Prompts)
	// Output:
	// device login: true
	// prompts: [none login consent]
}
