package oauthclient_test

import (
	"net/url"
	"time"

	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// The recipes of docs/providers.md: its Go blocks are these function bodies (TestRecipesAreTheDocs), and the tests of the
// providers' shapes sign in with them as they stand, at the providers' own names.

func recipeGitHub() oauthclient.Config {
	cfg := oauthclient.Config{
		ClientID:   "Iv1.example",
		ClientAuth: oauthclient.ClientSecret("example"), // GitHub insists; with FlowDevice it does not
		Scopes:     []string{"repo", "user:email"},
		Origins:    []string{"https://api.github.com"},
		Endpoints: &oauthclient.Endpoints{
			Issuer:        "https://github.com",
			Authorization: "https://github.com/login/oauth/authorize",
			Token:         "https://github.com/login/oauth/access_token",
			Device:        "https://github.com/login/device/code",
			S256:          true,
			AuthMethods:   []string{"client_secret_post"},
		},
		AssumeLifetime: 10 * 365 * 24 * time.Hour, // an OAuth app's tokens have no end
	}
	return cfg
}

func recipeEntra() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0", // your tenant
		ClientID: "11111111-2222-4333-8444-555555555555",
		Scopes:   []string{"openid", "profile", "offline_access", "https://graph.microsoft.com/User.Read"},
		Origins:  []string{"https://graph.microsoft.com"},
		Loopback: loopback.Config{Localhost: true}, // Entra ignores the port of localhost only
	}
	return cfg
}

func recipeEntraTenants() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:       "https://login.microsoftonline.com/common/v2.0",
		TenantIssuer: "https://login.microsoftonline.com/{tenantid}/v2.0", // any tenant: look at "tid" in Session.Claims
		ClientID:     "11111111-2222-4333-8444-555555555555",
		Scopes:       []string{"openid", "profile", "offline_access", "https://graph.microsoft.com/User.Read"},
		Origins:      []string{"https://graph.microsoft.com"},
		Loopback:     loopback.Config{Localhost: true},
	}
	return cfg
}

func recipeGoogle() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:     "https://accounts.google.com",
		ClientID:   "1234567890-example.apps.googleusercontent.com",
		ClientAuth: oauthclient.ClientSecret("GOCSPX-example"), // Google insists; it is not confidential
		Scopes:     []string{"openid", "email", "https://www.googleapis.com/auth/drive.readonly"},
		Origins:    []string{"https://www.googleapis.com"},
		AuthParams: url.Values{"access_type": {"offline"}, "prompt": {"consent"}}, // a refresh token, each time
	}
	return cfg
}

func recipeAuth0() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:     "https://example.eu.auth0.com/", // with the slash
		ClientID:   "exampleClientID",
		Scopes:     []string{"openid", "profile", "offline_access", "read:things"},
		Origins:    []string{"https://api.example.com"},
		AuthParams: url.Values{"audience": {"https://api.example.com/"}}, // the API's identifier
		Loopback:   loopback.Config{Addr: "127.0.0.1:8765"},              // Auth0 compares the port
	}
	return cfg
}

func recipeSalesforce() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:         "https://login.salesforce.com",
		ClientID:       "3MVG9example",
		Scopes:         []string{"openid", "api", "refresh_token"},
		Origins:        []string{"https://example.my.salesforce.com"},
		AssumeLifetime: 2 * time.Hour,                                            // its answers have no expires_in: the org's session timeout
		Loopback:       loopback.Config{Addr: "127.0.0.1:8765", Localhost: true}, // it compares the port
	}
	return cfg
}

func recipePayPal() oauthclient.Config {
	cfg := oauthclient.Config{
		ClientID:   "exampleClientID",
		ClientAuth: oauthclient.ClientSecret("example"), // PayPal insists; it is not confidential
		Scopes:     []string{"profile", "email"},
		Origins:    []string{"https://api-m.paypal.com"},
		Endpoints: &oauthclient.Endpoints{
			Issuer:        "https://www.paypal.com",
			Authorization: "https://www.paypal.com/signin/authorize",
			Token:         "https://api-m.paypal.com/v1/oauth2/token",
		},
		Loopback: loopback.Config{Addr: "127.0.0.1:8765"}, // the return URL is compared with its port
	}
	return cfg
}

func recipeCognito() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_example",
		ClientID: "exampleClientID", // an app client without a secret
		Scopes:   []string{"openid", "email", "profile"},
		Origins:  []string{"https://api.example.com"},
		Loopback: loopback.Config{Addr: "127.0.0.1:8765", Localhost: true}, // http for localhost only, and the port is compared
	}
	return cfg
}

func recipeSlack() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://slack.com",
		ClientID: "1234567890.1234567890123", // an app with PKCE turned on, which makes it a public client
		Scopes:   []string{"openid", "profile", "email"},
		Loopback: loopback.Config{Addr: "127.0.0.1:8765", Localhost: true}, // http for localhost only, and the port is compared
	}
	return cfg
}

func recipeAzureB2C() oauthclient.Config {
	cfg := oauthclient.Config{
		// the tenant's ID, and a slash at the end
		Issuer:   "https://contoso.b2clogin.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0/",
		ClientID: "11111111-2222-4333-8444-555555555555",
		// the client ID as a scope brings an access token
		Scopes:   []string{"openid", "offline_access", "11111111-2222-4333-8444-555555555555"},
		Origins:  []string{"https://api.example.com"},
		Loopback: loopback.Config{Localhost: true}, // the port of localhost only is ignored
		Deviations: oauthclient.Deviations{
			// the user flow's own place
			MetadataURL: "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_sign_in" +
				"/v2.0/.well-known/openid-configuration",
		},
	}
	return cfg
}

func recipeExternalID() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer: "https://8eaef023-2b34-4da1-9baa-8bc8c9d6a490.ciamlogin.com" +
			"/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0", // the tenant's ID in both places
		ClientID: "11111111-2222-4333-8444-555555555555",
		Scopes:   []string{"openid", "profile", "offline_access"},
		Origins:  []string{"https://graph.microsoft.com"},
		Loopback: loopback.Config{Localhost: true},
	}
	return cfg
}

func recipeOkta() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://example.okta.com/oauth2/default", // a custom authorization server
		ClientID: "0oaexample",
		Scopes:   []string{"openid", "profile", "offline_access"},
		Origins:  []string{"https://api.example.com"},
		Loopback: loopback.Config{Addr: "127.0.0.1:8765"}, // Okta compares the port
	}
	return cfg
}

func recipeKeycloak() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://keycloak.example.com/realms/example",
		ClientID: "example-cli",
		Scopes:   []string{"openid", "profile"},
		Origins:  []string{"https://api.example.com"},
	}
	return cfg
}

func recipePing() oauthclient.Config {
	cfg := oauthclient.Config{
		// the environment's ID
		Issuer:   "https://auth.pingone.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/as",
		ClientID: "11111111-2222-4333-8444-555555555555",
		Scopes:   []string{"openid", "profile"},
		Origins:  []string{"https://api.example.com"},
	}
	return cfg
}

func recipeADFS() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:    "https://adfs.example.com/adfs",
		ClientID:  "11111111-2222-4333-8444-555555555555",
		Scopes:    []string{"openid"},
		Resources: []string{"https://api.example.com/"}, // the web API's identifier
		// AD FS compares the port: register a redirect URI for each
		Loopback: loopback.Config{Ports: []uint16{8765, 18765, 28765}},
	}
	return cfg
}

func recipeGitLab() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://gitlab.com", // or your own server
		ClientID: "exampleApplicationID",
		Scopes:   []string{"openid", "read_api"},
		Origins:  []string{"https://gitlab.com"},
	}
	return cfg
}

func recipeBitbucket() oauthclient.Config {
	cfg := oauthclient.Config{
		ClientID:   "exampleKey",
		ClientAuth: oauthclient.ClientSecret("example"), // Bitbucket insists
		Origins:    []string{"https://api.bitbucket.org"},
		Endpoints: &oauthclient.Endpoints{
			Issuer:        "https://bitbucket.org",
			Authorization: "https://bitbucket.org/site/oauth2/authorize",
			Token:         "https://bitbucket.org/site/oauth2/access_token",
		},
		Loopback: loopback.Config{Addr: "127.0.0.1:8765"}, // the port is compared
	}
	return cfg
}

func recipeAtlassian() oauthclient.Config {
	cfg := oauthclient.Config{
		ClientID:   "exampleClientID",
		ClientAuth: oauthclient.ClientSecretPost("example"), // Atlassian insists
		Scopes:     []string{"read:jira-work", "offline_access"},
		Origins:    []string{"https://api.atlassian.com"},
		AuthParams: url.Values{"audience": {"api.atlassian.com"}, "prompt": {"consent"}},
		Endpoints: &oauthclient.Endpoints{
			Issuer:        "https://auth.atlassian.com",
			Authorization: "https://auth.atlassian.com/authorize",
			Token:         "https://auth.atlassian.com/oauth/token",
		},
		Loopback: loopback.Config{Addr: "127.0.0.1:8765", Localhost: true},
	}
	return cfg
}

func recipeLinkedIn() oauthclient.Config {
	cfg := oauthclient.Config{
		ClientID: "exampleClientID",
		Scopes:   []string{"openid", "profile", "email"},
		Origins:  []string{"https://api.linkedin.com"},
		Endpoints: &oauthclient.Endpoints{
			Issuer:        "https://www.linkedin.com/oauth",
			Authorization: "https://www.linkedin.com/oauth/native-pkce/authorization",
			Token:         "https://www.linkedin.com/oauth/v2/accessToken",
			JWKS:          "https://www.linkedin.com/oauth/openid/jwks",
			Userinfo:      "https://api.linkedin.com/v2/userinfo",
			S256:          true,
		},
		Deviations: oauthclient.Deviations{AllowMissingNonce: true}, // LinkedIn drops it
	}
	return cfg
}

func recipeSpotify() oauthclient.Config {
	cfg := oauthclient.Config{
		ClientID: "exampleClientID",
		Scopes:   []string{"playlist-read-private"},
		Origins:  []string{"https://api.spotify.com"},
		Endpoints: &oauthclient.Endpoints{
			Issuer:        "https://accounts.spotify.com",
			Authorization: "https://accounts.spotify.com/authorize",
			Token:         "https://accounts.spotify.com/api/token",
			S256:          true,
		},
	}
	return cfg
}

func recipeDiscord() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://discord.com",
		ClientID: "1234567890",
		Scopes:   []string{"identify"},
		Origins:  []string{"https://discord.com"},
		Loopback: loopback.Config{Addr: "127.0.0.1:8765"},
	}
	return cfg
}

func recipeDropbox() oauthclient.Config {
	cfg := oauthclient.Config{
		ClientID:   "exampleAppKey",
		Scopes:     []string{"files.metadata.read"},
		Origins:    []string{"https://api.dropboxapi.com", "https://content.dropboxapi.com"},
		AuthParams: url.Values{"token_access_type": {"offline"}}, // a refresh token
		Endpoints: &oauthclient.Endpoints{
			Issuer:        "https://www.dropbox.com",
			Authorization: "https://www.dropbox.com/oauth2/authorize",
			Token:         "https://api.dropboxapi.com/oauth2/token",
			S256:          true,
		},
		Loopback: loopback.Config{Addr: "127.0.0.1:8765", Localhost: true}, // compared exactly
	}
	return cfg
}

func recipeZoom() oauthclient.Config {
	cfg := oauthclient.Config{
		ClientID: "examplePublicClientID", // not the app's ordinary client ID
		Origins:  []string{"https://api.zoom.us"},
		Endpoints: &oauthclient.Endpoints{
			Issuer:        "https://zoom.us",
			Authorization: "https://zoom.us/oauth/authorize",
			Token:         "https://zoom.us/oauth/token",
			S256:          true,
		},
	}
	return cfg
}

func recipeHuggingFace() oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer:   "https://huggingface.co",
		ClientID: "11111111-2222-4333-8444-555555555555",
		Scopes:   []string{"openid", "profile", "read-repos"},
		Origins:  []string{"https://huggingface.co"},
	}
	return cfg
}
