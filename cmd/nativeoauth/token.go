package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// tokenFlags are the flags of the token command. Its --scope and --resource choose
// among what the login was granted; they are not the settings of the same names.
type tokenFlags struct {
	format   string        // one of tokenFormats
	user     string        // for mail; "": the session's username
	resource string        // "": the token that is for no resource in particular
	minTTL   time.Duration // 0: whatever is left
	scopes   []string      // nil: all that were granted
	idToken  bool
}

// tokenFormats are the values of --format.
var tokenFormats = []string{
	"token", "header", "json", "env", "fish", "powershell", "dotenv", "curl", "xoauth2",
	"oauthbearer",
}

// tokenCmd prints a token for scripts. Its formats are made to be used without parsing.
func (a *app) tokenCmd() *cobra.Command {
	var t tokenFlags
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print a valid access token",
		Long: `token prints an access token to stdout, and refreshes it first if necessary. It
never opens a browser: if only a login helps, it exits with 4. In a job or a pod, where there is no
user, --workload gets a token for the program itself.

Formats:
  token         the token alone
  header        an Authorization header
  json          token, type and expiry
  env           a line for sh: eval "$(nativeoauth token --format env)"
  fish          a line for fish: nativeoauth token --format fish | source
  powershell    a line for PowerShell: nativeoauth token --format powershell | Invoke-Expression
  dotenv        a line for a .env file
  curl          a line of curl's configuration, which unlike -H no other user sees: curl -K -
  xoauth2       the response to AUTH XOAUTH2 of a mail server, in base64
  oauthbearer   the response to AUTH OAUTHBEARER, in base64 (RFC 7628)

The variable of env, fish, powershell and dotenv is NATIVEOAUTH_ACCESS_TOKEN.`,
		Example: `  nativeoauth token
  nativeoauth token --format curl | curl -K - https://api.example.com/me
  nativeoauth token --format json --min-ttl 5m
  eval "$(nativeoauth token --format env)"
  nativeoauth token --format xoauth2 --user me@example.com
  nativeoauth token --workload client-assertion \
    --issuer https://login.example.com --client-id my-job --scope api`,
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
	f.StringVar(&t.format, "format", "token", "`format` of the output, see above")
	f.StringVar(&t.user, "user", "",
		"`name` of the mailbox for xoauth2 and oauthbearer (default: your username)")
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
	case !slices.Contains(tokenFormats, t.format):
		return usage("--format %q is not one of %s", t.format, strings.Join(tokenFormats, ", "))
	case t.user != "" && t.format != "xoauth2" && t.format != "oauthbearer":
		return usage("--user is for --format xoauth2 and oauthbearer")
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
	text, err := formatToken(tok, t.format, cmp.Or(t.user, s.Account().Username))
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

// formatToken returns t in one of the formats of --format. user is for mail.
func formatToken(t *oauth2.Token, format, user string) (string, error) {
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
	case "token":
		return t.AccessToken + "\n", nil
	}
	// The token is the provider's text, and these formats quote in different ways. One
	// with only the characters of RFC 6750, section 2.1, needs no quoting in any.
	if strings.ContainsFunc(t.AccessToken, notBearer) {
		return "", fmt.Errorf("the token has characters that --format %s cannot carry; "+
			"use --format json", format)
	}
	switch format {
	case "fish":
		return "set -gx NATIVEOAUTH_ACCESS_TOKEN '" + t.AccessToken + "'\n", nil
	case "powershell":
		return "$env:NATIVEOAUTH_ACCESS_TOKEN = '" + t.AccessToken + "'\n", nil
	case "dotenv":
		return "NATIVEOAUTH_ACCESS_TOKEN=" + t.AccessToken + "\n", nil
	case "curl":
		return fmt.Sprintf("header = \"Authorization: %s %s\"\n", t.TokenType, t.AccessToken), nil
	}
	return mailResponse(t, format, user)
}

// notBearer reports a character that no bearer token has.
func notBearer(r rune) bool {
	return r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r) &&
		!strings.ContainsRune("-._~+/=", r)
}

// mailResponse returns the initial response of XOAUTH2 or OAUTHBEARER (RFC 7628,
// section 3.1).
func mailResponse(t *oauth2.Token, format, user string) (string, error) {
	switch {
	case t.TokenType != "Bearer":
		return "", errors.New("mail servers take no token that is bound to a key; " +
			"sign in without --dpop")
	case user == "":
		return "", usage("the provider did not name you; give the mailbox with --user")
	case strings.ContainsFunc(user, unicode.IsControl): // it would end the field
		return "", errors.New("the user name has control characters; " +
			"give the mailbox with --user")
	}
	fields := "user=" + user
	if format == "oauthbearer" {
		fields = "n,a=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) + ","
	}
	fields += "\x01auth=Bearer " + t.AccessToken + "\x01\x01"
	return base64.StdEncoding.EncodeToString([]byte(fields)) + "\n", nil
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
