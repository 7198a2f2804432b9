package oauthclient

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/fetch"
)

// At a second login nothing is asked before the browser opens: neither for metadata,
// nor to push the request. A first login asks for the metadata alone.
func TestTheBrowserOpensBeforeAnythingIsAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	open := r.cfg.UI.OpenURL
	for _, held := range [][]string{{authserver.PAR}, {authserver.PAR, authserver.Metadata, authserver.JWKS}} {
		var release []func()
		for _, endpoint := range held {
			release = append(release, r.Hold(endpoint))
		}
		cfg := r.cfg
		cfg.UI.OpenURL = func(ctx context.Context, url string) error {
			for _, f := range release {
				f()
			}
			return open(ctx, url)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		asked := r.process(cfg, func(c *Client) {
			_, err := c.Login(ctx, nil)
			require.NoError(t, err)
		})
		cancel()
		require.Contains(t, asked, authserver.PAR)
	}
}

// A device endpoint that does not answer delays neither the browser nor the login. A
// login that waited for it would wait for longer than this one has time.
func TestAHangingDeviceEndpointDelaysNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), fetch.Timeout*2/3)
	defer cancel()
	release := r.Hold(authserver.Device)
	defer release()
	r.cfg.UI.Instruct = func(context.Context, Instructions) (string, error) { return "", nil }
	r.process(r.cfg, func(c *Client) {
		a, err := c.account("")
		require.NoError(t, err)
		l := &login{client: c, account: a, started: time.Now()}
		require.NoError(t, l.discover(ctx))
		b, err := l.promptBrowser(ctx, ways{
			open:   func(ctx context.Context, url string, _ func(error)) error { return r.cfg.UI.OpenURL(ctx, url) },
			device: true,
		})
		require.NoError(t, err)
		defer b.close()
		answer, err := b.wait(ctx)
		require.NoError(t, err)
		_, err = l.finish(ctx, answer)
		require.NoError(t, err)
		answer.tell("", nil)
	})
}

// A request that cannot be pushed ends the login with the provider's own words.
func TestARefusedPushEndsTheLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	cfg := r.cfg
	cfg.ClientID = "unknown"
	r.process(cfg, func(c *Client) {
		_, err := c.Login(t.Context(), nil)
		var refused *Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "pushed_authorization_request", refused.Endpoint)
		require.NotContains(t, err.Error(), "browser")
	})
}

// A browser takes a while to start, and the request may be refused before that. Then the
// browser finds a page that says so. Login does not wait for it.
func TestALateBrowserFindsThePageOfARefusedPush(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	cfg := r.cfg
	opened, refused := make(chan struct{}), make(chan struct{})
	page := make(chan *http.Response, 1)
	r.says(authserver.PAR, func(w http.ResponseWriter, _ map[string]any) bool {
		<-opened
		w.WriteHeader(http.StatusBadRequest)
		return true
	})
	cfg.UI.OpenURL = func(_ context.Context, url string) error {
		close(opened)
		go func() {
			<-refused
			resp, err := http.Get(url)
			assert.NoError(t, err)
			page <- resp
		}()
		return nil
	}
	r.process(cfg, func(c *Client) {
		_, err := c.Login(t.Context(), nil)
		require.ErrorAs(t, err, new(*Error))
		close(refused)
	})
	select {
	case resp := <-page:
		require.NotNil(t, resp)
		defer resp.Body.Close()
		require.Equal(t, http.StatusGone, resp.StatusCode)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(body), "Sign-in didn’t finish")
	case <-time.After(30 * time.Second):
		t.Fatal("the browser found nothing")
	}
}

// If it is known that the browser was not opened, nobody waits for it.
func TestNobodyWaitsForABrowserThatDidNotOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	cfg := r.cfg
	opened := make(chan struct{})
	r.says(authserver.PAR, func(w http.ResponseWriter, _ map[string]any) bool {
		<-opened
		w.WriteHeader(http.StatusBadRequest)
		return true
	})
	cfg.UI.Instruct = func(ctx context.Context, _ Instructions) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}
	cfg.UI.OpenURL = func(context.Context, string) error {
		close(opened)
		return errors.New("no browser")
	}
	r.process(cfg, func(c *Client) {
		_, err := c.Login(t.Context(), nil)
		require.ErrorAs(t, err, new(*Error))
		for begun := time.Now(); ; time.Sleep(time.Millisecond) {
			c.mu.Lock()
			left := len(c.listeners)
			c.mu.Unlock()
			if left == 0 {
				break
			}
			require.Less(t, time.Since(begun), lateBrowser*2/3)
		}
	})
}

// The connection to a token endpoint on another server is opened while the user is in
// the browser, and the code goes over it. It does not wait for the keys.
func TestTheConnectionIsOpenedAhead(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.trusted.Store(true)
	r.tokenEndpoint(r.other + "/token")
	web := r.cfg.Transport.(*http.Transport).Clone()
	web.DisableKeepAlives = false
	defer web.CloseIdleConnections()
	cfg := r.cfg
	cfg.Transport = web
	release := r.Hold(authserver.JWKS)
	defer release()
	var ahead string
	cfg.UI.OpenURL = func(ctx context.Context, url string) error {
		select {
		case ahead = <-r.head:
		case <-ctx.Done():
		}
		release()
		return r.cfg.UI.OpenURL(ctx, url)
	}
	ctx, cancel := context.WithTimeout(t.Context(), fetch.Timeout*2/3)
	defer cancel()
	r.process(cfg, func(c *Client) {
		_, err := c.Login(ctx, nil)
		require.NoError(t, err)
	})
	require.NotEmpty(t, ahead)
	require.Equal(t, ahead, <-r.posted)
}
