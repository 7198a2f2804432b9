// Command storm is one of many processes that want a token at the same moment. It is ready, waits for its standard input to
// end, and prints the token and the moment it had it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

func main() {
	way := map[string]func() (string, error){"sdk": sdk, "plain": plain, "flock": locked}[os.Args[1]]
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
	token, err := way()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(time.Now().UnixNano(), token)
}

func sdk() (string, error) {
	cfg := oauthclient.Config{Issuer: os.Getenv("BENCH_ISSUER"), ClientID: os.Getenv("BENCH_CLIENT"), Scopes: []string{"openid", "offline_access"}, DPoP: os.Getenv("BENCH_DPOP") != ""}
	if dir := os.Getenv("BENCH_FILE"); dir != "" {
		key, err := tokenstore.ReadKey(os.Getenv("BENCH_KEY"))
		if err != nil {
			return "", err
		}
		cfg.Store = tokenstore.NewFile(dir, key)
	}
	client, err := oauthclient.New(cfg)
	if err != nil {
		return "", err
	}
	defer client.Close()
	session, err := client.Session(context.Background(), "")
	if err != nil {
		return "", err
	}
	token, err := session.Token(context.Background())
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

func config() *oauth2.Config {
	return &oauth2.Config{ClientID: os.Getenv("BENCH_CLIENT"), Endpoint: oauth2.Endpoint{
		TokenURL: os.Getenv("BENCH_ISSUER") + "/token", AuthStyle: oauth2.AuthStyleInParams,
	}}
}

// plain reads the token from a file, lets x/oauth2 refresh it, and writes it back.
func plain() (string, error) {
	path := os.Getenv("BENCH_TOKEN")
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var old oauth2.Token
	if err := json.Unmarshal(data, &old); err != nil {
		return "", err
	}
	token, err := config().TokenSource(context.Background(), &old).Token()
	if err != nil {
		return "", err
	}
	if token.AccessToken != old.AccessToken {
		if data, err = json.Marshal(token); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return "", err
		}
	}
	return token.AccessToken, nil
}

// locked does the same under a lock, as a careful program does by hand.
func locked() (string, error) {
	lock := flock.New(os.Getenv("BENCH_TOKEN") + ".lock")
	if err := lock.Lock(); err != nil {
		return "", err
	}
	defer lock.Unlock()
	return plain()
}
