package workload

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuer is the audience that the tests ask for.
const issuer = "https://login.example.com"

// canary is in every token of the tests, and in no error.
const canary = "canary-71c4"

// jwt returns an unsigned token with this aud: nobody here verifies a signature.
func jwt(t *testing.T, aud any) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{"iss": "https://platform.example", "sub": canary, "aud": aud})
	require.NoError(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(claims) + "." + encode([]byte(canary))
}

// variables is an environment with these variables alone.
func variables(pairs ...string) environ {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// tokenFile writes text to a private file.
func tokenFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// platform is the server that a runner of GitHub Actions asks. It is the job's
// GitHub too, as on a company's own server.
type platform struct {
	*httptest.Server
	requests atomic.Int32
	answer   http.HandlerFunc // nil: a token for the audience that was asked for
}

const requestToken = "request-" + canary

func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		switch {
		case r.Header.Get("Authorization") != "Bearer "+requestToken:
			http.Error(w, canary, http.StatusUnauthorized)
		case p.answer != nil:
			p.answer(w, r)
		case r.Method != http.MethodGet || r.URL.Path != "/job" || r.FormValue("api-version") != "2.0":
			http.Error(w, canary, http.StatusBadRequest)
		default:
			p.give(t, w, r.FormValue("audience"))
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *platform) give(t *testing.T, w http.ResponseWriter, aud any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(map[string]any{"count": 7, "value": jwt(t, aud)})
}

// job returns the function of a job on p, with more variables before its own.
func (p *platform) job(more ...string) github {
	return github{variables(append(more,
		"GITHUB_SERVER_URL", p.URL,
		"ACTIONS_ID_TOKEN_REQUEST_URL", p.URL+"/job?api-version=2.0",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN", requestToken)...)}
}
