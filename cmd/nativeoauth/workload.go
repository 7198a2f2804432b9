package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/workload"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The values of --workload: how the program shows who it is, without a user.
const (
	clientCredentials = "client-credentials" // with its own secret or key
	clientAssertion   = "client-assertion"   // the others with a token of its platform
	grantAssertion    = "grant-assertion"
	subjectToken      = "subject-token"
)

var workloadUses = []string{clientCredentials, clientAssertion, grantAssertion, subjectToken}

// workloadTable has what a job or a pod needs to get tokens without a user. It is on
// every command and in the environment, because a job has no profile. A platform's
// token comes from a file or from the platform, never from a flag: other users can see
// the arguments of a process (S67).
func (c *choices) workloadTable() []setting {
	return []setting{
		{flag: "workload", env: "NATIVEOAUTH_WORKLOAD", field: "Config.Workload", on: everyCommand,
			usage: "get tokens without a user, in a job or a pod; `use` is what the provider wants: " +
				"client-credentials (the client's secret or key), or client-assertion, " +
				"grant-assertion or subject-token (a token of the platform)",
			value: &c.Workload,
			check: checkWorkload},
		{flag: "workload-token-file", env: "NATIVEOAUTH_WORKLOAD_TOKEN_FILE", on: everyCommand, file: true,
			usage: "`file` with the platform's token, which is read each time, as in a pod " +
				"(default: the token of the GitHub Actions or GitLab job)",
			value: &c.WorkloadTokenFile},
		{flag: "workload-audience", env: "NATIVEOAUTH_WORKLOAD_AUDIENCE", field: "Config.Workload.Audience",
			on: everyCommand,
			usage: "`audience` that the provider wants in the platform's token, such as " +
				"api://AzureADTokenExchange (default: the issuer)",
			value: &c.WorkloadAudience},
		{flag: "subject-token-type", field: "Config.Workload.SubjectTokenType", on: keepsProfile,
			usage: "`type` of the token for --workload subject-token (default " +
				"urn:ietf:params:oauth:token-type:jwt)",
			value: &c.SubjectTokenType},
	}
}

func checkWorkload(p *profile) error {
	if p.Workload != "" && !slices.Contains(workloadUses, p.Workload) {
		return usage("--workload %q is not one of %s", p.Workload, strings.Join(workloadUses, ", "))
	}
	return nil
}

// needsNoClientID reports whether the platform's token alone says who asks.
func (p *profile) needsNoClientID() bool {
	return p.Workload == grantAssertion || p.Workload == subjectToken
}

// nobodySignsIn reports whether no user can ever have signed in with the settings of p:
// a login needs a client.
func (p *profile) nobodySignsIn() bool {
	return p.needsNoClientID() && p.ClientID == "" && !p.Register
}

// workload returns the SDK's configuration for a run without a user; nil: there is a
// user. A run with --workload never falls back to a user's session, also if there is
// no token of a platform.
func (a *app) workload(s *settings) (*oauthclient.Workload, error) {
	if err := checkWorkload(&s.profile); err != nil || s.Workload == "" {
		return nil, err
	}
	if s.Workload == clientCredentials {
		return s.workloadWith(nil), nil
	}
	token, why := workload.Detect()
	if path := s.WorkloadTokenFile; path != "" {
		token, why = workload.File(path), "--workload-token-file"
	}
	if token == nil {
		return nil, usage("--workload %s needs a token of the platform, and this is no job of GitHub Actions "+
			"or GitLab; give --workload-token-file", s.Workload)
	}
	a.logger().Info("there is no user", "workload", s.Workload, "token", why)
	return s.workloadWith(token), nil
}

// workloadWith returns the SDK's configuration with this function for the platform's
// token.
func (p *profile) workloadWith(
	token func(ctx context.Context, audience string) (string, error),
) *oauthclient.Workload {
	w := &oauthclient.Workload{Audience: p.WorkloadAudience, SubjectTokenType: p.SubjectTokenType}
	switch p.Workload {
	case clientAssertion:
		w.ClientAssertion = token
	case grantAssertion:
		w.GrantAssertion = token
	case subjectToken:
		w.SubjectToken = token
	}
	return w
}

// checkedWorkload is workload for the checks of a profile alone, which may be set where
// there is no platform. Nothing calls its function. nil: there is a user, or the client's
// own secret, which the profile need not have.
func (p *profile) checkedWorkload() *oauthclient.Workload {
	if p.Workload == "" || p.Workload == clientCredentials {
		return nil
	}
	return p.workloadWith(func(context.Context, string) (string, error) {
		return "", errors.ErrUnsupported
	})
}

// sessionStore returns the store for a run that uses a session. If no user signs in, it
// is an empty one: nothing is stored, so no key of a store is needed. Only a client secret
// may be there, which a login has stored.
func (a *app) sessionStore(s *settings) (tokenstore.Store, error) {
	if !s.keeps() && !s.ClientSecretStored {
		return &tokenstore.Memory{}, nil
	}
	return a.openStore(s)
}

// checkUser is check for a login, which needs a user.
func (s *settings) checkUser() error {
	if s.IdentityProvider != "" {
		return usage("nobody signs in here: --identity-provider does; run: %s", s.companyLogin())
	}
	if s.Workload != "" {
		return usage("login is for a user, and with --workload %s there is none: "+
			"nativeoauth token gets a token", s.Workload)
	}
	return s.check()
}

// chosenResource returns the --resource of a command such as token. A job has no login
// that named the resource before.
func (a *app) chosenResource() []string {
	f := a.command.Flags().Lookup("resource")
	if f == nil || a.bound[f] || !f.Changed {
		return nil
	}
	return []string{f.Value.String()}
}

// useNames replaces the SDK's names of the uses by those of --workload.
var useNames = strings.NewReplacer(
	"Config.Workload.ClientAssertion: workload", "--workload "+clientAssertion,
	"Config.Workload.GrantAssertion: workload", "--workload "+grantAssertion,
	"Config.Workload.SubjectToken: workload", "--workload "+subjectToken,
	"Config.Workload.ClientAssertion", "--workload "+clientAssertion,
	"Config.Workload.GrantAssertion", "--workload "+grantAssertion,
)
