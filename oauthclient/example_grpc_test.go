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

// perRPC implements PerRPCCredentials of google.golang.org/grpc/credentials. The
// type oauth.TokenSource of that module does the same for an oauth2.TokenSource.
type perRPC struct{ oauth2.TokenSource }

func (c perRPC) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := c.Token() // refreshed when it is time
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": token.Type() + " " + token.AccessToken}, nil
}

func (c perRPC) RequireTransportSecurity() bool { return true }

// A session is an oauth2.TokenSource for other packages. Here every gRPC call
// carries a valid token.
func ExampleSession_TokenSource() {
	provider := exampleProvider()
	defer provider.Close()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.URL, ClientID: "my-cli", Scopes: []string{"offline_access"},
		Store: &tokenstore.Memory{}, UI: provider.UI, // a real program leaves these out
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
	// Output: true <nil>
}
