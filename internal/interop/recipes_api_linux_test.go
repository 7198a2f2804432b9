package interop

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// skopeo, and Docker's client if it is there, get the token for a registry from the
// helper of docs/recipes.md. They do it without Docker's engine.
func TestDockerRecipe(t *testing.T) {
	t.Parallel()
	realparts.Need(t, "skopeo")
	c := newCook(t)
	web := httptest.NewTLSServer(c.registry())
	defer web.Close()
	host := web.Listener.Addr().String()
	c.trust(web)
	c.replace("registry.example.com", host, "my-registry", "dev")
	require.NoError(t, os.MkdirAll(filepath.Join(c.session.Home, ".local", "bin"), 0o700))
	c.sh("Docker looks for this name in the PATH")
	c.write("~/.docker/config.json", c.block("~/.docker/config.json"))
	image := "docker://" + host + "/notes:latest"

	c.login("sign in for Docker, once")
	c.say("What Docker is told about the registry. sed hides the token.",
		"echo "+host+" | docker-credential-nativeoauth get | sed 's/: \"at_.*/: .../'", `"Secret": ...`)
	c.say("skopeo, which has the same code for it as podman, pulls an image.",
		"skopeo copy -q "+image+" dir:image && ls image", "manifest.json")
	docker, err := exec.LookPath("docker")
	if err == nil {
		c.say("So does Docker's client, as far as it gets without an engine.",
			"docker manifest inspect "+host+"/notes:latest | grep -c digest", "2")
		c.say("docker logout does not end the session, and says so.",
			"docker logout "+host, "nativeoauth logout --profile registry")
	} else {
		t.Log("Docker's client is not on this machine, so that only skopeo was tried")
	}
	c.say("Another registry gets nothing.",
		"echo registry.example.net | docker-credential-nativeoauth get; echo exit code $?",
		"credentials not found in native keychain\nexit code 1")
	c.say("After the logout:", "nativeoauth logout --profile registry", "Signed out")
	c.say("", "skopeo inspect "+image, "nativeoauth login --profile registry")
	require.False(t, docker == "" && os.Getenv(picturesVariable) != "", "the transcript needs Docker's client")
	c.serve()
}

// trust lets git, and programs that are written in Go, trust the certificate of web.
func (c *cook) trust(web *httptest.Server) {
	c.t.Helper()
	c.write("~/ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})))
}

// registry is a registry with one image (OCI Distribution Specification), for users
// that the provider knows.
func (c *cook) registry() http.Handler {
	blobs := map[string][]byte{}
	digest := func(data []byte) string {
		sum := sha256.Sum256(data)
		name := "sha256:" + hex.EncodeToString(sum[:])
		blobs[name] = data
		return name
	}
	tar := make([]byte, 1024) // an empty archive
	var layer bytes.Buffer
	z := gzip.NewWriter(&layer)
	_, _ = z.Write(tar)
	_ = z.Close()
	marshal := func(v any) []byte {
		data, _ := json.Marshal(v) // maps of strings cannot fail
		return data
	}
	type object = map[string]any
	config := marshal(object{"architecture": "amd64", "os": "linux", "config": object{},
		"rootfs": object{"type": "layers", "diff_ids": []string{digest(tar)}}})
	const vnd = "application/vnd.docker."
	part := func(kind string, data []byte) object {
		return object{"mediaType": vnd + kind, "size": len(data), "digest": digest(data)}
	}
	manifest := marshal(object{
		"schemaVersion": 2, "mediaType": vnd + "distribution.manifest.v2+json",
		"config": part("container.image.v1+json", config),
		"layers": []object{part("image.rootfs.diff.tar.gzip", layer.Bytes())},
	})
	blobs["latest"] = manifest
	digest(manifest)

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if user, token, ok := r.BasicAuth(); !ok || user != "oauth2accesstoken" || !c.knows(token) {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		data, ok := blobs[path.Base(r.URL.Path)]
		switch {
		case r.URL.Path == "/v2/":
		case !ok:
			http.NotFound(w, r)
		default:
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.Header().Set("Content-Type", vnd+"distribution.manifest.v2+json")
				sum := fmt.Sprintf("sha256:%x", sha256.Sum256(data))
				w.Header().Set("Docker-Content-Digest", sum)
			}
			_, _ = w.Write(data)
		}
	})
}

// kubectl gets the ID token from the plugin of docs/recipes.md. The API server checks
// it as a cluster with OpenID Connect does.
func TestKubectlRecipe(t *testing.T) {
	t.Parallel()
	realparts.Need(t, "kubectl")
	c := newCook(t)
	web := httptest.NewTLSServer(c.cluster())
	defer web.Close()
	c.trust(web)
	c.replace("my-cluster", "dev")
	c.write("~/.kube/config", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: work, cluster: {server: %q, certificate-authority: %q}}]
`, web.URL, filepath.Join(c.session.Home, "ca.pem")))
	c.sh("kubectl")

	c.login("sign in for kubectl, once")
	c.say("kubectl starts the plugin, and sends the ID token.", "kubectl get namespaces", "of-alice")
	c.say("After the logout, it shows what to do.",
		"nativeoauth logout --profile cluster", "Signed out")
	c.say("", "kubectl get namespaces --request-timeout 20s 2>&1 | tail -2",
		"nativeoauth login --profile cluster")
	c.serve()
}

// cluster is as much of a Kubernetes API server as "kubectl get namespaces" needs. It
// accepts the ID tokens of the provider for this client.
func (c *cook) cluster() http.Handler {
	answers := map[string]string{
		"/api":  `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis": `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
		"/api/v1": `{"kind":"APIResourceList","groupVersion":"v1","resources":[
			{"name":"namespaces","kind":"Namespace","verbs":["get","list"]}]}`,
		"/api/v1/namespaces": `{"kind":"NamespaceList","apiVersion":"v1","items":[
			{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"of-alice"}}]}`,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch answer, ok := answers[r.URL.Path]; {
		case c.verify(token) != nil:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure",`+
				`"reason":"Unauthorized","code":401}`)
		case !ok:
			http.NotFound(w, r)
		default:
			_, _ = fmt.Fprint(w, answer)
		}
	})
}

// verify checks an ID token: its signature with the provider's keys, issuer, audience
// and times.
func (c *cook) verify(idToken string) error {
	resp, err := http.Get(c.issuer + "/jwks")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var keys jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&keys); err != nil {
		return err
	}
	parsed, err := jwt.ParseSigned(idToken, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		return err
	}
	var claims jwt.Claims
	if err := parsed.Claims(keys, &claims); err != nil {
		return err
	}
	return claims.Validate(jwt.Expected{
		Issuer: c.issuer, AnyAudience: jwt.Audience{"dev"}, Time: time.Now(),
	})
}
