package oauthclient

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// A login for an account with a session begins with cached metadata. In these tests
// they are yesterday's.

// renewing reports whether c is fetching the metadata anew.
func (r *rig) renewing(c *Client) bool {
	l := c.providers.lookup(r.Issuer())
	c.providers.mu.Lock()
	defer c.providers.mu.Unlock()
	return l.renewal != nil
}

// ticket opens a ticket and returns where it redirects to; "": it does not.
func (r *rig) ticket(ctx context.Context, url string) (location string) {
	resp := r.get(ctx, url, func(*http.Request) error { return http.ErrUseLastResponse })
	if resp == nil {
		return ""
	}
	return resp.Header.Get("Location")
}

// get is a browser that asks redirect before it follows one. It returns nil if there
// was no answer.
func (r *rig) get(ctx context.Context, url string, redirect func(*http.Request) error) *http.Response {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil
	}
	resp, err := (&http.Client{
		Transport: r.web, CheckRedirect: func(req *http.Request, _ []*http.Request) error { return redirect(req) },
	}).Do(req)
	if err != nil {
		return nil
	}
	_ = resp.Body.Close()
	return resp
}

// begin runs a login that ends in good time, in a process of its own.
func (r *rig) begin(cfg Config, open func(ctx context.Context, c *Client, url string) error) (asked []string, err error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	var client *Client
	cfg.UI.OpenURL = func(ctx context.Context, url string) error { return open(ctx, client, url) }
	asked = r.process(cfg, func(c *Client) {
		client = c
		_, err = c.Login(ctx, nil)
	})
	return asked, err
}

// A metadata server that hangs does not delay a request that was pushed.
func TestHangingMetadataDelayNoPush(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	release := r.Hold(authserver.Metadata)
	defer release()
	renewing := false
	_, err := r.begin(r.cfg, func(ctx context.Context, c *Client, url string) error {
		location := r.ticket(ctx, url)
		renewing = r.renewing(c)
		release()
		return r.cfg.UI.OpenURL(ctx, location)
	})
	require.NoError(t, err)
	require.True(t, renewing, "the browser waited for the metadata")
}

// A request that was refused is not pushed again if the metadata of today say the
// same.
func TestARefusedPushIsSentOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	r.says(authserver.PAR, func(w http.ResponseWriter, _ map[string]any) bool {
		w.WriteHeader(http.StatusBadRequest)
		return true
	})
	asked, err := r.begin(r.cfg, func(ctx context.Context, _ *Client, url string) error {
		return r.cfg.UI.OpenURL(ctx, url)
	})
	var refused *Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 1, count(asked, authserver.PAR))
}

// What yesterday's metadata refuse, and today's do not, is no reason to fail.
func TestYesterdaysMetadataRefuseNoLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	for name, change := range map[string]func(cfg *Config, m map[string]any){
		"no DPoP": func(cfg *Config, m map[string]any) {
			cfg.DPoP = true
			delete(m, "dpop_signing_alg_values_supported")
		},
		"no PAR": func(cfg *Config, m map[string]any) {
			cfg.RequirePAR = true
			delete(m, "pushed_authorization_request_endpoint")
		},
		"no S256":                   func(_ *Config, m map[string]any) { m["code_challenge_methods_supported"] = []string{"plain"} },
		"no authorization endpoint": func(_ *Config, m map[string]any) { delete(m, "authorization_endpoint") },
	} {
		cfg := r.cfg
		r.replace(func(_, m map[string]any) { change(&cfg, m) })
		asked := r.login(cfg)
		require.Equal(t, 1, count(asked, authserver.Metadata), name)
	}
}
