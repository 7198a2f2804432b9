package loopback_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/pkce"
)

// A sign-in with loopback and pkce alone. The program makes the token request
// itself.
func Example() {
	provider := exampleProvider()
	defer provider.Close()
	ctx := context.Background()

	server, err := loopback.Listen(ctx, loopback.Config{Page: loopback.Page{AppName: "Acme CLI"}})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close() // lets the browser load its page

	state, verifier := rand.Text(), pkce.New()
	ticket, err := server.Start(provider.URL+"/authorize?"+url.Values{
		"response_type":         {"code"},
		"client_id":             {"acme-cli"},
		"redirect_uri":          {server.RedirectURI()},
		"state":                 {state},
		"code_challenge":        {verifier.Challenge()},
		"code_challenge_method": {pkce.Method},
	}.Encode(), loopback.Expect{State: state, Issuer: provider.URL, RequireIssuer: true})
	if err != nil {
		log.Fatal(err)
	}
	openBrowser(ticket)

	response, err := server.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	code, err := response.Code()
	if err == nil {
		err = exchange(provider.URL+"/token", url.Values{
			"grant_type":    {"authorization_code"},
			"client_id":     {"acme-cli"},
			"code":          {code},
			"redirect_uri":  {server.RedirectURI()},
			"code_verifier": {verifier.Reveal()},
		})
	}
	response.Finish("alice@example.com", err)
	fmt.Println("signed in:", err == nil)
	// Output: signed in: true
}

// A browser reaches a program in a container under another address than the one
// on which it listens.
func ExampleConfig_container() {
	server, err := loopback.Listen(context.Background(), loopback.Config{
		Addr:        "0.0.0.0:0", // in earnest the port that docker run -p 127.0.0.1:8085:8085 maps
		RedirectURI: "http://127.0.0.1:8085/callback",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	fmt.Println(server.RedirectURI())
	// Output: http://127.0.0.1:8085/callback
}

// A user with a browser on another computer pastes the address at which it
// ended.
func ExampleServer_Paste() {
	server, err := loopback.Listen(context.Background(), loopback.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	if _, err := server.Start("https://login.example.com/authorize?state=s3cr3t",
		loopback.Expect{State: "s3cr3t"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(server.Paste(server.RedirectURI() + "?code=c&state=old"))
	fmt.Println(server.Paste(server.RedirectURI() + "?error=access_denied&state=s3cr3t"))
	response, err := server.Wait(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	_, err = response.Code()
	fmt.Println(err)
	// Output:
	// loopback: the pasted text is not the awaited answer: its state is not this sign-in's; an older tab may have sent it
	// <nil>
	// the provider refused the sign-in: access_denied
}

// exampleProvider says yes to everything.
func exampleProvider() *httptest.Server {
	mux := http.NewServeMux()
	var srv *httptest.Server
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		http.Redirect(w, r,
			q.Get("redirect_uri")+"?"+url.Values{
				"code": {"c"}, "state": {q.Get("state")}, "iss": {srv.URL},
			}.Encode(),
			http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"t"}`)
	})
	srv = httptest.NewServer(mux)
	return srv
}

// openBrowser stands for the system's browser.
func openBrowser(u string) {
	go func() {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(u)
		if err == nil {
			resp.Body.Close()
		}
	}()
}

func exchange(endpoint string, form url.Values) error {
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).PostForm(
		endpoint, form)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
