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
