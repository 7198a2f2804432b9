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

func (a *app) tokenCmd() *cobra.Command {
	var format, resource string
	var minTTL time.Duration
	var scopes []string
	var idToken bool
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print a valid access token",
		Long: `token prints an access token on stdout, refreshed first if need be. It never opens a browser: where only a login helps, it exits with 4.

Formats: token (the token alone), header (an Authorization header for curl -H), json (token, type and expiry),
env (a line for: eval "$(nativeoauth token --format env)").`,
		Example: `  nativeoauth token
  curl -H "$(nativeoauth token --format header)" https://api.example.com/me
  nativeoauth token --format json --min-ttl 5m
  eval "$(nativeoauth token --format env)"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case !slices.Contains([]string{"token", "header", "json", "env"}, format):
				return usage("--format %q is not one of token, header, json, env", format)
			case minTTL < 0:
				return usage("--min-ttl cannot be negative")
			case idToken && (resource != "" || scopes != nil):
				return usage("--id-token does not go with --resource and --scope")
			}
			return a.withSession(cmd, func(ctx context.Context, s *oauthclient.Session) error {
				var tok *oauth2.Token
				var err error
				switch {
				case idToken:
					tok, err = idTokenOf(ctx, s)
				default:
					if resource != "" || scopes != nil {
						s = s.For(resource, scopes...)
					}
					tok, err = tokenFor(ctx, s, minTTL)
				}
				if err != nil {
					return err
				}
				if tok.TokenType == "DPoP" {
					a.console.warn("this token is bound to a key and is refused without a proof of it; nativeoauth request sends both")
				}
				text, err := formatToken(tok, format)
				if err != nil {
					return err
				}
				return a.output(text)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "token", "token, header, json or env")
	f.DurationVar(&minTTL, "min-ttl", 0, "how long the token must live at least, such as 5m; it is refreshed if it does not")
	f.StringVar(&resource, "resource", "", "the API that the token is for, one of the login's --resource")
	f.StringArrayVar(&scopes, "scope", nil, "a `scope` that the token is for, fewer than were granted; may be repeated")
	f.BoolVar(&idToken, "id-token", false, "print the ID token instead, for systems that take one (Kubernetes)")
	return cmd
}

// tokenFor returns an access token that lives for at least minTTL.
func tokenFor(ctx context.Context, s *oauthclient.Session, minTTL time.Duration) (*oauth2.Token, error) {
	tok, err := s.Token(ctx)
	if err != nil || time.Until(tok.Expiry) >= minTTL {
		return tok, err
	}
	if err := s.Refresh(ctx); err != nil {
		return nil, err
	}
	if tok, err = s.Token(ctx); err != nil {
		return nil, err
	}
	if ttl := time.Until(tok.Expiry); ttl < minTTL {
		return nil, fmt.Errorf("the provider's tokens live for %s only, less than --min-ttl %s", left(tok.Expiry), minTTL)
	}
	return tok, nil
}

func idTokenOf(ctx context.Context, s *oauthclient.Session) (*oauth2.Token, error) {
	raw, expiry, err := s.IDToken(ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: raw, TokenType: "Bearer", Expiry: expiry}, nil
}

// formatToken writes t as one of the values of --format.
func formatToken(t *oauth2.Token, format string) (string, error) {
	switch format {
	case "header":
		return fmt.Sprintf("Authorization: %s %s\n", t.TokenType, t.AccessToken), nil
	case "env":
		return "export NATIVEOAUTH_ACCESS_TOKEN='" + strings.ReplaceAll(t.AccessToken, "'", `'\''`) + "'\n", nil
	case "json":
		return jsonText(struct {
			AccessToken string    `json:"access_token"`
			TokenType   string    `json:"token_type"`
			Expiry      time.Time `json:"expiry"`
			ExpiresIn   int64     `json:"expires_in"` // seconds from now
		}{t.AccessToken, t.TokenType, t.Expiry.UTC().Truncate(time.Second), max(0, int64(time.Until(t.Expiry).Seconds()))})
	}
	return t.AccessToken + "\n", nil
}

func (a *app) outputJSON(v any) error {
	text, err := jsonText(v)
	if err != nil {
		return err
	}
	return a.output(text)
}

// jsonText is v as indented JSON with a line end.
func jsonText(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return escaped(b.String()), nil
}
