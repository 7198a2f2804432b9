package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func (a *app) gitCredentialCmd() *cobra.Command {
	var username string
	var bearer bool
	var hosts []string
	cmd := &cobra.Command{
		Use:   "git-credential get|store|erase",
		Short: "Be a credential helper of git: hand it the access token",
		Long: `git-credential answers git with the session's access token as the password, refreshed if need be. It is started by git, and prints a token.

The token is for the servers that --host names, and for no other that git may ask about: without a match it says nothing, and git asks the
next helper. It is sent over https only. It never opens a browser: where a login is required it says so on stderr, and git goes on.`,
		Example: `  git config --global credential.https://git.example.com.helper '!nativeoauth git-credential --profile git --host git.example.com'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("one of get, store and erase is needed, as git gives it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(hosts) == 0 {
				return usage("--host is missing: name the git server that the token is for")
			}
			ask, err := readCredential(a.stdin)
			if err != nil {
				return err
			}
			if !ask.isFor(hosts) {
				return nil
			}
			switch args[0] {
			case "get":
				return a.withSession(cmd, func(ctx context.Context, s *oauthclient.Session) error {
					text, err := ask.answer(ctx, s, username, bearer)
					if err != nil {
						return err
					}
					return a.output(text)
				})
			case "erase": // the server refused the token
				return a.withSession(cmd, func(ctx context.Context, s *oauthclient.Session) error { return ask.refused(ctx, s) })
			}
			return nil // store, and what later gits may ask: the session is kept already
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&hosts, "host", nil, "a git server that the token is for, as git.example.com or git.example.com:8443; may be repeated")
	f.StringVar(&username, "username", "oauth2", "the user name that goes with the token, where git names none")
	f.BoolVar(&bearer, "bearer", false, "send the token as Bearer, not as a password, where git can (2.46 and later)")
	return cmd
}

// credential is what git says on stdin (gitcredentials(7)).
type credential struct {
	protocol, host, username, password string
	authtype                           bool // git takes an authtype
}

const maxCredential = 64 << 10

func readCredential(r io.Reader) (credential, error) {
	var c credential
	lines := bufio.NewScanner(io.LimitReader(r, maxCredential))
	lines.Buffer(nil, maxCredential)
	for lines.Scan() && lines.Text() != "" {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok || strings.ContainsAny(value, "\r\x00") {
			return credential{}, errors.New("what git says is not name=value")
		}
		switch name {
		case "protocol":
			c.protocol = value
		case "host":
			c.host = value
		case "username":
			c.username = value
		case "password", "credential":
			c.password = value
		case "capability[]":
			c.authtype = c.authtype || value == "authtype"
		case "url":
			return credential{}, errors.New("git gives protocol and host; url is not taken")
		}
	}
	if err := lines.Err(); err != nil {
		return credential{}, fmt.Errorf("git's question cannot be read: %w", err)
	}
	return c, nil
}

// isFor reports whether the token may go where git wants to send it (S46).
func (c credential) isFor(hosts []string) bool {
	if c.protocol != "https" {
		return false
	}
	asked, ok := origin(c.host)
	return ok && slices.ContainsFunc(hosts, func(h string) bool {
		o, ok := origin(h)
		return ok && o == asked
	})
}

func origin(host string) (string, bool) {
	u, err := (wire.URLPolicy{}).Parse("https://" + host + "/")
	if err != nil || u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return "", false
	}
	return wire.Origin(&url.URL{Scheme: u.Scheme, Host: u.Host}), true
}

func (c credential) answer(ctx context.Context, s *oauthclient.Session, username string, bearer bool) (string, error) {
	tok, err := s.Token(ctx)
	if err != nil {
		return "", err
	}
	if tok.TokenType == "DPoP" {
		return "", errors.New("git cannot send tokens that are bound to a key (DPoP); sign in without --dpop")
	}
	if strings.ContainsAny(tok.AccessToken, "\r\n\x00") {
		return "", errors.New("the provider's token cannot be told to git")
	}
	var b strings.Builder
	if bearer && c.authtype {
		fmt.Fprintf(&b, "capability[]=authtype\nauthtype=Bearer\ncredential=%s\n", tok.AccessToken)
	} else {
		if c.username != "" {
			username = c.username
		}
		fmt.Fprintf(&b, "username=%s\npassword=%s\n", username, tok.AccessToken)
	}
	if !tok.Expiry.IsZero() {
		fmt.Fprintf(&b, "password_expiry_utc=%d\n", tok.Expiry.Unix())
	}
	return b.String(), nil
}

// refused gets a new token, if the one that was refused is still the present one. Git's next question has it.
func (c credential) refused(ctx context.Context, s *oauthclient.Session) error {
	tok, err := s.Token(ctx)
	if err != nil || c.password != "" && c.password != tok.AccessToken {
		return err
	}
	return s.Refresh(ctx)
}
