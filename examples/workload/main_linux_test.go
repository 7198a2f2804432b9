package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

var update = flag.Bool("update", false, "write the transcript into docs/workload.md")

// This binary is also the program, and the browser that it opens.
func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == "xdg-open":
		resp, err := http.Get(os.Args[len(os.Args)-1])
		if err != nil {
			os.Exit(1)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		os.Exit(0)
	case os.Getenv("WORKLOAD") == "1":
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// What a job of the platform authenticates with there, and its name.
const (
	runnerToken = "runner-canary"
	repository  = "repo:octo/app:ref:refs/heads/main"
)

// place is where the program runs: a machine with a keychain and a browser, a provider
// with an API, and a platform whose jobs the provider knows.
type place struct {
	t       *testing.T
	as      *authserver.Server
	web     *httptest.Server
	key     *josetest.Key // the platform's
	machine *realparts.Session
	bin     string // a directory with the browser
	said    strings.Builder
}

func newPlace(t *testing.T) *place {
	p := &place{t: t, machine: realparts.SecretService(t, realparts.Unlocked), key: josetest.New(t, "ES256", "platform"), bin: t.TempDir()}
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, filepath.Join(p.bin, "xdg-open")))
	mux := http.NewServeMux()
	p.web = httptest.NewServer(mux)
	t.Cleanup(p.web.Close)
	platform := p.web.URL + "/platform"
	p.as, err = authserver.New(authserver.Config{
		Issuer: p.web.URL, AutoUser: "alice",
		Trusted: []authserver.Trusted{{Issuer: platform, Keys: func() (set jose.JSONWebKeySet) {
			require.NoError(t, json.Unmarshal(josetest.Set(p.key), &set))
			return set
		}}},
		Clients: []authserver.Client{
			{ID: "my-cli", RedirectURIs: []string{"http://127.0.0.1/callback"}},
			{ID: "my-job", Auth: authserver.AuthPrivateKeyJWT, Platform: platform, Subject: repository, Grants: []string{"client_credentials"}},
		},
	})
	require.NoError(t, err)
	mux.Handle("/", p.as)
	mux.HandleFunc("/platform/idtoken", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+runnerToken {
			http.Error(w, "no job", http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"value": p.token(r.FormValue("audience"))})
	})
	mux.Handle("/me", p.as.Protect(authserver.Resource{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, _ := authserver.GrantFrom(r.Context())
		fmt.Fprintf(w, "hello, %s\n", g.Subject)
	})))
	return p
}

// token returns the platform's token of the job for an audience.
func (p *place) token(audience string) string {
	now := time.Now()
	return p.key.Sign(map[string]any{
		"iss": p.web.URL + "/platform", "sub": repository, "aud": audience,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": fmt.Sprint(now.UnixNano()),
	})
}

// run runs the program as client, with more variables in its environment, and adds what
// it wrote to the transcript. It returns stdout, stderr and the exit code.
func (p *place) run(client string, env ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	self, err := os.Executable()
	require.NoError(p.t, err)
	cmd := exec.Command(self, p.web.URL, client, p.web.URL+"/me")
	cmd.Env = append(p.machine.Environ(), "WORKLOAD=1", "DISPLAY=:0", "PATH="+p.bin+":"+os.Getenv("PATH"))
	for _, name := range []string{"CI", "GITHUB_ACTIONS", "GITLAB_CI", "KUBERNETES_SERVICE_HOST"} { // this test may run in a job
		cmd.Env = append(cmd.Env, name+"=")
	}
	cmd.Env = append(cmd.Env, env...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	require.NoError(p.t, err)

	for _, kv := range env {
		fmt.Fprintf(&p.said, "$ export %s\n", strings.ReplaceAll(kv, runnerToken, "…"))
	}
	fmt.Fprintf(&p.said, "$ workload %s %s %s/me\n%s%s\n", p.web.URL, client, p.web.URL, log.String(), out.String())
	return out.String(), log.String(), code
}

func (p *place) heading(text string) { fmt.Fprintf(&p.said, "# %s\n", text) }

// One program, unchanged: on a laptop it uses the user's session, and in a job or a pod
// the platform's token, though all of them run on one machine here, with the same
// keychain and browser.
func TestOnALaptopAndInAJob(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.heading("A laptop. The first run signs the user in, in the browser; the second does not.")
	for range 2 {
		out, log, code := p.run("my-cli")
		require.Zero(t, code, log)
		require.Equal(t, "hello, alice\n", out)
	}
	require.Equal(t, 1, p.as.Stats().Logins)

	p.heading("A job of GitHub Actions, with the permission id-token: write.")
	job := []string{
		"GITHUB_ACTIONS=true", "GITHUB_SERVER_URL=" + p.web.URL,
		"ACTIONS_ID_TOKEN_REQUEST_URL=" + p.web.URL + "/platform/idtoken?api-version=2.0",
	}
	out, log, code := p.run("my-job", append(job, "ACTIONS_ID_TOKEN_REQUEST_TOKEN="+runnerToken)...)
	require.Zero(t, code, log)
	require.Equal(t, "hello, my-job\n", out)

	p.heading("The same job without that permission. It is no reason to sign a user in.")
	out, log, code = p.run("my-cli", job...)
	require.Equal(t, 1, code, log)
	require.Empty(t, out)

	p.heading("A pod with a projected token.")
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(p.token(p.web.URL)), 0o600))
	out, log, code = p.run("my-job", "NATIVEOAUTH_WORKLOAD_TOKEN_FILE="+path)
	require.Zero(t, code, log)
	require.Equal(t, "hello, my-job\n", out)
	require.Equal(t, 1, p.as.Stats().Logins, "a job opened a browser")

	p.compare(path)
}

// compare compares the transcript with the one in docs/workload.md, or writes it there.
func (p *place) compare(tokenFile string) {
	p.t.Helper()
	require.NotContains(p.t, p.said.String(), runnerToken)
	require.NotContains(p.t, p.said.String(), "eyJ", "a token is in the log")
	for _, c := range []struct{ from, to string }{
		{regexp.QuoteMeta(tokenFile), "/var/run/secrets/tokens/token"},
		{`time=\S+ level=INFO msg=`, "INFO "},
		{`INFO "the ways to sign in".*\n`, ""}, // they depend on the machine
		{regexp.QuoteMeta(p.web.URL) + "/me", "https://api.example.com/me"},
		{regexp.QuoteMeta(p.web.URL) + "/platform/idtoken", "https://pipelines.actions.githubusercontent.com/…/idtoken"},
		{"GITHUB_SERVER_URL=" + regexp.QuoteMeta(p.web.URL), "GITHUB_SERVER_URL=https://github.com"},
		{regexp.QuoteMeta(p.web.URL), "https://login.example.com"},
	} {
		text := regexp.MustCompile(c.from).ReplaceAllString(p.said.String(), c.to)
		p.said.Reset()
		p.said.WriteString(text)
	}
	const page, begin, end = "../../docs/workload.md", "<!-- transcript -->\n```\n", "```\n<!-- end -->"
	data, err := os.ReadFile(page)
	require.NoError(p.t, err)
	before, rest, ok := strings.Cut(string(data), begin)
	require.True(p.t, ok, "%s has no place for the transcript", page)
	shown, after, ok := strings.Cut(rest, end)
	require.True(p.t, ok)
	said := strings.TrimSuffix(p.said.String(), "\n")
	if *update {
		require.NoError(p.t, os.WriteFile(page, []byte(before+begin+said+end+after), 0o644))
		return
	}
	require.Equal(p.t, shown, said, "go test ./examples/workload -update writes the transcript again")
}
