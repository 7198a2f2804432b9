package oauthclient

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/fetch"
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

// A connection dies under a request that is pushed: it is pushed once more, and only
// once.
func TestALostPushIsSentOnceMore(t *testing.T) {
	t.Parallel()
	for _, times := range []int{1, 2} {
		r := newRig(t, authserver.Config{})
		losses := times
		r.says(authserver.PAR, func(http.ResponseWriter, map[string]any) bool {
			if losses--; losses >= 0 {
				panic(http.ErrAbortHandler)
			}
			return false
		})
		asked, err := r.begin(r.cfg, func(ctx context.Context, _ *Client, url string) error {
			return r.cfg.UI.OpenURL(ctx, url)
		})
		if times == 1 {
			require.NoError(t, err)
		} else {
			require.ErrorAs(t, err, new(*fetch.Error))
		}
		require.Equal(t, 2, count(asked, authserver.PAR))
	}
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

// yesterday has the cache say that requests are not pushed, and change more of it.
func (r *rig) yesterday(change func(m map[string]any)) {
	r.t.Helper()
	r.replace(func(_, m map[string]any) {
		delete(m, "pushed_authorization_request_endpoint")
		change(m)
	})
}

// A login that cannot reach the provider ends with that error, although the browser
// was opened.
func TestALoginOfflineEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	r.yesterday(func(map[string]any) {})
	cfg := r.cfg
	cfg.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: os.ErrPermission}
	})
	_, err := r.begin(cfg, func(ctx context.Context, _ *Client, url string) error {
		r.ticket(ctx, url)
		return nil
	})
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, "the provider's metadata")
}

// A ticket that was not used leads to where the provider is today. If it was, the
// login ends at once.
func TestATicketFollowsTheProvider(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	r.yesterday(func(m map[string]any) { m["authorization_endpoint"] = r.other + "/authorize" })
	renewed := make(chan struct{}, 1)
	cfg := r.cfg
	cfg.Logger = slog.New(slog.NewTextHandler(writer(func(line string) {
		if strings.Contains(line, "the ticket was renewed") {
			renewed <- struct{}{}
		}
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	_, err := r.begin(cfg, func(ctx context.Context, _ *Client, url string) error {
		select {
		case <-renewed:
		case <-ctx.Done():
		}
		return r.cfg.UI.OpenURL(ctx, url)
	})
	require.NoError(t, err)
	require.Zero(t, r.stolen.Load())

	r.yesterday(func(m map[string]any) { m["authorization_endpoint"] = r.other + "/authorize" })
	release := r.Hold(authserver.Metadata)
	defer release()
	_, err = r.begin(r.cfg, func(ctx context.Context, _ *Client, url string) error {
		r.ticket(ctx, url)
		release()
		return nil
	})
	require.ErrorIs(t, err, errMoved)
}

type writer func(line string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

// S29: whether an answer has to name its issuer is decided by the metadata of today.
func TestS29TheIssuerOfToday(t *testing.T) {
	t.Parallel()
	const member = "authorization_response_iss_parameter_supported"
	for _, today := range []bool{true, false} {
		r := newRig(t, authserver.Config{})
		r.says(authserver.Metadata, func(_ http.ResponseWriter, m map[string]any) bool {
			m[member] = today
			return false
		})
		r.login(r.cfg)
		r.yesterday(func(m map[string]any) { m[member] = !today })
		_, err := r.begin(r.cfg, func(ctx context.Context, _ *Client, url string) error {
			go r.get(ctx, url, func(req *http.Request) error {
				if q := req.URL.Query(); q.Has("iss") {
					q.Del("iss")
					req.URL.RawQuery = q.Encode()
				}
				return nil
			})
			return nil
		})
		if today {
			require.ErrorIs(t, err, ErrInvalidResponse)
		} else {
			require.NoError(t, err)
		}
	}
}
