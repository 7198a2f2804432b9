package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// tokenFlags are the flags of the token command. Its --scope and --resource choose
// among what the login was granted; they are not the settings of the same names.
type tokenFlags struct {
	format   string        // one of the formats in the help
	resource string        // "": the token that is for no resource in particular
	minTTL   time.Duration // 0: whatever is left
	scopes   []string      // nil: all that were granted
	idToken  bool
}

// tokenCmd prints a token for scripts. Its formats are made to be used without parsing.
func (a *app) tokenCmd() *cobra.Command {
	var t tokenFlags
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print a valid access token",
		Long: `token prints an access token to stdout, and refreshes it first if necessary. It
never opens a browser: if only a login helps, it exits with 4.

Formats: token (the token alone), header (an Authorization header for curl -H), json (token, type
and expiry), env (a line for: eval "$(nativeoauth token --format env)").`,
		Example: `  nativeoauth token
  curl -H "$(nativeoauth token --format header)" https://api.example.com/me
  nativeoauth token --format json --min-ttl 5m
  eval "$(nativeoauth token --format env)"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := t.check(); err != nil {
				return err
			}
			return a.withSession(cmd, func(ctx context.Context, s *oauthclient.Session) error {
				return a.printToken(ctx, s, &t)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.format, "format", "token", "token, header, json or env")
	f.DurationVar(&t.minTTL, "min-ttl", 0,
		"minimum remaining lifetime, such as 5m; a token with less is refreshed")
	f.StringVar(&t.resource, "resource", "",
		"`URL` of the API that the token is for, one of the login's --resource")
	f.StringArrayVar(&t.scopes, "scope", nil,
		"`scope` of the token, one of those that were granted; may be repeated")
	f.BoolVar(&t.idToken, "id-token", false,
		"print the ID token instead, for systems that take one (Kubernetes)")
	return cmd
}

// check refuses flags before the session is read.
func (t *tokenFlags) check() error {
	switch {
	case !slices.Contains([]string{"token", "header", "json", "env"}, t.format):
		return usage("--format %q is not one of token, header, json, env", t.format)
	case t.minTTL < 0:
		return usage("--min-ttl cannot be negative")
	case t.idToken && (t.resource != "" || t.scopes != nil):
		return usage("--id-token cannot be combined with --resource or --scope")
	}
	return nil
}

// printToken writes the token to stdout. A warning about it goes to stderr, and does
// not get into a pipe.
func (a *app) printToken(ctx context.Context, s *oauthclient.Session, t *tokenFlags) error {
	tok, err := t.get(ctx, s)
	if err != nil {
		return err
	}
	if tok.TokenType == "DPoP" {
		a.console.warn("this token is bound to a key and is refused without a proof; " +
			"nativeoauth request sends both")
	}
	text, err := formatToken(tok, t.format)
	if err != nil {
		return err
	}
	return a.output(text)
}

// get returns the token that the flags choose, refreshed if necessary.
func (t *tokenFlags) get(ctx context.Context, s *oauthclient.Session) (*oauth2.Token, error) {
	if t.idToken {
		return idTokenOf(ctx, s)
	}
	if t.resource != "" || t.scopes != nil {
		s = s.For(t.resource, t.scopes...)
	}
	return tokenFor(ctx, s, t.minTTL)
}

// tokenFor returns an access token that is valid for at least minTTL. It fails if
// even a new token is not.
func tokenFor(
	ctx context.Context, s *oauthclient.Session, minTTL time.Duration,
) (*oauth2.Token, error) {
	tok, err := s.Token(ctx)
	if err != nil || time.Until(tok.Expiry) >= minTTL {
		return tok, err
	}
	// Token refreshes a token shortly before it expires. A user with a long job needs
	// more, and gets a new token now.
	if err := s.Refresh(ctx); err != nil {
		return nil, err
	}
	if tok, err = s.Token(ctx); err != nil {
		return nil, err
	}
	if ttl := time.Until(tok.Expiry); ttl < minTTL {
		// Rounded down: 18.9 seconds are less than 19.
		return nil, fmt.Errorf("the provider's tokens live for %s only, less than --min-ttl %s",
			max(ttl, 0).Truncate(time.Second), minTTL)
	}
	return tok, nil
}

// idTokenOf returns the ID token in the form of an access token, for formatToken.
func idTokenOf(ctx context.Context, s *oauthclient.Session) (*oauth2.Token, error) {
	raw, expiry, err := s.IDToken(ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: raw, TokenType: "Bearer", Expiry: expiry}, nil
}

// formatToken returns t in one of the formats of --format.
func formatToken(t *oauth2.Token, format string) (string, error) {
	switch format {
	case "header":
		return fmt.Sprintf("Authorization: %s %s\n", t.TokenType, t.AccessToken), nil
	case "env":
		// The token is the provider's text: a quote in it must not end the shell's word.
		quoted := strings.ReplaceAll(t.AccessToken, "'", `'\''`)
		return "export NATIVEOAUTH_ACCESS_TOKEN='" + quoted + "'\n", nil
	case "json":
		return jsonText(struct {
			AccessToken string    `json:"access_token"`
			TokenType   string    `json:"token_type"`
			Expiry      time.Time `json:"expiry"`
			ExpiresIn   int64     `json:"expires_in"` // seconds from now
		}{
			t.AccessToken, t.TokenType, t.Expiry.UTC().Truncate(time.Second),
			max(0, int64(time.Until(t.Expiry).Seconds())),
		})
	}
	return t.AccessToken + "\n", nil
}

// outputJSON writes v to stdout as JSON.
func (a *app) outputJSON(v any) error {
	text, err := jsonText(v)
	if err != nil {
		return err
	}
	return a.output(text)
}

// jsonText returns v as indented JSON that is safe to show on a terminal.
func jsonText(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // "&" in a URL stays readable
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return escaped(b.String()), nil // values may come from a server (S5)
}
