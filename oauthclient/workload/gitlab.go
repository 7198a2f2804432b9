package workload

import (
	"cmp"
	"context"
	"fmt"
	"os"
)

// GitLab returns the function for a job of GitLab CI/CD. variable is the name that
// the job gives its token under id_tokens in .gitlab-ci.yml; "" is
// GITLAB_OIDC_TOKEN. GitLab issues the token when the job starts, so it lives as
// long as the job may take.
func GitLab(variable string) func(ctx context.Context, audience string) (string, error) {
	return gitlab{os.Getenv, cmp.Or(variable, gitlabVariable)}.token
}

type gitlab struct {
	env      environ
	variable string
}

func (g gitlab) token(ctx context.Context, audience string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	token := g.env(g.variable)
	if token == "" {
		return "", fmt.Errorf("workload: %s is not set; in .gitlab-ci.yml, give the job "+
			"id_tokens: {%[1]s: {aud: %q}}", shown(g.variable), audience)
	}
	return accept(token, audience, "the token in "+shown(g.variable))
}
