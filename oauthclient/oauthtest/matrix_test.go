package oauthtest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// Each flow completes, whatever the server requires, and uses its own endpoints
// and no others.
func TestEveryFlow(t *testing.T) {
	for name, flow := range map[string]oauthclient.Flow{
		"browser": oauthclient.FlowBrowser, "paste": oauthclient.FlowPaste, "device": oauthclient.FlowDevice, "auto": oauthclient.FlowAuto,
	} {
		for _, par := range []bool{false, true} {
			for _, dpop := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, PAR %v, DPoP %v", name, par, dpop), func(t *testing.T) {
					t.Parallel()
					server := oauthtest.NewServer(t, &oauthtest.Options{RequirePAR: par, RequireDPoP: dpop})
					client := newClient(t, server.Config())
					session, err := client.Login(within(t), &oauthclient.LoginOptions{Flow: flow})
					require.NoError(t, err)
					require.NoError(t, session.Refresh(within(t)))
					token, err := session.Token(within(t))
					require.NoError(t, err)
					kind := "Bearer"
					if dpop {
						kind = "DPoP"
					}
					require.Equal(t, kind, token.TokenType)
					var info map[string]any
					require.NoError(t, session.UserInfo(within(t), &info))
					require.Equal(t, "alice", info["sub"])

					switch flow {
					case oauthclient.FlowDevice:
						require.Positive(t, server.Requests("device"))
						require.Zero(t, server.Requests("par"), "nothing of the code flow")
						require.Zero(t, server.Requests("authorize"))
					case oauthclient.FlowBrowser, oauthclient.FlowPaste:
						require.Zero(t, server.Requests("device"), "nothing of the device flow")
						pushes := 1 // wherever it is offered
						if dpop {
							pushes = 2 // the first learns the nonce
						}
						require.Equal(t, pushes, server.Requests("par"))
						require.Equal(t, 1, server.Requests("authorize"))
					}
				})
			}
		}
	}
}
