package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

// tokens signs in without a library, for a peer that starts from a refresh
// token.
func (p *provider) tokens(ctx context.Context) (*oauth2.Token, error) {
	conf := &oauth2.Config{
		ClientID: clientID, RedirectURL: "http://127.0.0.1/callback", Scopes: []string{"openid", "offline_access"},
		Endpoint: oauth2.Endpoint{AuthURL: p.URL("/authorize"), TokenURL: p.URL("/token"), AuthStyle: oauth2.AuthStyleInParams},
	}
	verifier := oauth2.GenerateVerifier()
	web, err := p.client()
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, web)
	resp, err := web.Get(conf.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", verifier)))
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	at, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return nil, err
	}
	code := at.Query().Get("code")
	if code == "" {
		return nil, fmt.Errorf("no code: HTTP %d, error %q", resp.StatusCode, at.Query().Get("error"))
	}
	return conf.Exchange(ctx, code, oauth2.VerifierOption(verifier))
}

func (p *provider) refreshToken(ctx context.Context) (string, error) {
	t, err := p.tokens(ctx)
	if err != nil {
		return "", err
	}
	return t.RefreshToken, nil
}

// tokenFile is a token in the form in which the peers' programs keep it.
func tokenFile(t *oauth2.Token) string {
	data, err := json.Marshal(t)
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(data)) + "\n"
}
