package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// FuzzCommand runs the command in this process with arbitrary arguments (one a line),
// standard input, environment and configuration, beside a stored session. The command
// must end with a documented exit code, start no program, print no secret except for
// one that was requested (S66, S67), and send no control characters to the terminal
// (S5).
//
// The network consists of a provider on this machine and a proxy that does not exist.
// A login is cancelled before it starts: its input is read, and no user is prompted.
func FuzzCommand(f *testing.F) {
	home, here := f.TempDir(), f.TempDir()
	require.NoError(f, os.Chmod(home, 0o700))
	bin := filepath.Join(f.TempDir(), "bin")
	require.NoError(f, os.Mkdir(bin, 0o700))
	started := filepath.Join(bin, "started")
	for _, name := range []string{"xdg-open", "open", "x-www-browser", "www-browser", "secret-tool", "security", "dbus-launch", "sh"} {
		require.NoError(f, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n: >"+started+"\n"), 0o700))
	}
	p := newProvider(f, authserver.Config{AutoUser: "alice", Rotation: authserver.RotateNever, AccessTokenLifetime: 1000 * time.Hour, IDTokenLifetime: 1000 * time.Hour})
	for name, value := range map[string]string{
		"HOME": home, "USERPROFILE": home, "PATH": bin, "DISPLAY": ":0", "BROWSER": "", "XDG_CONFIG_HOME": "", "XDG_RUNTIME_DIR": "", "DBUS_SESSION_BUS_ADDRESS": "",
		"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "",
	} {
		f.Setenv(name, value)
	}
	f.Chdir(here)
	keyFile, secretFile := filepath.Join(home, "key"), filepath.Join(home, "secret")
	newKeyFile(f, keyFile)
	require.NoError(f, os.WriteFile(secretFile, []byte("canary of a secret file"), 0o600))
	config := `{"profiles":{"default":{"issuer":"` + p.http.URL + `","client_id":"cli","scopes":["openid","offline_access"],"store":"file","key_file":"` + filepath.ToSlash(keyFile) + `"}}}`
	configFile, err := configPath(environ{})
	require.NoError(f, err)
	require.NoError(f, os.MkdirAll(filepath.Dir(configFile), 0o700))

	key, err := tokenstore.ReadKey(keyFile)
	require.NoError(f, err)
	store := tokenstore.NewFile("", key)
	client, err := oauthclient.New(oauthclient.Config{
		Issuer: p.http.URL, ClientID: "cli", Scopes: []string{"openid", "offline_access"}, Store: store,
		UI: oauthclient.UI{OpenURL: func(_ context.Context, url string) error {
			go func() {
				if resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url); err == nil {
					_ = resp.Body.Close()
				}
			}()
			return nil
		}},
	})
	require.NoError(f, err)
	session, err := client.Login(f.Context(), nil)
	require.NoError(f, err)
	token, err := session.Token(f.Context())
	require.NoError(f, err)
	idToken, _, err := session.IDToken(f.Context())
	require.NoError(f, err)
	require.NoError(f, client.Close())
	names, err := store.List(f.Context(), "s1.")
	require.NoError(f, err)
	require.Len(f, names, 1)
	data, err := store.Get(f.Context(), names[0])
	require.NoError(f, err)
	var kept struct {
		RefreshToken string `json:"refresh_token"`
	}
	require.NoError(f, json.Unmarshal(data, &kept))
	require.NotEmpty(f, kept.RefreshToken)
	keyText, err := os.ReadFile(keyFile)
	require.NoError(f, err)
	tokens := []string{token.AccessToken, idToken}
	secrets := []string{kept.RefreshToken, "canary of a secret", "canary of the environment", strings.TrimSpace(string(keyText))}
	before := contents(f, home)

	for _, seed := range []struct{ args, stdin, env, config string }{
		{"token", "", "", ""},
		{"token\n--format\nenv\n--min-ttl=5m\n--id-token", "", "", ""},
		{"status\n--json", "", "NATIVEOAUTH_PROFILE=default", ""},
		{"status", "", "", `{"profiles":{"a":{"issuer":"https://op.example","client_id":"x","store":"memory"},"b":{"issuer":"$P","client_id":"cli","store":"file","key_file":"$K"}}}`},
		{"exec-credential", "", `KUBERNETES_EXEC_INFO={"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":true}}`, ""},
		{"git-credential\n--host\ngit.example.com:8443\n--bearer\nget", "capability[]=authtype\nprotocol=https\nhost=GIT.example.com:8443\nusername=me\n\n", "", ""},
		{"git-credential\n--host=git.example.com\nerase", "protocol=https\nhost=git.example.com\npassword=old\n", "", ""},
		{"git-credential\n--host=git.example.com\nget", "protocol=https\nhost=git.example.com@evil.example\n", "", ""},
		{"docker-credential\nget", "registry.example.com", "", `{"profiles":{"default":{"issuer":"$P","client_id":"cli","store":"file","key_file":"$K","docker_registries":["registry.example.com"]}}}`},
		{"docker-credential\nstore", `{"ServerURL":"registry.example.com","Username":"me","Secret":"s"}`, "", ""},
		{"docker-credential\nlist", "", "", ""},
		{"request\n-X\nPUT\n-H\nX-Extra: a\n-d\n{}\n-i\n$P/api/me", "", "", ""},
		{"request\nhttps://api.example.com/", "", "", ""},
		{"userinfo\n-v", "", "", ""},
		{"refresh\n--account\nother", "", "", ""},
		{"logout\n--all", "", "", `{"profiles":{"default":{"issuer":"$P","client_id":"cli","store":"file","key_file":"$K","client_secret_stored":true}}}`},
		{"login\n--issuer\n$P\n--client-id=cli\n--client-secret-file\n-\n--auth-param\na=b\n--scope\nopenid\n--port\n8080", "canary of a secret on stdin\n", "", ""},
		{"login\n--trace-file\nt.jsonl\n--trace\n--max-age=-1s\n--acr=mfa\n--redirect-uri\nhttps://ide.example/proxy/callback", "", "NATIVEOAUTH_CLIENT_SECRET=canary of the environment", ""},
		{"token\n--client-secret-file\n$S\n--profile=x\n--issuer=$P", "", "", ""},
		{"token\n--key-file\n$S", "", "", ""},
		{"inspect\n$P\n--json\n--client-id\ncli", "", "", ""},
		{"completion\nzsh", "", "", ""},
		{"__complete\nlogin\n--", "", "", ""},
		{"help\nlogin", "", "", ""},
		{"lgoin", "", "", "{"},
		{"token\n--store\nkeychain", "", "NATIVEOAUTH_KEY_FILE=", `{"profiles":{"\u001b]0;x\u0007":{}}}`},
	} {
		f.Add(seed.args, seed.stdin, seed.env, seed.config)
	}
	f.Fuzz(func(t *testing.T, args, stdin, env, configured string) {
		real := strings.NewReplacer("$P", p.http.URL, "$K", keyFile, "$S", secretFile)
		words := strings.Split(real.Replace(args), "\n")
		elsewhere := func(s string) bool { // other files and servers of this machine are not the fuzzer's to touch
			s = strings.NewReplacer(p.http.URL, "", keyFile, "", secretFile, "").Replace(s)
			for _, word := range []string{"..", "/dev", "/proc", "/sys", "127.", "localhost", "::", "trace-file=/", "trace-file\n/"} {
				if strings.Contains(strings.ToLower(s), word) {
					return true
				}
			}
			return false
		}
		if elsewhere(strings.Join(words, "\n")) || elsewhere(real.Replace(env)) || elsewhere(real.Replace(configured)) {
			t.Skip()
		}
		variables := environ{}
		for line := range strings.SplitSeq(real.Replace(env), "\n") {
			name, value, _ := strings.Cut(line, "=")
			if strings.HasPrefix(name, "NATIVEOAUTH_") || name == "KUBERNETES_EXEC_INFO" || name == "TERM" || name == "NO_COLOR" {
				variables[name] = value
			}
		}
		if configured == "" {
			configured = config
		}
		require.NoError(t, os.WriteFile(configFile, []byte(real.Replace(configured)), 0o600))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if strings.Contains(args, "login") || strings.Contains(args, "end-session") {
			cancel()
		}
		var stdout, stderr bytes.Buffer
		code := run(ctx, words, strings.NewReader(stdin), &stdout, &stderr, variables)

		require.Contains(t, []int{exitOK, exitError, exitUsage, exitLoginRequired}, code)
		if !strings.Contains(args, "login") {
			require.NoError(t, ctx.Err(), "it takes too long")
		}
		require.NoFileExists(t, started, "it started a program")
		hidden := map[string]string{"stderr": stderr.String()}
		for _, word := range []string{"token", "exec-credential", "git-credential", "docker-credential", "request"} {
			if slices.Contains(words, word) {
				hidden["stdout"] = ""
			}
		}
		if _, asked := hidden["stdout"]; !asked {
			hidden["stdout"] = stdout.String()
		}
		after := contents(t, home)
		for path, data := range after {
			if was, there := before[path]; path != configFile && (!there || was != data) {
				hidden[path] = data
			}
		}
		for path, data := range contents(t, here) {
			hidden[path] = data
			require.NoError(t, os.Remove(path))
		}
		for where, text := range hidden {
			for _, s := range slices.Concat(tokens, secrets) {
				if strings.Contains(text, s) && !strings.Contains(args+stdin+env+configured, s) {
					t.Errorf("%s holds %q", where, s)
				}
			}
		}
		for _, s := range secrets { // not even where a token was asked for
			if strings.Contains(stdout.String(), s) && !strings.Contains(args+stdin+env+configured, s) {
				t.Errorf("stdout holds %q", s)
			}
		}
		for _, r := range stderr.String() {
			if r != '\n' && unicode.IsControl(r) {
				t.Errorf("stderr holds the control character %q: %q", r, stderr.String())
			}
		}
		restore(t, before, after)
	})
}

// contents returns the files under dir.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	}))
	return all
}

// restore writes the files in before again, and removes all others.
func restore(t testing.TB, before, after map[string]string) {
	t.Helper()
	for path := range after {
		if _, there := before[path]; !there {
			require.NoError(t, os.Remove(path))
		}
	}
	for path, data := range before {
		if after[path] != data {
			require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
		}
	}
}
