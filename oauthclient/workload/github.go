package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// GitHub returns the function for a job of GitHub Actions. The job needs the
// permission "id-token: write". The runner tells the job where to ask, in
// ACTIONS_ID_TOKEN_REQUEST_URL, and what to authenticate with. That URL must belong
// to the GitHub of GITHUB_SERVER_URL, which may be a company's own.
//
// A request takes at most 30 seconds. It uses the proxy of the environment and the
// certificates that the system trusts.
func GitHub() func(ctx context.Context, audience string) (string, error) {
	return github{os.Getenv}.token
}

type github struct{ env environ }

// errPermission is an error of the job's definition.
var errPermission = errors.New("workload: this job may not have an ID token; " +
	"give it, in its workflow, permissions: {id-token: write}")

func (g github) token(ctx context.Context, audience string) (string, error) {
	if audience == "" {
		return "", errNoAudience
	}
	secret := wire.NewSecret(g.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
	if secret.IsZero() || g.env("ACTIONS_ID_TOKEN_REQUEST_URL") == "" {
		return "", errPermission
	}
	place, err := g.place()
	if err != nil {
		return "", err
	}
	query := place.Query()
	query.Set("audience", audience)
	place.RawQuery = query.Encode()
	req, err := fetch.NewRequest(http.MethodGet, place.String(), nil)
	if err != nil {
		return "", fmt.Errorf("workload: ACTIONS_ID_TOKEN_REQUEST_URL: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+secret.Reveal())

	transport := fetch.NewTransport()
	defer transport.CloseIdleConnections() // the next request is minutes away
	client := fetch.Client{Transport: transport}
	resp, err := client.Do(ctx, req)
	if err != nil {
		return "", fmt.Errorf("workload: the job's ID token: %w", err)
	}
	return answered(resp, audience)
}

// place returns the URL to ask. A step of a job can set variables for the steps
// after it (GITHUB_ENV), but no variable whose name begins with GITHUB_. So a
// hostile step could lead the request, and with it the right to get tokens in the
// job's name, to a server of its own. It could not change which GitHub this is.
func (g github) place() (*url.URL, error) {
	policy := wire.URLPolicy{LoopbackHTTP: true}
	server, err := policy.Parse(cmp.Or(g.env("GITHUB_SERVER_URL"), "https://github.com"))
	if err != nil {
		return nil, fmt.Errorf("workload: GITHUB_SERVER_URL: %w", err)
	}
	place, err := policy.Parse(g.env("ACTIONS_ID_TOKEN_REQUEST_URL"))
	if err != nil {
		return nil, fmt.Errorf("workload: ACTIONS_ID_TOKEN_REQUEST_URL: %w", err)
	}
	if !belongs(place, server) {
		return nil, fmt.Errorf("workload: ACTIONS_ID_TOKEN_REQUEST_URL names %s, which does not belong to %s; "+
			"a step of this job has set it, or the runner is no runner of GitHub",
			shown(place.Hostname()), shown(server.Hostname()))
	}
	return place, nil
}

// belongs reports whether the server of place is one of the GitHub at server. The
// runners of github.com ask hosts below actions.githubusercontent.com. A GitHub of
// a company asks itself, or a host below its own.
func belongs(place, server *url.URL) bool {
	home := wire.LowerHost(server.Hostname())
	if home == "github.com" {
		home = "actions.githubusercontent.com"
	} else if wire.Origin(place) == wire.Origin(server) {
		return true
	}
	host := wire.LowerHost(place.Hostname())
	return place.Scheme == "https" && place.Port() == "" && net.ParseIP(home) == nil &&
		(host == home || strings.HasSuffix(host, "."+home))
}

// answered returns the token in the answer of GitHub.
func answered(resp *fetch.Response, audience string) (string, error) {
	switch {
	case resp.Status == http.StatusUnauthorized, resp.Status == http.StatusForbidden:
		return "", fmt.Errorf("%w (GitHub answered with HTTP %d)", errPermission, resp.Status)
	case resp.Status != http.StatusOK:
		return "", fmt.Errorf("workload: GitHub answered the request for an ID token with HTTP %d; try again",
			resp.Status)
	}
	var body struct {
		Value string `json:"value"`
	}
	if err := wire.UnmarshalJSON(resp.Body, &body); err != nil {
		return "", wire.Invalid("workload: GitHub's answer is %w", err)
	}
	token, err := accept(body.Value, audience, "the job's ID token")
	if err != nil {
		return "", wire.Invalid("%w", err)
	}
	return token, nil
}
