package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// traffic sees everything between the command and its provider. It collects every
// secret, and makes endpoints repeat what they received.
type traffic struct {
	mu      sync.Mutex
	secrets map[string]string // value → what it is
	echo    string            // the endpoint that refuses, and says why at length
}

func (w *traffic) secret(what, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(value) >= 8 {
		w.secrets[value] = what
	}
}

func (w *traffic) form(v url.Values) {
	for _, name := range []string{"code", "code_verifier", "refresh_token", "state", "nonce", "client_secret", "token", "device_code"} {
		w.secret(name, v.Get(name))
	}
}

func (w *traffic) repeat(endpoint string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.echo = endpoint
}

func (w *traffic) option(endpoint string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		w.form(form)
		w.form(r.URL.Query())
		w.secret("proof", r.Header.Get("DPoP"))
		if _, credentials, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
			w.secret("Authorization", credentials)
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		if u, err := url.Parse(answer.Header().Get("Location")); err == nil {
			w.form(u.Query())
		}
		var m map[string]any
		_ = json.Unmarshal(answer.Body.Bytes(), &m)
		for _, name := range []string{"access_token", "refresh_token", "id_token", "device_code"} {
			s, _ := m[name].(string)
			w.secret(name, s)
		}
		w.mu.Lock()
		echo := w.echo == endpoint
		w.mu.Unlock()
		if !echo {
			for name, values := range answer.Header() {
				rw.Header()[name] = values
			}
			rw.WriteHeader(answer.Code)
			_, _ = rw.Write(answer.Body.Bytes())
			return
		}
		parts := []string{r.URL.RawQuery, r.Header.Get("Authorization"), r.Header.Get("DPoP"), form.Encode()}
		for _, values := range form {
			parts = append(parts, values...)
		}
		if _, pair, ok := r.BasicAuth(); ok {
			parts = append(parts, pair)
		}
		slices.Sort(parts) // short ones first would be cut off last
		all := strings.Join(parts, " ")
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="`+strings.ReplaceAll(all, `"`, "")+`"`)
		rw.Header().Set("Location", "https://elsewhere.example/"+url.PathEscape(all)+"?"+form.Encode())
		own := "canary-of-the-answer-itself"
		w.secret("the answer's own", own)
		rw.Header().Set("Retry-After", own+form.Encode())
		rw.WriteHeader(http.StatusUnauthorized)
		refusal := map[string]any{"error": "invalid_client", "error_uri": "https://elsewhere.example/?" + form.Encode(), "iss": all + " " + own, "client_name": all, "a_supported": parts, "ticket": own}
		for i, part := range parts {
			refusal[fmt.Sprint("p", i, "_endpoint")] = part
		}
		refusal["error_description"] = all
		_ = json.NewEncoder(rw).Encode(refusal)
	})
}

// found names the secrets in text, as they are or in another encoding.
func (w *traffic) found(text string) (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for value, what := range w.secrets {
		for _, form := range []string{value, url.QueryEscape(value), hex.EncodeToString([]byte(value)), base64.StdEncoding.EncodeToString([]byte(value))} {
			if strings.Contains(text, form) {
				names = append(names, what)
				break
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// watcher reads what other users of the computer can see of the processes that have
// home in their environment.
type watcher struct {
	mu   sync.Mutex
	seen map[string]string // by program and file
	stop chan struct{}
	done chan struct{}
}

func watch(home string) *watcher {
	w := &watcher{seen: map[string]string{}, stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for {
			select {
			case <-w.stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			processes, _ := os.ReadDir("/proc")
			for _, p := range processes {
				if _, err := strconv.Atoi(p.Name()); err != nil {
					continue
				}
				environ, err := os.ReadFile("/proc/" + p.Name() + "/environ")
				if err != nil || !bytes.Contains(environ, []byte("HOME="+home+"\x00")) {
					continue
				}
				cmdline, err := os.ReadFile("/proc/" + p.Name() + "/cmdline")
				if err != nil {
					continue
				}
				program, _, _ := strings.Cut(string(cmdline), "\x00")
				program = filepath.Base(program)
				w.mu.Lock()
				w.add(program+" cmdline", string(cmdline))
				w.add(program+" environ", string(environ))
				w.mu.Unlock()
			}
		}
	}()
	return w
}

func (w *watcher) add(where, text string) {
	if !strings.Contains(w.seen[where], text) {
		w.seen[where] += text + "\n"
	}
}

func (w *watcher) has(where string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[where] != ""
}

func (w *watcher) end() map[string]string {
	close(w.stop)
	<-w.done
	return w.seen
}

// S66, S67: every subcommand runs as a process of its own, with all its logs, at a
// provider that repeats in each error what it received. No secret may be in the
// output (unless the command prints one on purpose), the trace, temporary files, the
// configuration, the store's files, or the arguments and environments of processes.
func TestS66S67CommandCanarySweep(t *testing.T) {
	t.Parallel()
	for name, dpop := range map[string]bool{"bearer": false, "DPoP": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sweep(t, dpop)
		})
	}
}

func sweep(t *testing.T, dpop bool) {
	const clientSecret = "s3cret canary" // newProvider's
	w := &traffic{secrets: map[string]string{clientSecret: "client secret"}}
	p := newPlace(t, authserver.Config{DeviceInterval: time.Second, DPoPNonce: dpop, Misbehave: w.option})
	tmp, work := t.TempDir(), t.TempDir()
	secretFile := filepath.Join(p.home, "client secret")
	require.NoError(t, os.WriteFile(secretFile, []byte(clientSecret), 0o600))
	key, err := os.ReadFile(filepath.Join(p.home, "key"))
	require.NoError(t, err)
	w.secret("key of the file", strings.TrimSpace(string(key)))
	p.env = slices.DeleteFunc(p.env, func(kv string) bool { return strings.HasPrefix(kv, "NATIVEOAUTH_CLIENT_ID=") })
	p.env = append(p.env, "TMPDIR="+tmp, "NATIVEOAUTH_CLIENT_ID=secret")
	watching := watch(p.home)

	var said []string
	secretly := 0
	start := func(stdin string, env []string, args ...string) *process {
		t.Helper()
		cmd := p.command(env, append(args, "-v")...)
		cmd.Dir = work
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &cmd.stdout, cmd
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	// end records the output of a command. asked: it prints a secret on purpose.
	end := func(cmd *process, asked bool, codes ...int) {
		t.Helper()
		require.Contains(t, codes, cmd.code(), "%v: %s", cmd.Args, cmd.text())
		if asked {
			if len(w.found(cmd.stdout.String())) > 0 {
				secretly++
			}
		} else {
			said = append(said, fmt.Sprintf("%v\n%s", cmd.Args, cmd.stdout.String()))
		}
		said = append(said, fmt.Sprintf("%v\n%s", cmd.Args, cmd.text()))
	}
	do := func(code int, args ...string) { t.Helper(); end(start("", nil, args...), false, code) }
	ask := func(stdin string, args ...string) { t.Helper(); end(start(stdin, nil, args...), true, 0) }

	traced := []string{"--trace", "--trace-file", filepath.Join(work, "trace")}
	login := append([]string{"login", "--scope", "openid", "--scope", "offline_access", "--scope", "profile", "--client-secret-file"}, "")
	if dpop {
		login = slices.Insert(login, 1, "--dpop")
	}
	with := func(secret string, more ...string) []string {
		return slices.Concat(login[:len(login)-1], []string{secret}, more)
	}

	// Each source of the secret. The browser is held until the watcher has seen it.
	release := p.Hold(authserver.Authorize)
	defer release()
	first := start("", []string{secretVariable + "=" + clientSecret}, with("", traced...)...)
	require.Eventually(t, func() bool { return watching.has("xdg-open environ") && watching.has("nativeoauth cmdline") }, 20*time.Second, time.Millisecond)
	release()
	end(first, false, 0)
	do(0, with(secretFile, "--trace-file", filepath.Join(work, "trace2"))...)
	stdin := start(clientSecret+"\n", nil, with("-", "--trace-file", filepath.Join(work, "trace3"))...)
	end(stdin, false, 0)

	// Each flow.
	if !dpop { // this server binds codes of the device flow as well, the time is better spent elsewhere
		device := start("", nil, with(secretFile, "--device", "--trace", "--account", "device")...)
		found := device.await(`On any device, open\n  (\S+)\nand enter the code\n  (\S+)\n`)
		require.NoError(t, p.ApproveDevice(found[2], "alice"))
		end(device, false, 0)
	}
	p.Deny()
	do(1, with(secretFile, "--trace", "--account", "denied")...)
	p.SetAutoUser("alice")

	for _, format := range []string{"token", "header", "json", "env", "fish", "powershell", "dotenv", "curl"} {
		ask("", "token", "--format", format)
	}
	ask("", "token", "--id-token")
	ask("", "exec-credential")
	const question = "protocol=https\nhost=git.example.com\n"
	if dpop {
		end(start(question, nil, "git-credential", "--host", "git.example.com", "get"), false, 1)
	} else {
		ask(question, "git-credential", "--host", "git.example.com", "get")
	}
	end(start(question+"password=at_stale\n", nil, "git-credential", "--host", "git.example.com", "erase"), false, 0)
	end(start(question, nil, "git-credential", "--host", "git.example.com", "store"), false, 0)
	end(start("", nil, "request", "-i", p.http.URL+"/api/me"), false, 0)
	do(1, "request", "http://api.example.com/")
	api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { // a hostile API repeats the token where a client may
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		w.secret("proof", r.Header.Get("DPoP"))
		conn, wire, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(wire, "HTTP/1.1 403 %[2]s\r\nWWW-Authenticate: %[1]s error=\"insufficient_scope\", scope=\"%[2]s more\", acr_values=\"%[2]s\", error_description=\"%[2]s\"\r\n"+
			"Location: /%[2]s\r\nContent-Length: 0\r\n\r\n", scheme, token)
		_ = wire.Flush()
	}))
	defer api.Close()
	end(start("", nil, "request", api.URL), true, exitLoginRequired)
	for _, args := range [][]string{{"userinfo"}, {"status"}, {"status", "--json"}, {"refresh"}} {
		do(0, args...)
	}
	if !dpop { // the rest is the same for both
		for _, args := range [][]string{
			{"inspect", p.http.URL}, {"inspect", p.http.URL, "--json", "--client-id", "secret"}, {"version"}, {"help"},
			{"completion", "bash"}, {"completion", "zsh"}, {"completion", "fish"}, {"completion", "powershell"}, {"__complete", "token", "--profile", ""},
		} {
			do(0, args...)
		}
		for _, args := range [][]string{{"token", "--client-secret", "x"}, {"nonsense"}, {"token", "--min-ttl", "soon"}, {"request", "-H", "Authorization: Bearer x", p.http.URL}} {
			do(2, args...)
		}
		do(1, "token", "--key-file", secretFile)
		do(1, "refresh", "--client-secret-file", filepath.Join(p.home, "none"))
	}

	// Each endpoint repeats what it received, and the command reports the error.
	endpoints := []string{authserver.Token, authserver.PAR, authserver.JWKS, authserver.Metadata, authserver.Userinfo, authserver.Authorize, authserver.Device}
	if dpop {
		endpoints = []string{authserver.Token, authserver.Userinfo}
	}
	for _, endpoint := range endpoints {
		w.repeat("")
		do(0, with(secretFile, "--account", "main")...)
		w.repeat(endpoint)
		switch endpoint {
		case authserver.Authorize: // a browser gets that refusal, and a login would wait
			end(start("", nil, "inspect", p.http.URL, "--client-id", "secret", "--json"), false, 0, 1)
			continue
		case authserver.Device:
			do(1, with(secretFile, "--device", "--trace", "--account", "other")...)
			continue
		}
		for _, args := range [][]string{
			{"userinfo", "--account", "main"}, {"refresh", "--account", "main"}, {"inspect", p.http.URL}, with(secretFile, "--trace", "--trace-file", filepath.Join(work, "trace-"+endpoint), "--account", "other"),
		} {
			end(start("", nil, args...), false, 0, 1, 4)
		}
	}
	w.repeat(authserver.Revocation)
	do(1, "logout", "--account", "main")
	w.repeat("")
	do(0, with(secretFile, "--account", "last")...)

	// The DPoP key is never sent, so it comes from the store.
	parsed, err := tokenstore.ReadKey(filepath.Join(p.home, "key"))
	require.NoError(t, err)
	state := filepath.Join(p.home, ".local", "state", "nativeoauth", "sealed")
	store := tokenstore.NewFile(state, parsed)
	names, err := store.List(t.Context(), "s1.")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		data, err := store.Get(t.Context(), name)
		require.NoError(t, err)
		var kept struct {
			Key string `json:"dpop_key"`
		}
		require.NoError(t, json.Unmarshal(data, &kept))
		require.Equal(t, dpop, kept.Key != "")
		w.secret("DPoP key", kept.Key)
		w.secret("DPoP key", strings.TrimPrefix(kept.Key, "ES256."))
	}
	files := func(dir string) {
		t.Helper()
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || path == secretFile || path == filepath.Join(p.home, "key") {
				return err
			}
			info, err := d.Info()
			require.NoError(t, err)
			require.Zero(t, info.Mode().Perm()&0o077, "%s can be read by others", path)
			data, err := os.ReadFile(path)
			said = append(said, "the file "+path+"\n"+string(data))
			return err
		}))
	}
	files(p.home)
	do(0, "logout", "--all")
	files(p.home)
	files(tmp)
	files(work)

	for _, text := range said {
		if names := w.found(text); len(names) > 0 {
			t.Errorf("%s: in %s", names, text)
		}
	}
	seen := watching.end()
	for where, text := range seen {
		if where == "nativeoauth environ" { // the user put the client secret there
			text = strings.ReplaceAll(text, secretVariable+"="+clientSecret, "")
		}
		if names := w.found(text); len(names) > 0 {
			t.Errorf("%s: in %s: %q", names, where, text)
		}
	}
	require.GreaterOrEqual(t, secretly, 6, "where secrets are asked for, the sweep sees them")
	kinds := map[string]bool{}
	for _, what := range w.secrets {
		kinds[what] = true
	}
	for _, kind := range []string{"access_token", "refresh_token", "id_token", "code", "code_verifier", "state", "nonce", "Authorization", "client secret"} {
		require.True(t, kinds[kind], "the sweep saw no %s", kind)
	}
	require.Equal(t, dpop, kinds["DPoP key"] && kinds["proof"])
	t.Logf("%d secrets of %d kinds, not in %d texts, nor in what /proc shows of %d kinds of processes", len(w.secrets), len(kinds), len(said), len(seen)/2)
}

// S5: on a terminal, control characters in an API's response are replaced. A pipe gets
// the bytes unchanged.
func TestS5RequestOnATerminal(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	p.login()
	const answer = "before\x1b]0;owned\x07after"
	api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, answer) }))
	defer api.Close()
	piped := p.start(nil, "request", api.URL)
	require.Equal(t, 0, piped.code(), piped.text())
	require.Equal(t, answer, piped.stdout.String())
	shown, _ := p.terminal(nil, "request", "-i", api.URL)
	shown.await("after")
	require.Equal(t, 0, shown.code())
	require.Regexp(t, "before�]0;owned�after\r?\n", shown.text(), "the shell's prompt has a line of its own")
	require.NotContains(t, shown.text(), "\x1b]")
}
