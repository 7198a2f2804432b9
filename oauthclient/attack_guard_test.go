package oauthclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// S43: the endpoints of a public provider that are inside a private network get no
// request. If the program wrote the same endpoints down, or set AllowPrivate, they do.
func TestS43PrivateEndpoints(t *testing.T) {
	t.Parallel()
	const public, inside = "https://93.184.216.34", "https://10.0.0.9"
	device := func(ctx context.Context, c *oauthclient.Client) error {
		_, err := c.Login(ctx, &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})
		return err
	}
	browser := func(ctx context.Context, c *oauthclient.Client) error {
		_, err := c.Login(ctx, &oauthclient.LoginOptions{Flow: oauthclient.FlowBrowser})
		return err
	}
	for member, tc := range map[string]struct {
		write func(*oauthclient.Endpoints, string)
		login func(context.Context, *oauthclient.Client) error
	}{
		"device_authorization_endpoint": {
			func(e *oauthclient.Endpoints, url string) { e.Device = url }, device,
		},
		"pushed_authorization_request_endpoint": {
			func(e *oauthclient.Endpoints, url string) { e.PAR = url }, browser,
		},
		"registration_endpoint": {
			func(e *oauthclient.Endpoints, url string) { e.Registration = url }, browser,
		},
	} {
		for _, lifted := range []string{"", "AllowPrivate", "Endpoints"} {
			var mu sync.Mutex
			var sent []string
			cfg := oauthclient.Config{
				Issuer: public, ClientID: "cli", Store: &tokenstore.Memory{},
				UI: oauthclient.UI{
					OpenURL: func(context.Context, string) error { return nil },
					Instruct: func(context.Context, oauthclient.Instructions) (string, error) {
						return "", nil
					},
				},
				Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					mu.Lock()
					sent = append(sent, r.URL.Host)
					mu.Unlock()
					rec := httptest.NewRecorder()
					rec.Header().Set("Content-Type", "application/json")
					if r.URL.Path != "/.well-known/oauth-authorization-server" {
						rec.WriteHeader(http.StatusForbidden)
						return rec.Result(), nil
					}
					_ = json.NewEncoder(rec).Encode(map[string]any{
						"issuer": public, "authorization_endpoint": public + "/a",
						"token_endpoint": public + "/t", member: inside + "/x",
					})
					return rec.Result(), nil
				}),
			}
			if member == "registration_endpoint" {
				cfg.ClientID, cfg.Registration = "", &oauthclient.Registration{ClientName: "Notes"}
			}
			cfg.AllowPrivate = lifted == "AllowPrivate"
			if lifted == "Endpoints" {
				cfg.Endpoints = &oauthclient.Endpoints{
					Issuer: public, Authorization: public + "/a", Token: public + "/t",
				}
				tc.write(cfg.Endpoints, inside+"/x")
			}
			err := tc.login(t.Context(), newClient(t, cfg))
			require.Error(t, err, member)
			mu.Lock()
			switch lifted {
			case "Endpoints":
				require.Equal(t, []string{"10.0.0.9"}, sent, member)
			case "AllowPrivate":
				require.Equal(t, []string{"93.184.216.34", "10.0.0.9"}, sent, member)
			default:
				require.ErrorContains(t, err, "private address", member)
				require.Equal(t, []string{"93.184.216.34"}, sent, member)
			}
			mu.Unlock()
		}
	}
}

// S43: metadata that were fetched cannot become configuration, by mistake or in a
// hurry: no field of Config has their type, and Endpoints cannot be converted from
// it, or be decoded from the document.
func TestS43MetadataAreNoConfiguration(t *testing.T) {
	fetched := reflect.TypeFor[oauthclient.Metadata]()
	for f := range reflect.TypeFor[oauthclient.Config]().Fields() {
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		require.False(t, fetched.ConvertibleTo(kind), f.Name)
	}
	for f := range reflect.TypeFor[oauthclient.Endpoints]().Fields() {
		require.Empty(t, f.Tag, f.Name)
	}
}

// Metadata are what a program reads: fields for what is common, Claims for the
// rest, and nothing that would reach the client's own copy.
func TestMetadataAreACopy(t *testing.T) {
	_, cfg := authServer(t, authserver.Config{})
	c := newClient(t, cfg)
	m, err := c.Metadata(t.Context())
	require.NoError(t, err)
	require.Equal(t, cfg.Issuer, m.Issuer)
	require.Contains(t, m.ScopesSupported, "openid")
	m.TokenEndpoint, m.ScopesSupported[0] = "https://10.0.0.9/t", "changed"
	again, err := c.Metadata(t.Context())
	require.NoError(t, err)
	require.Equal(t, cfg.Issuer+"/token", again.TokenEndpoint)
	require.NotContains(t, again.ScopesSupported, "changed")

	var more struct {
		Prompts []string `json:"prompt_values_supported"`
	}
	require.NoError(t, m.Claims(&more))
	require.Contains(t, more.Prompts, "consent")
	var wrong struct {
		Prompts int `json:"prompt_values_supported"`
	}
	require.ErrorIs(t, m.Claims(&wrong), oauthclient.ErrInvalidResponse)
}

// Endpoints that were written down are checked as a document is, by New.
func TestEndpointsAreChecked(t *testing.T) {
	good := oauthclient.Endpoints{
		Issuer:        "https://github.com",
		Authorization: "https://github.com/a",
		Token:         "https://github.com/t",
	}
	for want, change := range map[string]func(*oauthclient.Config){
		"Config.Endpoints.Token":       func(c *oauthclient.Config) { c.Endpoints.Token = "" },
		"Config.Endpoints.EndSession":  func(c *oauthclient.Config) { c.Endpoints.EndSession = "http://github.com/e" },
		"Config.Endpoints.JWKS":        func(c *oauthclient.Config) { c.Endpoints.JWKS = "file:///etc/passwd" },
		"Config.Issuer: it is missing": func(c *oauthclient.Config) { c.Endpoints.Issuer = "" },
		"differ":                       func(c *oauthclient.Config) { c.Issuer = "https://gitlab.com" },
	} {
		e := good
		cfg := oauthclient.Config{ClientID: "cli", Endpoints: &e, Store: &tokenstore.Memory{}}
		change(&cfg)
		_, err := oauthclient.New(cfg)
		require.ErrorContains(t, err, want)
	}

	cfg := oauthclient.Config{ClientID: "cli", Endpoints: &good, Store: &tokenstore.Memory{}}
	c := newClient(t, cfg)
	good.Token = "https://10.0.0.9/t" // after New
	m, err := c.Metadata(t.Context())
	require.NoError(t, err)
	require.Equal(t, "https://github.com/t", m.TokenEndpoint)
	require.ErrorIs(t, m.Claims(&struct{}{}), errors.ErrUnsupported)
}
