// Says which proxy refused a tunnel, and what the user can do about it.
//
// A proxy answers CONNECT itself (RFC 9110 §9.3.6), so a refusal says nothing
// about the provider, and nothing has been sent to it.

package fetch

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// proxyError is a proxy's refusal to open a tunnel.
type proxyError struct {
	host   string // with the port; without the user name and password of its URL
	status int
}

func (e *proxyError) Error() string {
	did := "did not connect to this server"
	advice := "try again later, or check the proxy's settings (HTTPS_PROXY)"
	switch e.status {
	case http.StatusProxyAuthRequired:
		did = "wants a user name and password"
		advice = "put them into its URL in HTTPS_PROXY (http://user:password@host:port), " +
			"or ask the network's administrator"
	case http.StatusForbidden:
		did = "does not allow connections to this server"
		advice = "ask the network's administrator to allow it, " +
			"or name the server in NO_PROXY if it can be reached directly"
	}
	return fmt.Sprintf("the proxy %s %s (HTTP %d); %s", e.host, did, e.status, advice)
}

// proxyAnswered is an OnProxyConnectResponse. Without it the error would be the
// status line's text alone, and name no proxy.
func proxyAnswered(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{host: proxy.Host, status: resp.StatusCode}
}
