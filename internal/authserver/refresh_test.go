package authserver_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

func rotation(r authserver.Rotation) func(*authserver.Config) {
	return func(c *authserver.Config) { c.Rotation = r }
}

func TestRotateStrict(t *testing.T) {
	f := start(t)
	first := f.login()
	f.clock.Advance(time.Hour)
	second := f.post("/token", refreshForm(first.Refresh)).tokens(t)
	require.NotEqual(t, first.Refresh, second.Refresh)
	require.False(t, f.as.Active(first.Access), "it has expired")
	require.False(t, f.as.Active(first.Refresh), "it is consumed")

	claims, before := f.claims(second.ID), f.claims(first.ID)
	require.NotContains(t, claims, "nonce", "OpenID Connect Core §12.2")
	require.Equal(t, before["auth_time"], claims["auth_time"])
	require.Equal(t, before["sub"], claims["sub"])
	require.NotEqual(t, before["at_hash"], claims["at_hash"])

	f.post("/token", refreshForm(first.Refresh, "client_id", "other")).refused(t, 400, "invalid_grant")
	require.True(t, f.as.Active(second.Refresh), "another client's attempt ends nothing")
	require.Equal(t, 1, f.as.Presented(first.Refresh))

	f.post("/token", refreshForm(first.Refresh)).refused(t, 400, "invalid_grant")
	require.False(t, f.as.Active(second.Access), "reuse revokes the family")
	f.post("/token", refreshForm(second.Refresh)).refused(t, 400, "invalid_grant")
	require.Equal(t, 2, f.as.Presented(first.Refresh))
	stats := f.as.Stats()
	require.Equal(t, 1, stats.Reuses)
	require.Equal(t, 1, stats.FamiliesRevoked)
	require.Equal(t, 3, stats.Refreshes)
	require.Zero(t, f.as.Presented("rt_unknown"))
}

func TestRotateGrace(t *testing.T) {
	f := start(t, rotation(authserver.RotateGrace))
	first := f.login()
	second := f.post("/token", refreshForm(first.Refresh)).tokens(t)
	f.clock.Advance(29 * time.Second)
	again := f.post("/token", refreshForm(first.Refresh)).tokens(t)
	require.NotEqual(t, second.Refresh, again.Refresh)
	require.NotEqual(t, second.Access, again.Access)
	require.True(t, f.as.Active(second.Access))
	require.Equal(t, 1, f.as.Stats().Reuses, "seen, and forgiven")
	require.Zero(t, f.as.Stats().FamiliesRevoked)

	f.clock.Advance(time.Second)
	f.post("/token", refreshForm(first.Refresh)).refused(t, 400, "invalid_grant")
	require.Equal(t, 1, f.as.Stats().FamiliesRevoked)
	f.post("/token", refreshForm(again.Refresh)).refused(t, 400, "invalid_grant")
}

func TestRotateNever(t *testing.T) {
	f := start(t, rotation(authserver.RotateNever))
	first := f.login()
	for range 3 {
		got := f.post("/token", refreshForm(first.Refresh)).tokens(t)
		require.Empty(t, got.Refresh)
		require.True(t, f.as.Active(got.Access))
	}
	require.Zero(t, f.as.Stats().Reuses)
	require.Equal(t, 3, f.as.Presented(first.Refresh))
}

func TestRefreshRefusals(t *testing.T) {
	f := start(t, func(c *authserver.Config) { c.RefreshTokenLifetime = time.Hour })
	got := f.login("scope", "openid offline_access email", "resource", "https://a.example")
	f.post("/token", refreshForm("")).refused(t, 400, "invalid_request")
	f.post("/token", refreshForm("rt_x")).refused(t, 400, "invalid_grant")
	f.post("/token", refreshForm(got.Access)).refused(t, 400, "invalid_grant")
	f.post("/token", refreshForm(got.Refresh, "scope", "openid profile")).refused(t, 400, "invalid_scope")
	f.post("/token", refreshForm(got.Refresh, "resource", "https://b.example")).refused(t, 400, "invalid_target")
	require.True(t, f.as.Active(got.Refresh), "a request that asks for too much uses nothing up")

	narrow := f.post("/token", refreshForm(got.Refresh, "scope", "email")).tokens(t)
	require.Equal(t, "email", narrow.Scope)
	require.Empty(t, narrow.ID)
	wide := f.post("/token", refreshForm(narrow.Refresh)).tokens(t)
	require.Equal(t, "openid offline_access email", wide.Scope, "a narrower token does not narrow the grant (RFC 6749 §6)")

	f.clock.Advance(time.Hour)
	f.post("/token", refreshForm(wide.Refresh)).refused(t, 400, "invalid_grant")
}

func TestExpireAndRevoke(t *testing.T) {
	f := start(t)
	got := f.login()
	f.as.Expire()
	require.False(t, f.as.Active(got.Access))
	next := f.post("/token", refreshForm(got.Refresh)).tokens(t)
	require.True(t, f.as.Active(next.Access))
	pending := f.code()
	f.as.Revoke()
	require.False(t, f.as.Active(next.Access))
	require.Zero(t, f.as.Alive())
	f.post("/token", refreshForm(next.Refresh)).refused(t, 400, "invalid_grant")
	f.post("/token", codeForm(pending)).refused(t, 400, "invalid_grant")
	require.Zero(t, f.as.Stats().FamiliesRevoked, "nobody presented anything twice")
	f.login()
	require.Equal(t, 1, f.as.Alive())
}

// Fifty at once with one token: one wins, and the others are reuse.
func TestConcurrentRefresh(t *testing.T) {
	f := start(t)
	got := f.login()
	var mu sync.Mutex
	won := 0
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			a := f.post("/token", refreshForm(got.Refresh))
			mu.Lock()
			defer mu.Unlock()
			if a.StatusCode == 200 {
				won++
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, won)
	require.Equal(t, 49, f.as.Stats().Reuses)
	require.Equal(t, 1, f.as.Stats().FamiliesRevoked)
	require.Equal(t, 50, f.as.Presented(got.Refresh))
}

func TestConcurrentCode(t *testing.T) {
	f := start(t)
	code := f.code()
	var mu sync.Mutex
	won := 0
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			a := f.post("/token", codeForm(code))
			mu.Lock()
			defer mu.Unlock()
			if a.StatusCode == 200 {
				won++
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, won)
}

func TestRevocation(t *testing.T) {
	f := start(t)
	revoke := func(token string, pairs ...string) answer {
		return f.post("/revoke", with(map[string][]string{"client_id": {"app"}, "token": {token}}, pairs...))
	}
	got := f.login()
	revoke("").refused(t, 400, "invalid_request")
	revoke(got.Access, "client_id", "nobody").refused(t, 401, "invalid_client")
	revoke(got.Access, "client_id", "other").refused(t, 400, "unauthorized_client")
	revoke(got.Refresh, "client_id", "other").refused(t, 400, "unauthorized_client")
	require.Equal(t, 200, revoke("rt_unknown").StatusCode, "S68")
	require.True(t, f.as.Active(got.Access))

	require.Equal(t, 200, revoke(got.Access, "token_type_hint", "refresh_token").StatusCode, "a wrong hint does no harm")
	require.False(t, f.as.Active(got.Access))
	next := f.post("/token", refreshForm(got.Refresh)).tokens(t)
	require.Equal(t, 200, revoke(next.Refresh).StatusCode)
	require.False(t, f.as.Active(next.Access), "the whole grant")
	f.post("/token", refreshForm(next.Refresh)).refused(t, 400, "invalid_grant")
}

func TestIntrospection(t *testing.T) {
	f := start(t)
	got := f.login("resource", "https://api.example")
	ask := func(client, token string, headers ...string) map[string]any {
		a := f.post("/introspect", with(nil, "client_id", client, "token", token), headers...)
		require.Equal(t, 200, a.StatusCode, a.Body)
		return a.json(t)
	}
	v := ask("app", got.Access)
	require.Equal(t, true, v["active"])
	require.Equal(t, "app", v["client_id"])
	require.Equal(t, "u1", v["sub"])
	require.Equal(t, "Bearer", v["token_type"])
	require.Equal(t, []any{"https://api.example"}, v["aud"])
	require.Equal(t, float64(f.clock.Now().Add(5*time.Minute).Unix()), v["exp"])
	require.Equal(t, true, ask("app", got.Refresh)["active"])
	inactive := map[string]any{"active": false}
	require.Equal(t, inactive, ask("other", got.Access), "a public client hears of its own tokens only")
	require.Equal(t, inactive, ask("app", "at_x"))
	a := f.post("/introspect", with(nil, "client_id", "post", "client_secret", secretOfApp.Reveal(), "token", got.Access))
	require.Equal(t, true, a.json(t)["active"], "a confidential one, such as an API, of all")
	f.clock.Advance(5 * time.Minute)
	require.Equal(t, inactive, ask("app", got.Access))
	f.post("/introspect", with(nil, "token", got.Refresh)).refused(t, 401, "invalid_client")
}
