package workload_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/nativeoauth/nativeoauth/oauthclient/workload"
)

// A pod of Kubernetes has its token in a projected volume. The manifest names the
// audience and the path.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "token") // "/var/run/secrets/my-app/token"
	project(path, "https://login.example.com")

	token := workload.File(path) // for oauthclient.Workload
	jwt, err := token(context.Background(), "https://login.example.com")
	fmt.Println(jwt != "", err)
	_, err = token(context.Background(), "https://api.example.com")
	fmt.Println("for another audience:", err != nil)
	// Output:
	// true <nil>
	// for another audience: true
}

// project writes a token, as Kubernetes does.
func project(path, audience string) {
	part := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	jwt := part(`{"alg":"RS256"}`) + "." + part(`{"aud":["`+audience+`"]}`) + "." + part("signature")
	if err := os.WriteFile(path, []byte(jwt), 0o600); err != nil {
		log.Fatal(err)
	}
}
