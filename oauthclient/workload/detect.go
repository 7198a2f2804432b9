package workload

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/browser"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Variables of the environment. A GitLab job chooses the name of its token's
// variable; this is the one in GitLab's own documentation.
const (
	fileVariable   = "NATIVEOAUTH_WORKLOAD_TOKEN_FILE"
	gitlabVariable = "GITLAB_OIDC_TOKEN"
)

// environ looks a variable of the environment up, as [os.Getenv] does.
type environ func(name string) string

// Detect finds out if this program has a token of its platform. It looks at the
// environment only, in this order:
//
//   - NATIVEOAUTH_WORKLOAD_TOKEN_FILE names a file: [File]. A pod sets it to the
//     path of a projected token.
//   - GITHUB_ACTIONS is true: [GitHub].
//   - GITLAB_CI is true: [GitLab] with the variable GITLAB_OIDC_TOKEN.
//   - CI is set, or what other systems set in its place, such as TF_BUILD: a job of
//     another platform. Its function fails, and says what to do.
//
// token is nil if none of these holds; then there may be a user. A job never gets
// nil, also if it lacks the permission for a token. So it never opens a browser,
// and never uses the session of a user of that machine.
//
// why says in a few words what was found, for the program's log. It has no token.
func Detect() (token func(ctx context.Context, audience string) (string, error), why string) {
	return detect(os.Getenv)
}

func detect(env environ) (func(context.Context, string) (string, error), string) {
	path := env(fileVariable)
	switch {
	case path != "":
		return File(path), "the file of " + fileVariable + ", " + shown(path)
	case env("GITHUB_ACTIONS") == "true":
		return github{env}.token, "the ID token of a GitHub Actions job"
	case env("GITLAB_CI") == "true":
		return gitlab{env, gitlabVariable}.token, "the ID token of a GitLab job, " + gitlabVariable
	case browser.CI(env) != "":
		return none, "a CI job without a known token: " + browser.CI(env)
	case env("KUBERNETES_SERVICE_HOST") != "":
		return nil, "a pod without " + fileVariable + ": a user"
	}
	return nil, "no job and no " + fileVariable + ": a user"
}

// none is the function of a job whose platform is not known.
func none(context.Context, string) (string, error) {
	return "", errors.New("workload: this is a CI job, so there is no user, and this platform's tokens are not known; " +
		"set " + fileVariable + " to a file with the job's OIDC token, " +
		"or unset CI if a user is there")
}

// shown returns text that is safe in a log, quoted if that is needed.
func shown(text string) string {
	safe := wire.SafeText(text, 200)
	if strings.ContainsAny(safe, " \"") || safe != text {
		return strconv.Quote(safe)
	}
	return safe
}
