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

// perRPC is a google.golang.org/grpc/credentials.PerRPCCredentials. So is that module's own oauth.TokenSource, which takes a session's
// TokenSource as well: grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: session.TokenSource()}).
type perRPC struct{ oauth2.TokenSource }

func (c perRPC) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := c.Token() // refreshed when it is time
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": token.Type() + " " + token.AccessToken}, nil
}

func (c perRPC) RequireTransportSecurity() bool { return true }

// Every gRPC call has the token that is good at the time. What takes an oauth2.TokenSource takes a session.
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
	credentials := perRPC{session.TokenSource()} // grpc.NewClient(target, grpc.WithPerRPCCredentials(credentials), …)

	metadata, err := credentials.GetRequestMetadata(context.Background())
	fmt.Println(strings.HasPrefix(metadata["authorization"], "Bearer "), err)
	// Output: true <nil>
}
