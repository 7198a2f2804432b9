package workload

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func TestFileIsReadAnew(t *testing.T) {
	t.Parallel()
	first, second := jwt(t, issuer), jwt(t, []string{issuer})
	path := tokenFile(t, first+"\n")
	token := File(path)
	got, err := token(t.Context(), issuer)
	require.NoError(t, err)
	require.Equal(t, first, got)

	require.NoError(t, os.WriteFile(path, []byte(second), 0o600))
	got, err = token(t.Context(), issuer)
	require.NoError(t, err)
	require.Equal(t, second, got)

	require.NoError(t, os.Remove(path))
	_, err = token(t.Context(), issuer)
	require.ErrorIs(t, err, os.ErrNotExist)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = token(ended, issuer)
	require.ErrorIs(t, err, context.Canceled)
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	for range 2 { // nothing is kept
		got, err := p.job().token(t.Context(), issuer)
		require.NoError(t, err)
		require.Equal(t, jwt(t, issuer), got)
	}
	require.EqualValues(t, 2, p.requests.Load())

	for name, variable := range map[string]string{
		"no URL": "ACTIONS_ID_TOKEN_REQUEST_URL", "no token": "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
	} {
		_, err := p.job(variable, "").token(t.Context(), issuer)
		require.ErrorContains(t, err, "id-token: write", name)
	}
	for status, text := range map[int]string{401: "id-token: write", 403: "id-token: write", 503: "HTTP 503"} {
		p.answer = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, status) }
		_, err := p.job().token(t.Context(), issuer)
		require.ErrorContains(t, err, text)
		require.NotErrorIs(t, err, wire.ErrInvalidResponse)
	}
	for _, body := range []string{"", "<html>", `{}`, `{"value":7}`, `{"value":"opaque"}`} {
		p.answer = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
		_, err := p.job().token(t.Context(), issuer)
		require.ErrorIs(t, err, wire.ErrInvalidResponse, body)
	}
}

func TestGitLab(t *testing.T) {
	t.Parallel()
	want := jwt(t, issuer)
	got, err := gitlab{variables("MY_TOKEN", want), "MY_TOKEN"}.token(t.Context(), issuer)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = gitlab{variables(), gitlabVariable}.token(t.Context(), issuer)
	require.EqualError(t, err, "workload: GITLAB_OIDC_TOKEN is not set; in .gitlab-ci.yml, give the job "+
		`id_tokens: {GITLAB_OIDC_TOKEN: {aud: "https://login.example.com"}}`)
}

// The exported functions read the environment when they are called.
func TestEnvironment(t *testing.T) {
	p := newPlatform(t)
	fromGitHub, fromGitLab := GitHub(), GitLab("")
	t.Setenv("GITHUB_SERVER_URL", p.URL)
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", p.URL+"/job?api-version=2.0")
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", requestToken)
	t.Setenv("GITLAB_OIDC_TOKEN", jwt(t, issuer))
	t.Setenv(fileVariable, tokenFile(t, jwt(t, issuer)))
	detected, why := Detect()
	require.Contains(t, why, fileVariable)
	for _, token := range []func(context.Context, string) (string, error){fromGitHub, fromGitLab, detected} {
		got, err := token(t.Context(), issuer)
		require.NoError(t, err)
		require.Equal(t, jwt(t, issuer), got)
	}
}

// S125: a job gets a function, if only one that fails. Else the program would open a
// browser there, or use the session of the user whose machine runs the job.
func TestS125AJobHasNoUser(t *testing.T) {
	t.Parallel()
	path := tokenFile(t, jwt(t, issuer))
	for name, tt := range map[string]struct {
		env  environ
		why  string
		fail string // "": the function returns a token
	}{
		"file":          {variables(fileVariable, path), "the file of " + fileVariable, ""},
		"file in a job": {variables(fileVariable, path, "GITHUB_ACTIONS", "true"), "the file of " + fileVariable, ""},
		"GitHub without permission": {variables("GITHUB_ACTIONS", "true", "CI", "true"),
			"the ID token of a GitHub Actions job", "id-token: write"},
		"GitLab": {variables("GITLAB_CI", "true", gitlabVariable, jwt(t, issuer)),
			"the ID token of a GitLab job", ""},
		"GitLab without token": {variables("GITLAB_CI", "true", "CI", "true"),
			"the ID token of a GitLab job", "id_tokens:"},
		"another platform":  {variables("CI", "true"), "a CI job", fileVariable},
		"another, by name":  {variables("CI", "woodpecker"), "a CI job", fileVariable},
		"Azure Pipelines":   {variables("TF_BUILD", "True"), "a CI job", fileVariable},
		"TeamCity":          {variables("TEAMCITY_VERSION", "2026.1"), "a CI job", fileVariable},
		"Jenkins":           {variables("JENKINS_URL", "http://jenkins"), "a CI job", fileVariable},
		"Buildkite":         {variables("BUILDKITE", "true"), "a CI job", fileVariable},
		"AWS CodeBuild":     {variables("CODEBUILD_BUILD_ID", "x:1"), "a CI job", fileVariable},
		"job in a pod":      {variables("CI", "1", "KUBERNETES_SERVICE_HOST", "10.0.0.1"), "a CI job", fileVariable},
		"file that is gone": {variables(fileVariable, path+".gone", "CI", "true"), "the file of " + fileVariable, "gone"},
	} {
		token, why := detect(tt.env)
		require.NotNil(t, token, name)
		require.Contains(t, why, tt.why, name)
		require.NotContains(t, why, canary, name)
		_, err := token(t.Context(), issuer)
		if tt.fail == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, tt.fail, name)
		}
	}
	for name, env := range map[string]environ{
		"laptop":                 variables(),
		"laptop, CI off":         variables("CI", "false"),
		"laptop, CI=no":          variables("CI", "no"),
		"GitHub's variables":     variables("GITHUB_SERVER_URL", "https://github.com", "GITHUB_ACTIONS", "false"),
		"pod without token file": variables("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
	} {
		token, why := detect(env)
		require.Nil(t, token, name)
		require.Contains(t, why, ": a user", name)
	}
}

// S121: a token for somebody else is not given away. Kubernetes' default token is for
// the API server of the cluster.
func TestS121ATokenIsForItsAudienceAlone(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	for name, aud := range map[string]any{
		"the cluster":        []string{"https://kubernetes.default.svc.cluster.local"},
		"another server":     "https://login.example.com.evil.example",
		"the server beneath": issuer + "/tenant",
		"a slash more":       issuer + "/",
		"two":                []string{issuer, "https://evil.example"},
		"twice":              []string{issuer, issuer},
		"nobody":             []string{},
		"null":               nil,
		"number":             7,
		"list of others":     []any{issuer, 7},
	} {
		raw := jwt(t, aud)
		p.answer = func(w http.ResponseWriter, _ *http.Request) { p.give(t, w, aud) }
		for kind, token := range map[string]func(context.Context, string) (string, error){
			"File":   File(tokenFile(t, raw)),
			"GitLab": gitlab{variables("T", raw), "T"}.token,
			"GitHub": p.job().token,
		} {
			got, err := token(t.Context(), issuer)
			require.Error(t, err, "%s: %s", kind, name)
			require.Empty(t, got)
		}
	}
	// No audience is not any audience.
	for _, token := range []func(context.Context, string) (string, error){
		File(tokenFile(t, jwt(t, ""))), gitlab{variables("T", jwt(t, "")), "T"}.token, p.job().token,
	} {
		_, err := token(t.Context(), "")
		require.ErrorIs(t, err, errNoAudience)
	}
}

// S122: the right to get tokens in the job's name goes to the job's GitHub alone.
func TestS122TheRequestURLIsThePlatforms(t *testing.T) {
	t.Parallel()
	const cloud, own = "https://github.com", "https://git.corp.example"
	for _, tt := range []struct {
		server, request string
		ok              bool
	}{
		{cloud, "https://pipelines.actions.githubusercontent.com/abc/00/_apis/?api-version=2.0", true},
		{"", "https://run-actions-1-azure-eastus.actions.githubusercontent.com/1/idtoken?api-version=2.0", true},
		{"https://GitHub.com", "https://Pipelines.Actions.GitHubUserContent.com/1", true},
		{own, "https://git.corp.example/_services/token/1", true},
		{own, "https://actions.git.corp.example/1", true},
		{"https://git.corp.example:8443", "https://git.corp.example:8443/1", true},
		{"https://octo.ghe.com", "https://run.actions.octo.ghe.com/1", true},
		{"http://127.0.0.1:3000", "http://127.0.0.1:3000/api", true},

		{cloud, "https://evil.example/?actions.githubusercontent.com", false},
		{cloud, "https://actions.githubusercontent.com.evil.example/", false},
		{cloud, "https://evilactions.githubusercontent.com/", false},
		{cloud, "https://raw.githubusercontent.com/evil/evil/main/", false},
		{cloud, "https://github.com/evil", false},
		{cloud, "https://evil.github.com/", false},
		{cloud, "https://actions.githubusercontent.com:8443/", false},
		{cloud, "https://actions.githubusercontent.com@evil.example/", false},
		{cloud, "http://pipelines.actions.githubusercontent.com/", false},
		{cloud, "http://127.0.0.1:8000/", false},
		{cloud, "https://evil.example\\.actions.githubusercontent.com/", false},
		{cloud, "file:///etc/passwd", false},
		{cloud, "https://pipelines.act\u0130ons.githubusercontent.com/", false},
		{own, "https://pipelines.actions.githubusercontent.com/", false},
		{own, "https://git.corp.example.evil.example/", false},
		{own, "https://evilgit.corp.example/", false},
		{own, "http://git.corp.example/", false},
		{own, "https://git.corp.example:8443/", false},
		{"https://10.0.0.1", "https://1.10.0.0.1/", false},
		{"http://127.0.0.1:3000", "http://127.0.0.1:3001/api", false},
		{"git.corp.example", "https://git.corp.example/", false},
	} {
		g := github{variables("GITHUB_SERVER_URL", tt.server, "ACTIONS_ID_TOKEN_REQUEST_URL", tt.request)}
		_, err := g.place()
		require.Equal(t, tt.ok, err == nil, "%s at %s: %v", tt.request, tt.server, err)
	}

	evil := newPlatform(t)
	g := evil.job("GITHUB_SERVER_URL", cloud)
	_, err := g.token(t.Context(), issuer)
	require.ErrorContains(t, err, "does not belong to github.com")
	require.Zero(t, evil.requests.Load(), "a step of the job got the request")
}

// S123: the platform's server does not send the request on, and the audience cannot
// add parameters to it.
func TestS123TheRequestIsNotLedElsewhere(t *testing.T) {
	t.Parallel()
	p, evil := newPlatform(t), newPlatform(t)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, evil.URL+"/job?api-version=2.0&audience="+url.QueryEscape(issuer), http.StatusTemporaryRedirect)
	}
	_, err := p.job().token(t.Context(), issuer)
	require.ErrorContains(t, err, "HTTP 307")
	require.Zero(t, evil.requests.Load())

	audience := issuer + "&api-version=1#x?audience=evil"
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, url.Values{"api-version": {"2.0"}, "audience": {audience}}, r.URL.Query())
		p.give(t, w, audience)
	}
	_, err = p.job().token(t.Context(), audience)
	require.NoError(t, err)
}

// S124: no error shows a token, what it says, or the right to get one.
func TestS124ErrorsShowNoToken(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	failed := func(_ string, err error) {
		t.Helper()
		require.Error(t, err)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), canary)
		require.NotContains(t, err.Error(), "eyJ", "the beginning of a JWT")
	}
	good := jwt(t, issuer)
	for _, raw := range []string{
		jwt(t, "https://other.example"), good + "." + good, good[1:], good + "\x1b[2J", "opaque-" + canary,
		strings.Repeat(canary, maxToken), jwt(t, map[string]string{canary: canary}),
	} {
		failed(File(tokenFile(t, raw))(t.Context(), issuer))
		failed(gitlab{variables("T", raw), "T"}.token(t.Context(), issuer))
		p.answer = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"value":%q}`, raw) }
		failed(p.job().token(t.Context(), issuer))
		p.answer = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, raw, http.StatusTeapot) }
		failed(p.job().token(t.Context(), issuer))
	}
	failed(p.job("ACTIONS_ID_TOKEN_REQUEST_TOKEN", canary+"\n").token(t.Context(), issuer))
	failed(p.job("ACTIONS_ID_TOKEN_REQUEST_URL", p.URL+"/\x00"+canary).token(t.Context(), issuer))
	failed(p.job("ACTIONS_ID_TOKEN_REQUEST_URL", "https://u:"+canary+"@github.com/").token(t.Context(), issuer))
	p.Close()
	failed(p.job().token(t.Context(), issuer))

	// A path with controls cannot reach a terminal, in an error or in a log.
	_, why := detect(variables(fileVariable, "/run/\x1b[2J"))
	require.NotContains(t, why, "\x1b")
	_, err := File(filepath.Join(t.TempDir(), "\x1b[2J"))(t.Context(), issuer)
	require.Error(t, err)
}

func FuzzAccept(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhIn0.eA", "a")
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsiYSIsImIiXX0.eA", "a")
	f.Fuzz(func(t *testing.T, token, audience string) {
		got, err := accept(token, audience, "the token")
		if err != nil {
			require.Empty(t, got)
			return
		}
		require.NotEmpty(t, audience)
		require.Equal(t, 2, strings.Count(got, "."))
		require.NotContains(t, got, "\n")
	})
}
