// Command parts links what a sign-in is made of, and does nothing with it: HTTP over TLS as client and listener, JSON, a logger, the keychain,
// signed tokens. What remains of a program's weight is its library's own.
package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"

	"github.com/go-jose/go-jose/v4"
	"github.com/zalando/go-keyring"
)

func main() {
	if len(os.Args) == 1 {
		return
	}
	resp, err := http.Get(os.Args[1])
	if err != nil {
		slog.Error(err.Error())
		return
	}
	defer resp.Body.Close()
	var token struct{ ID string }
	_ = json.NewDecoder(resp.Body).Decode(&token)
	signed, err := jose.ParseSignedCompact(token.ID, []jose.SignatureAlgorithm{jose.ES256})
	if err == nil {
		var keys jose.JSONWebKeySet
		_ = json.NewDecoder(resp.Body).Decode(&keys)
		_, err = signed.Verify(&keys)
	}
	if err == nil {
		secret, _ := keyring.Get("parts", "user")
		err = keyring.Set("parts", "user", secret)
	}
	_ = json.NewEncoder(os.Stdout).Encode(err)
	_ = http.ListenAndServe("127.0.0.1:0", http.NotFoundHandler())
}
