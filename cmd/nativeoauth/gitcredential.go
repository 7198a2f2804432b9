package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// gitCredentialCmd speaks git's credential protocol on stdin and stdout.
func (a *app) gitCredentialCmd() *cobra.Command {
	var username string
	var bearer bool
	var servers gitServers
	cmd := &cobra.Command{
		Use:   "git-credential get|store|erase",
		Short: "Be a credential helper of git: give it the access token",
		Long: `git-credential gives git the session's access token as the password. The token is
refreshed first if necessary. git starts this command.

Only the servers that --host and --smtp-host name get the token. A --host gets it over https
only. For any other server the command prints nothing, and git tries its next helper. It never
opens a browser: if a login is required, it says so on stderr, and git goes on.

A --smtp-host is a mail server for git send-email that takes the token as a password (PLAIN,
LOGIN). Without a port it stands for port 465, on which mail is always encrypted. git does not
say whether a connection to another port is: set sendemail.smtpEncryption.`,
		Example: `  git config --global credential.https://git.example.com.helper \
    '!nativeoauth git-credential --profile git --host git.example.com'
  git config --global credential.smtp://mail.example.com:465.helper \
    '!nativeoauth git-credential --profile mail --smtp-host mail.example.com'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("one of get, store and erase is required; git passes it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.gitCredential(cmd, args[0], servers, username, bearer)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&servers.https, "host", nil,
		"git `server` that gets the token, such as git.example.com or git.example.com:8443; "+
			"may be repeated")
	f.StringArrayVar(&servers.smtp, "smtp-host", nil,
		"mail `server` that gets the token from git send-email, such as mail.example.com or "+
			"mail.example.com:587; may be repeated")
	f.StringVar(&username, "username", "oauth2",
		"`user` name to send with the token, if git names none")
	f.BoolVar(&bearer, "bearer", false,
		"send the token over https as Bearer and not as a password, if git can (2.46 and later)")
	return cmd
}

// gitCredential does one operation.
func (a *app) gitCredential(
	cmd *cobra.Command, operation string, servers gitServers, username string, bearer bool,
) error {
	// Git asks its helpers about every server. Without --host, any server in a
	// submodule or a redirect would get the token (S46).
	if len(servers.https)+len(servers.smtp) == 0 {
		return usage("--host is missing: name the git server that the token is for")
	}
	ask, err := readCredential(a.stdin)
	if err != nil {
		return err
	}
	if !ask.isFor(servers) {
		return nil
	}
	switch operation {
	case "get":
		return a.withSession(cmd, func(ctx context.Context, s *oauthclient.Session) error {
			return ask.answer(ctx, a, s, username, bearer)
		})
	case "erase": // the server refused the token
		return a.withSession(cmd, ask.refused)
	}
	// store needs nothing, because the session is stored already. Later versions of
	// git may add operations, which are ignored as gitcredentials(7) requires.
	return nil
}

// credential is what git writes to stdin (see git-credential(1)).
type credential struct {
	protocol, host, username, password string
	authtype                           bool // git accepts an authtype
}

const maxCredential = 64 << 10 // bytes; git writes a few hundred

// readCredential reads git's request, up to an empty line or the end of the input.
func readCredential(r io.Reader) (credential, error) {
	var c credential
	// One byte more than is accepted tells a request that was cut off from one that
	// ends. The rest of it could name another host (S93).
	limited := &io.LimitedReader{R: r, N: maxCredential + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, maxCredential)
	lines.Split(rawLines)
	for lines.Scan() && lines.Text() != "" {
		if err := c.set(lines.Text()); err != nil {
			return credential{}, err
		}
	}
	err := lines.Err()
	if err == nil && limited.N == 0 {
		err = errors.New("it is too long")
	}
	if err != nil {
		return credential{}, fmt.Errorf("the request of git cannot be read: %w", err)
	}
	return c, nil
}

// rawLines splits at line feeds only. [bufio.ScanLines] would take away a carriage
// return before one, and hide it from set.
func rawLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// set takes over one line of git's request. It refuses every control character: git,
// this command and a server may disagree about where a host with one ends
// (CVE-2024-52006, S92).
func (c *credential) set(line string) error {
	if strings.ContainsFunc(line, unicode.IsControl) {
		return errors.New("the request of git has a control character; " +
			"check the URL of the remote, and of the submodules")
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return errors.New("the request of git has a line that is not name=value")
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
	case "capability[]": // git announces what it understands, and ignores the rest
		c.authtype = c.authtype || value == "authtype"
	case "url": // git would split it; two parsers could disagree about its host
		return errors.New("the request of git has a url; only protocol and host are supported")
	}
	return nil
}

// gitServers are the servers that get the token, as the user named them.
type gitServers struct{ https, smtp []string }

// submissionsPort is for mail that is encrypted from the first byte (RFC 8314).
const submissionsPort = "465"

// isFor reports whether the token may be sent to the server that git names (S46).
func (c credential) isFor(servers gitServers) bool {
	switch c.protocol {
	case "https":
		return isAmong(servers.https, c.host)
	case "smtp": // git send-email, which always names the port
		if _, _, err := net.SplitHostPort(c.host); err != nil {
			return false
		}
		var named []string
		for _, h := range servers.smtp {
			if _, _, err := net.SplitHostPort(h); err != nil {
				h += ":" + submissionsPort
			}
			named = append(named, h)
		}
		return isAmong(named, c.host)
	}
	return false // above all http: anyone on the network could read the token
}

// isAmong reports whether host, with an optional port, is one of hosts.
func isAmong(hosts []string, host string) bool {
	asked, ok := origin(host)
	return ok && slices.ContainsFunc(hosts, func(h string) bool {
		o, ok := origin(h)
		return ok && o == asked
	})
}

// origin normalizes a host with an optional port. It reports false if host is more
// than that, such as "git.example.com@evil.example".
func origin(host string) (string, bool) {
	u, err := (wire.URLPolicy{}).Parse("https://" + host + "/")
	if err != nil || u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return "", false
	}
	return wire.Origin(&url.URL{Scheme: u.Scheme, Host: u.Host}), true
}

// answer writes the reply to get. It must be lines of name=value, so a token with a
// line break in it is refused.
func (c credential) answer(
	ctx context.Context, a *app, s *oauthclient.Session, username string, bearer bool,
) error {
	tok, err := s.Token(ctx)
	if err != nil {
		return err
	}
	if tok.TokenType == "DPoP" {
		return errors.New("git cannot send a token that is bound to a key (DPoP); " +
			"sign in without --dpop")
	}
	if strings.ContainsAny(tok.AccessToken, "\r\n\x00") {
		return errors.New("the provider's token has a line break; it cannot be passed to git")
	}
	var b strings.Builder
	if bearer && c.authtype && c.protocol == "https" {
		fmt.Fprintf(&b, "capability[]=authtype\nauthtype=Bearer\ncredential=%s\n", tok.AccessToken)
	} else {
		if c.username != "" {
			username = c.username
		}
		fmt.Fprintf(&b, "username=%s\npassword=%s\n", username, tok.AccessToken)
	}
	// Git does not store the token in another helper beyond its expiry.
	if !tok.Expiry.IsZero() {
		fmt.Fprintf(&b, "password_expiry_utc=%d\n", tok.Expiry.Unix())
	}
	return a.output(b.String())
}

// refused refreshes the session, if the token that the server refused is still the
// current one. The next get returns the new token.
func (c credential) refused(ctx context.Context, s *oauthclient.Session) error {
	tok, err := s.Token(ctx)
	if err != nil || c.password != "" && c.password != tok.AccessToken {
		return err
	}
	return s.Refresh(ctx)
}
