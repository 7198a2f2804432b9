package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// dockerHelper is the name under which Docker finds this command, if its
// configuration says "nativeoauth".
const dockerHelper = "docker-credential-nativeoauth"

// maxDocker is how much of Docker's request is read, in bytes. Docker writes a
// server's name, or a name and a password.
const maxDocker = 64 << 10

// errNotForDocker means that a registry gets no token. Docker and its relatives know
// this text, and go on without credentials.
var errNotForDocker = errors.New("credentials not found in native keychain")

// dockerCredential is what Docker and this command tell each other.
type dockerCredential struct {
	ServerURL string
	Username  string
	Secret    string
}

// dockerCredentialCmd speaks the protocol of Docker's credential helpers on stdin and
// stdout.
func (a *app) dockerCredentialCmd() *cobra.Command {
	var username string
	cmd := &cobra.Command{
		Use:   "docker-credential get|store|erase|list",
		Short: "Be a credential helper of Docker: give it the access token",
		Long: `docker-credential gives Docker the session's access token as the password for a
registry. The token is refreshed first if necessary. Docker, podman and skopeo start this command
if it is in the PATH as ` + dockerHelper + `, for example as a symbolic link, and if
~/.docker/config.json has {"credHelpers": {"registry.example.com": "nativeoauth"}}.

Only the registries that a profile names get its token (--docker-registry, at a login or with
profile set). For any other registry there are no credentials. The command keeps no passwords:
store accepts only the token that get has given, and erase ends no session. It never opens a
browser: if a login is required, Docker shows the command to run.

As Docker requires, an error is written to stdout, and the exit code is then 1. An error of
erase is written to stderr too, because Docker shows nothing else then.`,
		Example: `  nativeoauth profile set work --docker-registry registry.example.com
  ln -s "$(command -v nativeoauth)" ~/.local/bin/` + dockerHelper,
		Args: func(_ *cobra.Command, args []string) error {
			operations := []string{"get", "store", "erase", "list"}
			if len(args) != 1 || !slices.Contains(operations, args[0]) {
				return errors.New("one of get, store, erase and list is required; Docker passes it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.dockerCredential(cmd, args[0], username)
			if err == nil || errors.As(err, new(outputError)) {
				return err
			}
			text := "nativeoauth: " + a.explain(err)
			if errors.Is(err, errNotForDocker) {
				text = errNotForDocker.Error()
			}
			if args[0] == "erase" { // Docker shows only stderr, and says that it has erased
				a.console.fail(a.explain(err))
			}
			if err := a.output(text + "\n"); err != nil {
				return err
			}
			return errSaid
		},
	}
	cmd.Flags().StringVar(&username, "username", "oauth2accesstoken",
		"`user` name to send with the token; most registries ignore it")
	return cmd
}

// dockerCredential does one operation.
func (a *app) dockerCredential(cmd *cobra.Command, operation, username string) error {
	c, err := readConfig(a.env)
	if err != nil {
		return err
	}
	s, err := a.choose(c)
	if err != nil {
		return err
	}
	if s.named { // only this profile
		maps.DeleteFunc(c.Profiles, func(name string, _ profile) bool { return name != s.name })
	}
	if operation == "list" {
		known := map[string]string{}
		for _, p := range c.Profiles {
			for _, registry := range p.DockerRegistries {
				known[registry] = username
			}
		}
		return a.outputJSON(known)
	}
	request, err := readDocker(a.stdin, operation == "store")
	if err != nil {
		return err
	}
	name, err := c.forRegistry(request.ServerURL)
	if err != nil {
		return err
	}
	if name == "" {
		return notForDocker(operation, request.ServerURL)
	}
	a.profile = name
	if operation == "erase" { // docker logout
		return fmt.Errorf("%s still gets the token of the session; "+
			"to end the session: nativeoauth logout --profile %s", request.ServerURL, quote(name))
	}
	return a.withSession(cmd, func(ctx context.Context, session *oauthclient.Session) error {
		return a.dockerToken(ctx, session, operation, username, request)
	})
}

// notForDocker answers for a registry that no profile names. Nothing is kept for it,
// so that there is nothing to erase.
func notForDocker(operation, server string) error {
	switch operation {
	case "get":
		return errNotForDocker
	case "store":
		return fmt.Errorf("no passwords are kept here, and no profile names %s; to give it a "+
			"session's token: nativeoauth profile set NAME --docker-registry %[1]s", server)
	}
	return nil
}

// dockerToken does get and store.
func (a *app) dockerToken(
	ctx context.Context, s *oauthclient.Session, operation, username string,
	request dockerCredential,
) error {
	// A flag or a variable may have named another provider than the profile does. Its
	// tokens are not meant for the profile's registries.
	if !a.used.fromProfile {
		return errNotForDocker
	}
	tok, err := s.Token(ctx)
	switch {
	case err != nil:
		return err
	case tok.TokenType == "DPoP":
		return errors.New("a token that is bound to a key (DPoP) is of no use to Docker; " +
			"sign in without --dpop")
	case operation == "get":
		return a.outputJSON(dockerCredential{request.ServerURL, username, tok.AccessToken})
	case request.Secret != tok.AccessToken: // docker login, with a password that was typed
		return fmt.Errorf("the password was not stored: %s gets the token of a session; "+
			"to sign in: nativeoauth login --profile %s", request.ServerURL, quote(a.profile))
	}
	return nil // docker login, with what get has given; it is stored already
}

// readDocker reads Docker's request to the end. It is a server's name, or a
// dockerCredential in JSON.
func readDocker(r io.Reader, isJSON bool) (request dockerCredential, err error) {
	// One byte more than is accepted tells a request that was cut off.
	data, err := io.ReadAll(io.LimitReader(r, maxDocker+1))
	if err != nil {
		return request, fmt.Errorf("the request of Docker cannot be read: %w", err)
	}
	if len(data) > maxDocker {
		return request, errors.New("the request of Docker is too long")
	}
	if isJSON {
		if err := wire.UnmarshalJSON(data, &request); err != nil {
			return request, fmt.Errorf("the request of Docker is not usable: %w", err)
		}
	} else { // echo, in a trial by hand, sends a line feed
		request.ServerURL = strings.TrimSuffix(string(data), "\n")
	}
	return request, nil
}

// registryOrigin normalizes the name of a registry: a host with an optional port, or
// an https URL with the path of the registry's API, as Docker Hub has. It reports
// false for anything else, which Docker and this command could read in two ways
// (S95).
func registryOrigin(server string) (string, bool) {
	host, isURL := strings.CutPrefix(server, "https://")
	if isURL {
		var path string
		host, path, _ = strings.Cut(host, "/")
		if !slices.Contains([]string{"", "v1/", "v2/"}, path) {
			return "", false
		}
	}
	return origin(host)
}

// forRegistry returns the name of the profile that has the token for the registry; "" if
// there is none. It fails if there are several. Docker asks about every registry that an
// image names, and only those that the user chose get a token (S95).
func (c config) forRegistry(server string) (string, error) {
	asked, ok := registryOrigin(server)
	var found []string
	for _, name := range c.names() {
		if ok && slices.ContainsFunc(c.Profiles[name].DockerRegistries, func(r string) bool {
			o, ok := registryOrigin(r)
			return ok && o == asked
		}) {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("the profiles %s all name %s; take it out of all but one: "+
		`nativeoauth profile set NAME --docker-registry ""`, strings.Join(found, ", "), server)
}

// checkRegistries refuses what is no name of a registry. A single empty name empties
// the list.
func checkRegistries(p *profile) error {
	if slices.Equal(p.DockerRegistries, []string{""}) {
		p.DockerRegistries = nil
	}
	for _, r := range p.DockerRegistries {
		if _, ok := registryOrigin(r); !ok {
			return usage("--docker-registry %q is not a host, such as registry.example.com:5000", r)
		}
	}
	return nil
}
