package authserver_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

func byPage(c *authserver.Config) { c.AutoUser = "" }

func (f *fixture) device(pairs ...string) map[string]any {
	f.t.Helper()
	a := f.post("/device_authorization", with(url.Values{"client_id": {"app"}, "scope": {allScopes}}, pairs...))
	require.Equal(f.t, 200, a.StatusCode, a.Body)
	return a.json(f.t)
}

func (f *fixture) poll(device map[string]any, pairs ...string) answer {
	f.t.Helper()
	return f.post("/token", with(url.Values{"grant_type": {deviceGrant}, "client_id": {"app"}, "device_code": {device["device_code"].(string)}}, pairs...))
}

func TestDevice(t *testing.T) {
	f := start(t, byPage)
	d := f.device()
	require.Equal(t, f.as.URL("/device"), d["verification_uri"])
	require.Equal(t, f.as.URL("/device")+"?user_code="+d["user_code"].(string), d["verification_uri_complete"])
	require.EqualValues(t, 5, d["interval"])
	require.EqualValues(t, 600, d["expires_in"])

	f.poll(d).refused(t, 400, "authorization_pending")
	f.clock.Advance(5 * time.Second)
	f.poll(d).refused(t, 400, "authorization_pending")
	f.clock.Advance(4 * time.Second)
	f.poll(d).refused(t, 400, "slow_down") // and from now on ten seconds
	f.clock.Advance(6 * time.Second)       // ten since the last that was in time: the early one counts
	f.poll(d).refused(t, 400, "slow_down") // fifteen
	f.clock.Advance(15 * time.Second)
	f.poll(d).refused(t, 400, "authorization_pending")
	f.poll(d, "client_id", "other").refused(t, 400, "invalid_grant")

	require.Error(t, f.as.ApproveDevice(d["user_code"].(string), "nobody"))
	require.Error(t, f.as.ApproveDevice("BBBB-BBBB", "alice"))
	typed := strings.ToLower(strings.ReplaceAll(d["user_code"].(string), "-", " "))
	require.NoError(t, f.as.ApproveDevice(typed, "alice"))
	require.Error(t, f.as.DenyDevice(typed), "it was answered")
	f.clock.Advance(time.Second)
	f.poll(d).refused(t, 400, "slow_down") // even then
	f.clock.Advance(20 * time.Second)
	got := f.poll(d).tokens(t)
	require.NotEmpty(t, got.Refresh)
	require.Equal(t, "u1", f.claims(got.ID)["sub"])
	require.NotContains(t, f.claims(got.ID), "nonce")
	f.clock.Advance(20 * time.Second)
	f.poll(d).refused(t, 400, "invalid_grant")
	f.post("/token", refreshForm(got.Refresh)).tokens(t)
}

func TestDeviceDeniedAndExpired(t *testing.T) {
	f := start(t, byPage)
	d := f.device()
	require.NoError(t, f.as.DenyDevice(d["user_code"].(string)))
	f.poll(d).refused(t, 400, "access_denied")

	late := f.device()
	f.clock.Advance(10 * time.Minute)
	require.Error(t, f.as.ApproveDevice(late["user_code"].(string), "alice"))
	f.poll(late).refused(t, 400, "expired_token")
	f.poll(map[string]any{"device_code": "dc_x"}).refused(t, 400, "invalid_grant")
	f.poll(map[string]any{"device_code": ""}).refused(t, 400, "invalid_request")
	user := f.device()["user_code"]
	f.poll(map[string]any{"device_code": user}).refused(t, 400, "invalid_grant")
}

func TestDevicePKCEAndDPoP(t *testing.T) {
	f := start(t)
	d := f.device("code_challenge", challenge, "code_challenge_method", "S256")
	require.NoError(t, f.as.ApproveDevice(d["user_code"].(string), "alice"))
	f.poll(d).refused(t, 400, "invalid_grant")
	f.clock.Advance(5 * time.Second)
	p := f.prover()
	a := f.post("/token", with(url.Values{"grant_type": {deviceGrant}, "client_id": {"app"}, "device_code": {d["device_code"].(string)}}, "code_verifier", verifier),
		"DPoP", p.proof("POST", f.as.URL("/token")))
	require.Equal(t, "DPoP", a.tokens(t).Type)

	for name, c := range map[string][]string{
		"invalid_request":     {"code_challenge", challenge},
		"invalid_scope":       {"scope", `a"b`},
		"invalid_target":      {"resource", "api"},
		"unauthorized_client": {"client_id", "codeonly"},
	} {
		f.post("/device_authorization", with(url.Values{"client_id": {"app"}}, c...)).refused(t, 400, name)
	}
}

func TestDevicePage(t *testing.T) {
	f := start(t, byPage)
	b := f.browser()
	d := f.device()
	page := b.get("/device")
	require.Contains(t, page.Body, `name="user_code"`)
	page = b.get("/device?user_code=BBBB-BBBB")
	require.Equal(t, 400, page.StatusCode)
	require.Contains(t, page.Body, "unknown")

	page = b.get(d["verification_uri_complete"].(string))
	require.Equal(t, 200, page.StatusCode)
	require.Contains(t, page.Body, d["user_code"])
	require.Contains(t, page.Body, "The App")
	f.poll(d).refused(t, 400, "authorization_pending") // opening the link approves nothing (RFC 8628 §5.4)
	done := b.decide(page, "action", "allow", "username", "alice")
	require.Equal(t, 200, done.StatusCode)
	require.Contains(t, done.Body, "connected")
	f.clock.Advance(5 * time.Second)
	f.poll(d).tokens(t)

	d = f.device()
	page = b.get(d["verification_uri_complete"].(string))
	require.Contains(t, page.Body, "Signed in as")
	require.Contains(t, b.decide(page, "action", "deny").Body, "denied")
	f.poll(d).refused(t, 400, "access_denied")
}

// RFC 8628 §5.1: user codes are short, so guessing them is made slow.
func TestUserCodeGuessing(t *testing.T) {
	f := start(t, byPage)
	d := f.device()
	for range 40 {
		require.Equal(t, 400, f.get("/device?user_code=BBBB-BBBB").StatusCode)
	}
	require.Equal(t, 400, f.get(d["verification_uri_complete"].(string)).StatusCode, "even the right one, for now")
	f.clock.Advance(time.Minute)
	require.Equal(t, 200, f.get(d["verification_uri_complete"].(string)).StatusCode)
}

func TestDeviceWithoutAPage(t *testing.T) {
	f := start(t)
	d := f.device()
	require.Contains(t, f.get(d["verification_uri_complete"].(string)).Body, "connected")
	f.poll(d).tokens(t)
	f.as.Deny()
	d = f.device()
	require.Contains(t, f.get(d["verification_uri_complete"].(string)).Body, "denied")
	f.poll(d).refused(t, 400, "access_denied")
}
