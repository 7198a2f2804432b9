package oauthclient_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// perRPC implements google.golang.org/grpc/credentials.PerRPCCredentials. The package
// examples/streams/grpcauth of this repository passes the call's context on, too, and
// keeps errors findable. That of gRPC itself does neither:
//
//	grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: session.TokenSource()})
type perRPC struct{ oauth2.TokenSource }

func (c perRPC) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := c.Token() // refreshes the token if need be
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": token.Type() + " " + token.AccessToken}, nil
}

func (c perRPC) RequireTransportSecurity() bool { return true }

// Every gRPC call gets a token that is valid at that time. A session works with
// everything that takes an oauth2.TokenSource.
func ExampleSession_TokenSource() {
	provider := exampleProvider()
	defer provider.Close()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli", Scopes: []string{"offline_access"},
		Store: &tokenstore.Memory{}, UI: provider.UI, // yours leaves them out: the keychain, the browser
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	session, err := client.SessionOrLogin(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	// grpc.NewClient(target, grpc.WithPerRPCCredentials(credentials), …)
	credentials := perRPC{session.TokenSource()}

	metadata, err := credentials.GetRequestMetadata(context.Background())
	fmt.Println(strings.HasPrefix(metadata["authorization"], "Bearer "), err)
	fmt.Println("TLS only:", credentials.RequireTransportSecurity())
	// Output:
	// true <nil>
	// TLS only: true
}
