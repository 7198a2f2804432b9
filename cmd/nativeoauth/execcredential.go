package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// execInfo is the part of KUBERNETES_EXEC_INFO, which kubectl sets, that is used
// here.
type execInfo struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// execCredential is the answer to kubectl. Spec stays empty, but the type requires
// it.
type execCredential struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Spec       struct{}   `json:"spec"`
	Status     execStatus `json:"status"`
}

// execStatus has the token. kubectl caches it until it expires.
type execStatus struct {
	Token  string    `json:"token"`
	Expiry time.Time `json:"expirationTimestamp"`
}

// execV1 is the API version of kubectl 1.22 and later.
const execV1 = "client.authentication.k8s.io/v1"

// execCredentialCmd prints the ID token, unless a flag asks for another: the API server
// of a cluster verifies the user's claims itself.
func (a *app) execCredentialCmd() *cobra.Command {
	var access bool
	var resource string
	cmd := &cobra.Command{
		Use:   "exec-credential",
		Short: "Be a credential plugin of kubectl: print the ID token",
		Long: `exec-credential prints an ExecCredential with the session's ID token, which
clusters with OpenID Connect accept. Some clusters want an access token: --access-token, or
--resource if it must be for that API. The token is refreshed first if necessary. kubectl starts
this command. With --workload there is no user, and so no ID token: it prints the access token.

It never opens a browser: sign in with nativeoauth login first. If a login is required, kubectl
shows the command to run.`,
		Example: `  kubectl config set-credentials me \
    --exec-api-version=client.authentication.k8s.io/v1 --exec-interactive-mode=Never \
    --exec-command=nativeoauth --exec-arg=exec-credential --exec-arg=--profile --exec-arg=cluster`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version, err := execVersion(a.env["KUBERNETES_EXEC_INFO"])
			if err != nil {
				return err
			}
			t := tokenFlags{idToken: !access && resource == "", resource: resource}
			return a.withSession(cmd, func(ctx context.Context, s *oauthclient.Session) error {
				t.idToken = t.idToken && a.used.Workload == "" // an ID token is about a user
				tok, err := t.get(ctx, s)
				if err != nil {
					return err
				}
				if tok.TokenType == "DPoP" {
					return errors.New("kubectl cannot send a token that is bound to a key (DPoP); " +
						"sign in without --dpop")
				}
				return a.outputJSON(execCredential{
					APIVersion: version, Kind: "ExecCredential",
					Status: execStatus{tok.AccessToken, tok.Expiry.UTC().Truncate(time.Second)},
				})
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&access, "access-token", false, "print the access token instead")
	f.StringVar(&resource, "resource", "",
		"print an access token for this `URL`, one of the login's --resource")
	return cmd
}

// execVersion returns the API version that kubectl expects. Without its variable a
// user is trying the command, and gets the newest version.
func execVersion(info string) (string, error) {
	if info == "" {
		return execV1, nil
	}
	var e execInfo
	// The lenient decoder: the text comes from kubectl on this machine, and later
	// versions of it may add members.
	if err := json.Unmarshal([]byte(info), &e); err != nil {
		return "", errors.New("KUBERNETES_EXEC_INFO is not JSON")
	}
	switch e.APIVersion {
	case execV1, execV1 + "beta1":
		return e.APIVersion, nil
	}
	return "", fmt.Errorf("kubectl expects %q, which is not supported; "+
		"set apiVersion to %s in the kubeconfig", e.APIVersion, execV1)
}
