package main

import (
	"context"
	"fmt"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// enterpriseTable has the company's sign-in that stands for another server's.
func (c *choices) enterpriseTable() []setting {
	return []setting{
		{flag: "identity-provider", field: "Config.IdentityProvider", on: keepsProfile,
			usage: "`profile` of the sign-in at the company's identity provider, which decides about " +
				"this provider's tokens, so that nobody signs in here (ID-JAG)",
			value: &c.IdentityProvider,
			check: func(p *profile) error {
				if p.IdentityProvider != "" && p.Workload != "" {
					return usage("--identity-provider is for a user, and --workload for a program without one")
				}
				return nil
			}},
	}
}

// identityProvider returns the session of the profile that --identity-provider names;
// nil: it names none. end closes its client.
func (a *app) identityProvider(ctx context.Context, s *settings) (session *oauthclient.Session, end func(), err error) {
	end = func() {}
	if s.IdentityProvider == "" {
		return nil, end, nil
	}
	all, err := readConfig(a.env)
	if err != nil {
		return nil, end, err
	}
	of := &settings{name: s.IdentityProvider, named: true, fromProfile: true}
	of.stored, of.known = all.Profiles[of.name]
	of.profile = of.stored
	switch {
	case !of.known:
		return nil, end, usage("--identity-provider: there is no profile %q%s", of.name, known(all))
	case !of.keeps():
		return nil, end, usage("--identity-provider: nobody signs in with the profile %q", of.name)
	}
	store, err := a.openStore(of)
	if err != nil {
		return nil, end, err
	}
	cfg, err := a.config(ctx, of, store)
	if err != nil {
		return nil, end, err
	}
	client, err := oauthclient.New(cfg)
	if err != nil {
		return nil, end, usageError{err}
	}
	end = func() { a.close(client) }
	if session, err = client.Session(ctx, of.account()); err != nil {
		return nil, end, fmt.Errorf("the identity provider, profile %q: %w", of.name, err)
	}
	return session, end, nil
}

// keeps reports whether a user signs in, and the session is stored.
func (p *profile) keeps() bool { return p.Workload == "" && p.IdentityProvider == "" }

// companyLogin is the command that signs in at the identity provider.
func (p *profile) companyLogin() string {
	return "nativeoauth login --profile " + quote(p.IdentityProvider)
}
