package oauthclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Workload makes a program get tokens for itself, without a user, as in a CI job or a
// cluster. See [Config].Workload.
//
// The zero Workload asks with Config.ClientAuth alone (client credentials, RFC 6749
// §4.4). At most one of the three functions is set. Each returns a token that the
// platform has issued, and it is called anew for every request: a token that is
// renewed on disk is read again, and one that may be used once is used once. A
// function may be called by several goroutines at once. Its result is sent to the
// endpoints of Config.Issuer and nowhere else: to the token endpoint, and for the
// client's authentication also to those for revocation and introspection. It is never
// stored or logged. An error of a function is returned by Token, and nothing is sent
// then. It does not match ErrLoginRequired, even if the function's own error does.
// Package workload has functions for Kubernetes, GitHub Actions and GitLab.
//
// audience is what the token must be made for: Audience, or else the issuer, as the
// authorization server's metadata state it. A JWT for another audience is not sent,
// because the server that gets it could use it there.
type Workload struct {
	// ClientAssertion authenticates the client in place of Config.ClientAuth (RFC
	// 7523 §2.2), for client credentials. Entra and Keycloak want this.
	ClientAssertion func(ctx context.Context, audience string) (string, error)
	// GrantAssertion is the grant itself (RFC 7523 §2.1).
	GrantAssertion func(ctx context.Context, audience string) (string, error)
	// SubjectToken is exchanged for an access token (RFC 8693). Google wants this.
	SubjectToken func(ctx context.Context, audience string) (string, error)
	// SubjectTokenType says what SubjectToken returns.
	// "": "urn:ietf:params:oauth:token-type:jwt".
	SubjectTokenType string
	// Audience is for a provider that wants another audience than its issuer, such
	// as Entra with "api://AzureADTokenExchange". "": the issuer.
	Audience string
}

// given is the function of a Workload that is set; the zero given is none.
type given struct {
	field string // the function's
	ask   func(ctx context.Context, audience string) (string, error)
	jwt   bool // nothing but a JWT is accepted
}

func (w *Workload) given() given {
	switch {
	case w.ClientAssertion != nil:
		return given{"ClientAssertion", w.ClientAssertion, true}
	case w.GrantAssertion != nil:
		return given{"GrantAssertion", w.GrantAssertion, true}
	case w.SubjectToken != nil:
		return given{"SubjectToken", w.SubjectToken, false}
	}
	return given{}
}

// token asks the function for the token of one request to issuer.
func (w *Workload) token(ctx context.Context, issuer string) (wire.Secret, error) {
	g, audience := w.given(), cmp.Or(w.Audience, issuer)
	token, err := g.ask(ctx, audience)
	if err == nil {
		err = oauth.CheckGiven(token, audience, g.jwt)
	}
	if err != nil {
		return wire.Secret{}, &workloadError{"Config.Workload." + g.field, err}
	}
	return wire.NewSecret(token), nil
}

// checkWorkload checks c.Workload against the rest of c. issuer is "" if a resource
// names it.
func (c *Config) checkWorkload(issuer string) error {
	w := c.Workload
	set := 0
	for _, ask := range []func(context.Context, string) (string, error){
		w.ClientAssertion, w.GrantAssertion, w.SubjectToken,
	} {
		if ask != nil {
			set++
		}
	}
	switch {
	case set > 1:
		return wire.Field("Config.Workload", "set at most one of ClientAssertion, GrantAssertion and SubjectToken")
	case set == 0 && c.ClientAuth == ClientAuth{}:
		return wire.Field("Config.Workload", "client credentials need Config.ClientAuth, or a function here")
	case c.ClientID == "" && w.GrantAssertion == nil && w.SubjectToken == nil:
		return wire.Field("Config.ClientID", "it is missing; without a user a program does not register itself")
	case issuer == "" && set > 0 && c.Deviations.AcceptIssuer == nil:
		return wire.Field("Config.Workload", "it needs an issuer: "+
			"the platform's token is only sent to a provider that was named beforehand")
	}
	return nil
}

// workloadError is the error of a program's function. It has no Unwrap: what it holds
// may be the error of another session, and says nothing about this one. The program
// sees it as a functionError.
type workloadError struct {
	field string
	err   error
}

func (e *workloadError) Error() string { return fmt.Sprintf("%s: %v", e.field, e.err) }

// functionError is a workloadError as a program sees it. It matches what the
// function's own error matches. But there is no user, so it never matches
// ErrLoginRequired and is nothing that does.
type functionError struct{ *workloadError }

func (e *functionError) Is(target error) bool {
	return !errors.Is(target, ErrLoginRequired) && errors.Is(e.err, target)
}

func (e *functionError) As(target any) bool {
	switch target := target.(type) {
	case **oauth2.RetrieveError: // code for x/oauth2 starts a login for some of them
		return false
	case **Error:
		var theirs *Error
		if !errors.As(e.err, &theirs) {
			return false
		}
		shown := *theirs
		shown.workload = true
		*target = &shown
		return true
	}
	return errors.As(e.err, target)
}
