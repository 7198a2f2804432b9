package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// The command without a user. S126: a platform's token is not in a flag, a profile, a
// log or an error, and goes to the profile's provider alone. S127: a user's session is
// not for a job, also if the job has no token.
func TestS126S127WithoutAUser(t *testing.T) { runScripts(t, "testdata/job") }

// jobs is a platform whose jobs the provider knows: it issues their tokens, as GitHub
// does at the address that it gives to a job.
type jobs struct {
	url string // the platform's issuer
	key *josetest.Key
}

// The job that the provider knows, and what it authenticates with at its platform.
const (
	jobSubject = "repo:octo/app:ref:refs/heads/main"
	jobRequest = "runner canary"
)

func newJobs(t testing.TB, url string) *jobs {
	return &jobs{url: url, key: josetest.New(t, "ES256", "platform")}
}

// token returns a job's token for aud, which lives for an hour.
func (j *jobs) token(subject, aud string) string {
	now := time.Now()
	return j.key.Sign(map[string]any{
		"iss": j.url, "sub": subject, "aud": aud, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"jti": fmt.Sprint(now.UnixNano()), "repository": "octo/app",
	})
}

// ServeHTTP answers a job as GitHub does.
func (j *jobs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+jobRequest {
		http.Error(w, "the platform does not know this job", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"count": 1, "value": j.token(jobSubject, r.FormValue("audience"))})
}

// configure makes the provider trust the platform, and adds clients without users.
func (j *jobs) configure(t testing.TB, cfg *authserver.Config) {
	var keys jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(josetest.Set(j.key), &keys))
	cfg.Trusted = []authserver.Trusted{{Issuer: j.url, Keys: func() jose.JSONWebKeySet { return keys }}}
	const credentials, assertion, exchange = "client_credentials",
		"urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange"
	cfg.Clients = append(cfg.Clients,
		authserver.Client{ID: "job", Auth: authserver.AuthPrivateKeyJWT, Platform: j.url, Subject: jobSubject, Grants: []string{credentials}},
		authserver.Client{ID: "service", Auth: authserver.AuthBasic, Secret: wire.NewSecret("s3cret canary"), Grants: []string{credentials}},
		authserver.Client{ID: "given", Grants: []string{assertion, exchange}},
	)
}

// stsPool is the audience of the exchange at newSTS.
const stsPool = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/jobs/providers/github"

// newSTS adds a token exchange that knows no clients and publishes no metadata, as
// Google's, and an API that accepts its token.
func newSTS(mux *http.ServeMux, p *provider) {
	mux.HandleFunc("/sts/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var claims struct {
			Subject  string `json:"sub"`
			Audience string `json:"aud"`
		}
		token, err := jose.ParseSignedCompact(r.FormValue("subject_token"), []jose.SignatureAlgorithm{jose.ES256})
		if err == nil {
			var payload []byte
			if payload, err = token.Verify(p.jobs.key.Signer.Public()); err == nil {
				err = json.Unmarshal(payload, &claims)
			}
		}
		_, _, authenticated := r.BasicAuth()
		if err != nil || claims.Subject != jobSubject || claims.Audience != "https:"+stsPool ||
			r.FormValue("audience") != stsPool || r.Form.Has("client_id") || authenticated {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(w, `{"error":"invalid_request"}`)
			return
		}
		_, _ = fmt.Fprint(w, `{"access_token":"at_pool","token_type":"Bearer","expires_in":3599,`+
			`"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`)
	})
	mux.HandleFunc("/sts/api", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer at_pool" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprintln(w, "storage of the pool")
	})
}

// cmdIDToken writes the platform's token for an audience to a file, or to a variable if
// the name begins with +, as in "idtoken +TOKEN https://as.example". A third argument is
// another job.
func cmdIDToken(ts *testscript.TestScript, _ bool, args []string) {
	subject := jobSubject
	if len(args) > 2 {
		subject = args[2]
	}
	token := ts.Value(providerKey{}).(*provider).jobs.token(subject, args[1])
	if name := args[0]; name[0] == '+' {
		ts.Setenv(name[1:], token)
		return
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token+"\n"), 0o600))
}
