package oauthclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// A fault makes an answer malformed.
type fault = func(a *lyingReply)

// jsonFaults are those of any answer in JSON, whatever its members mean.
func jsonFaults() map[string]fault {
	body := func(text string) fault { return func(a *lyingReply) { a.Body = []byte(text) } }
	first := func(member string) fault { // puts a member in front
		return func(a *lyingReply) { a.Body = append([]byte("{"+member+","), bytes.TrimSpace(a.Body)[1:]...) }
	}
	return map[string]fault{
		"not JSON":     body("secret-body"),
		"empty":        body(""),
		"null":         body("null"),
		"a list":       body("[]"),
		"a string":     body(`"secret-body"`),
		"a number":     body("7"),
		"truncated":    func(a *lyingReply) { a.Body = a.Body[:len(a.Body)/2] },
		"no end":       func(a *lyingReply) { a.Body = bytes.TrimSuffix(bytes.TrimSpace(a.Body), []byte("}")) },
		"two values":   func(a *lyingReply) { a.Body = append(a.Body, "{}"...) },
		"twice":        first(`"x":1,"x":2`),
		"twice inside": first(`"x":{"y":1,"y":2}`),
		"bad UTF-8":    first(`"x":"` + "\xff" + `"`),
		"too deep":     first(`"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)),
		"too large":    first(`"x":"` + strings.Repeat("x", 1<<20) + `"`),
		"a page": func(a *lyingReply) {
			a.Status, a.Body = 200, []byte("<html>secret-body</html>")
			a.Header.Set("Content-Type", "text/html")
		},
		"a page that says it is JSON": body("<html>secret-body</html>"),
		"compressed":                  func(a *lyingReply) { a.Header.Set("Content-Encoding", "gzip") },
	}
}

// memberFaults leaves out each of the required members, names each of them twice,
// and gives members values of a wrong type.
func memberFaults(required []string, mistyped map[string]any) map[string]fault {
	all := map[string]fault{}
	for _, name := range required {
		all[name+" missing"] = func(a *lyingReply) { a.JSON(func(m map[string]any) { delete(m, name) }) }
		all[name+" null"] = func(a *lyingReply) { a.JSON(func(m map[string]any) { m[name] = nil }) }
		all[name+" twice"] = func(a *lyingReply) {
			var m map[string]json.RawMessage
			if json.Unmarshal(a.Body, &m) == nil {
				again := `{"` + name + `":` + string(m[name]) + ","
				a.Body = append([]byte(again), bytes.TrimSpace(a.Body)[1:]...)
			}
		}
	}
	for name, value := range mistyped {
		all[name+" of another type"] = func(a *lyingReply) { a.JSON(func(m map[string]any) { m[name] = value }) }
	}
	return all
}

func faults(sets ...map[string]fault) map[string]fault {
	all := map[string]fault{}
	for _, set := range sets {
		maps.Copy(all, set)
	}
	return all
}

func tokenFaults() map[string]fault {
	twice := func(a *lyingReply) {
		a.Body = append([]byte(`{"token_type":"Bearer",`), bytes.TrimSpace(a.Body)[1:]...)
	}
	return faults(jsonFaults(), map[string]fault{"token_type twice": twice}, memberFaults([]string{"access_token"}, map[string]any{
		"access_token": 7, "token_type": []string{"Bearer"}, "refresh_token": map[string]any{}, "id_token": 7,
		"expires_in": "soon", "scope": 7,
	}))
}

func keySetFaults() map[string]fault {
	all := faults(jsonFaults(), memberFaults([]string{"keys"}, map[string]any{"keys": map[string]any{}}))
	all["too many keys"] = func(a *lyingReply) {
		a.JSON(func(m map[string]any) { m["keys"] = slices.Repeat(m["keys"].([]any), 101) })
	}
	return all
}

// requireInvalid demands the one error for an answer that failed a check, and
// nothing that a program would take for another kind.
func requireInvalid(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.NotErrorIs(t, err, oauthclient.ErrAccessDenied)
	require.NotErrorIs(t, err, errors.ErrUnsupported)
	var e *oauthclient.Error
	require.False(t, errors.As(err, &e), "it is no error of the server's own")
	require.Equal(t, 1, strings.Count(err.Error(), "invalid response"), "%v", err)
	require.NotContains(t, err.Error(), "secret-body")
}

func loginOnce(t *testing.T, h *hostile, flow oauthclient.Flow) (*oauthclient.Client, error) {
	c := newClient(t, h.cfg)
	_, err := c.Login(t.Context(), &oauthclient.LoginOptions{Flow: flow})
	return c, err
}

// Every malformed answer at a login is an ErrInvalidResponse, and nothing is
// stored.
func TestInvalidAnswersAtLogin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		endpoint string
		flow     oauthclient.Flow
		faults   map[string]fault
		change   func(h *hostile)
	}{
		"metadata": {endpoint: authserver.Metadata, faults: faults(jsonFaults(),
			memberFaults([]string{"issuer", "token_endpoint"}, map[string]any{
				"issuer": 7, "token_endpoint": []string{"x"}, "scopes_supported": "openid",
				"require_pushed_authorization_requests": "yes", "jwks_uri": 7,
			}))},
		"key set": {endpoint: authserver.JWKS, faults: keySetFaults()},
		"pushed authorization request": {endpoint: authserver.PAR, faults: faults(jsonFaults(),
			memberFaults([]string{"request_uri", "expires_in"}, map[string]any{"request_uri": 7, "expires_in": "soon"}))},
		"token": {endpoint: authserver.Token, faults: faults(tokenFaults(), memberFaults([]string{"id_token"}, nil))},
		"device authorization": {endpoint: authserver.Device, flow: oauthclient.FlowDevice, faults: faults(jsonFaults(),
			memberFaults([]string{"device_code", "user_code", "verification_uri", "expires_in"}, map[string]any{
				"device_code": 7, "user_code": 7, "verification_uri": 7, "expires_in": "soon", "interval": []int{5},
			}))},
		"registration": {endpoint: authserver.Registration, faults: faults(jsonFaults(),
			memberFaults([]string{"client_id"}, map[string]any{
				"client_id": 7, "redirect_uris": "x", "client_secret_expires_at": "never", "token_endpoint_auth_method": 7,
			})), change: func(h *hostile) {
			h.cfg.ClientID, h.cfg.Registration = "", &oauthclient.Registration{ClientName: "test"}
		}},
	} {
		for kind, bend := range tc.faults {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				h := newHostile(t, authserver.Config{OpenRegistration: true})
				h.approveDevices()
				if tc.change != nil {
					tc.change(h)
				}
				h.lie(tc.endpoint, func(_ heardRequest, a *lyingReply) { bend(a) })
				c, err := loginOnce(t, h, tc.flow)
				requireInvalid(t, err)
				h.requireNothingStored(t, c)
				require.LessOrEqual(t, len(h.got(tc.endpoint)), 3, "it is not asked again and again")

				if tc.flow == oauthclient.FlowAuto {
					h.lie(tc.endpoint, nil)
					_, err = loginOnce(t, h, tc.flow)
					require.NoError(t, err, "the good answer passes")
				}
			})
		}
	}
}

// approveDevices has every device code confirmed as soon as it is shown.
func (h *hostile) approveDevices() {
	h.cfg.UI.Instruct = func(_ context.Context, do oauthclient.Instructions) (string, error) {
		if do.UserCode == "" {
			return "", nil
		}
		return "", h.ApproveDevice(do.UserCode, "alice")
	}
}

// A malformed answer to the poll with a device code ends the login. All run at
// once, because each waits for the server's interval.
func TestInvalidAnswersToADevice(t *testing.T) {
	t.Parallel()
	kinds := faults(tokenFaults(), memberFaults([]string{"id_token"}, nil))
	kinds["good"] = func(*lyingReply) {}
	type outcome struct {
		h   *hostile
		c   *oauthclient.Client
		err error
	}
	outcomes := map[string]*outcome{}
	var logins sync.WaitGroup
	for kind, bend := range kinds {
		h := newHostile(t, authserver.Config{DeviceInterval: time.Second})
		h.approveDevices()
		h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
			if a.Status < 300 { // a code that is still pending is answered as it is
				bend(a)
			}
		})
		o := &outcome{h: h, c: newClient(t, h.cfg)}
		outcomes[kind] = o
		logins.Go(func() {
			_, o.err = o.c.Login(t.Context(), &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})
		})
	}
	logins.Wait()
	for kind, o := range outcomes {
		t.Run(kind, func(t *testing.T) {
			if kind == "good" {
				require.NoError(t, o.err)
				return
			}
			requireInvalid(t, o.err)
			o.h.requireNothingStored(t, o.c)
		})
	}
}

// The metadata of a resource that names the issuer are checked as the issuer's are.
func TestInvalidResourceMetadata(t *testing.T) {
	t.Parallel()
	for kind, bend := range faults(jsonFaults(), memberFaults([]string{"resource", "authorization_servers"}, map[string]any{
		"resource": 7, "authorization_servers": "x", "scopes_supported": "x", "bearer_methods_supported": 7,
	})) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{OpenRegistration: true})
			var api *httptest.Server
			api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := &recorder{header: http.Header{}}
				h.ResourceMetadata(authserver.Resource{URL: api.URL + "/mcp"}).ServeHTTP(rec, r)
				a := &lyingReply{rec.status, rec.header, rec.body}
				bend(a)
				maps.Copy(w.Header(), a.Header)
				w.Header().Del("Content-Length")
				w.WriteHeader(max(a.Status, 200))
				_, _ = w.Write(a.Body)
			}))
			t.Cleanup(api.Close)
			h.cfg.Issuer, h.cfg.Scopes, h.cfg.AllowPrivate = "", nil, true
			h.cfg.Resources = []string{api.URL + "/mcp"}
			c, err := loginOnce(t, h, oauthclient.FlowAuto)
			requireInvalid(t, err)
			h.requireNothingStored(t, c)
			require.Empty(t, h.got(authserver.Metadata))
		})
	}
}

// A malformed answer to a refresh ends neither the session nor its refresh token.
func TestInvalidAnswersAtRefresh(t *testing.T) {
	t.Parallel()
	for kind, bend := range tokenFaults() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{Rotation: authserver.RotateGrace})
			c, s := h.login(t)
			h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) { bend(a) })
			requireInvalid(t, s.Refresh(t.Context()))
			h.lie(authserver.Token, nil)
			_, err := c.Session(t.Context(), "")
			require.NoError(t, err)
			other, err := newClient(t, h.cfg).Session(t.Context(), "")
			require.NoError(t, err, "it is still stored")
			require.NoError(t, other.Refresh(t.Context()), "with a refresh token that works")
		})
	}
}

// A key set that cannot be used says nothing about a refreshed ID token. The token
// is stored and verified later, without another refresh.
func TestInvalidKeySetAtRefreshIsPassing(t *testing.T) {
	t.Parallel()
	unavailable := map[string]fault{
		"HTTP 500": func(a *lyingReply) { a.Status = 500 },
		"HTTP 404": func(a *lyingReply) { a.Status = 404 },
	}
	for kind, bend := range faults(keySetFaults(), unavailable) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{})
			_, s := h.login(t)
			first, _, err := s.IDToken(t.Context())
			require.NoError(t, err)
			refreshed := ""
			h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
				a.JSON(func(m map[string]any) { refreshed, _ = m["id_token"].(string) })
			})

			h.lie(authserver.JWKS, func(_ heardRequest, a *lyingReply) { bend(a) })
			s, err = newClient(t, h.cfg).Session(t.Context(), "") // another process, without keys
			require.NoError(t, err)
			err = s.Refresh(t.Context())
			if unavailable[kind] == nil {
				requireInvalid(t, err)
			} else {
				require.Error(t, err)
				require.NotErrorIs(t, err, oauthclient.ErrInvalidResponse)
				require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
			}
			sent := len(h.got(authserver.Token))

			h.lie(authserver.JWKS, nil)
			require.Eventually(t, func() bool { return s.Refresh(t.Context()) == nil },
				time.Minute, 100*time.Millisecond, "after a short pause")
			require.Len(t, h.got(authserver.Token), sent, "what came is verified now")
			second, _, err := s.IDToken(t.Context())
			require.NoError(t, err)
			require.NotEqual(t, first, second)
			require.Equal(t, refreshed, second)
		})
	}
}

// An ID token at a refresh that does not prove the session's user ends the session:
// nothing more is sent, and the next SessionOrLogin prompts.
func TestInvalidIDTokenAtRefreshIsFinal(t *testing.T) {
	t.Parallel()
	for kind, change := range map[string]func(h *hostile, t *testing.T, raw any) string{
		"another user": func(h *hostile, t *testing.T, raw any) string {
			c := claimsOf(t, raw)
			c["sub"] = "mallory"
			return h.key().Sign(c)
		},
		"no token": func(*hostile, *testing.T, any) string { return "x" },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{})
			c, s := h.login(t)
			var refused string
			h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
				a.JSON(func(m map[string]any) {
					refused = change(h, t, m["id_token"])
					m["id_token"] = refused
				})
			})
			err := s.Refresh(t.Context())
			require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
			require.ErrorIs(t, err, oauthclient.ErrSessionRefused)
			sent := len(h.got(authserver.Token))
			h.lie(authserver.Token, nil)
			require.ErrorIs(t, s.Refresh(t.Context()), oauthclient.ErrLoginRequired)
			require.Len(t, h.got(authserver.Token), sent, "it is not asked again")
			s, err = c.SessionOrLogin(t.Context(), nil)
			require.NoError(t, err)
			raw, _, err := s.IDToken(t.Context())
			require.NoError(t, err)
			require.NotEqual(t, refused, raw)
		})
	}
}

// S82: the access token beside an ID token that no key verifies is never handed out.
// The provider may be changing its keys, so the session goes on at first: for a minute
// nothing more is sent. An answer of no use in between changes nothing.
func TestS82UnsignedIDTokenAtRefresh(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	_, s := h.login(t)
	var forged string
	h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
		a.JSON(func(m map[string]any) {
			forged = m["access_token"].(string)
			c := claimsOf(t, m["id_token"])
			c["sub"] = "mallory"
			m["id_token"] = josetest.New(t, "ES256", h.key().ID).Sign(c)
		})
	})
	err := s.Refresh(t.Context())
	require.ErrorContains(t, err, "no key of the provider's verifies")
	require.NotErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	sent := len(h.got(authserver.Token))
	h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
		a.JSON(func(m map[string]any) { delete(m, "access_token") })
	})
	for range 30 {
		other, err := newClient(t, h.cfg).Session(t.Context(), "")
		require.NoError(t, err)
		for _, session := range []*oauthclient.Session{s, other} {
			if token, err := session.Token(t.Context()); err == nil {
				require.NotEqual(t, forged, token.AccessToken)
			}
			_ = session.Refresh(t.Context())
		}
	}
	require.Len(t, h.got(authserver.Token), sent)

	// Another user of the store, without a token yet, refreshes for a narrower one.
	narrow := s.For("", "email")
	require.Error(t, narrow.Refresh(t.Context()))
	for range 3 {
		other, err := newClient(t, h.cfg).Session(t.Context(), "")
		require.NoError(t, err)
		if token, err := other.Token(t.Context()); err == nil {
			require.NotEqual(t, forged, token.AccessToken, "after an answer without an access token (S59)")
		}
	}
}

// A malformed answer of userinfo or introspection is an error of that call alone.
func TestInvalidAnswersOfASession(t *testing.T) {
	t.Parallel()
	userinfo := func(t *testing.T, s *oauthclient.Session) error {
		var v map[string]any
		err := s.UserInfo(t.Context(), &v)
		require.Equal(t, err == nil, v != nil)
		return err
	}
	introspect := func(t *testing.T, s *oauthclient.Session) error {
		var v map[string]any
		return s.Introspect(t.Context(), &v)
	}
	for name, tc := range map[string]struct {
		endpoint string
		signed   bool
		faults   map[string]fault
		call     func(t *testing.T, s *oauthclient.Session) error
	}{
		"userinfo": {endpoint: authserver.Userinfo, call: userinfo, faults: faults(jsonFaults(),
			memberFaults([]string{"sub"}, map[string]any{"sub": 7}))},
		"signed userinfo": {endpoint: authserver.Userinfo, call: userinfo, signed: true, faults: signedFaults()},
		"introspection": {endpoint: authserver.Introspection, call: introspect, faults: faults(jsonFaults(),
			memberFaults([]string{"active"}, map[string]any{"active": "yes"}))},
	} {
		for kind, bend := range tc.faults {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				h := newHostile(t, authserver.Config{})
				sign := func(a *lyingReply) {
					if !tc.signed {
						return
					}
					var m map[string]any
					require.NoError(t, json.Unmarshal(a.Body, &m))
					m["iss"], m["aud"] = h.Issuer(), "cli"
					a.Header.Set("Content-Type", "application/jwt")
					a.Body = []byte(h.key().Sign(m))
				}
				c, s := h.login(t)
				h.lie(tc.endpoint, func(_ heardRequest, a *lyingReply) { sign(a) })
				require.NoError(t, tc.call(t, s), "the good answer passes")
				h.lie(tc.endpoint, func(_ heardRequest, a *lyingReply) {
					sign(a)
					bend(a)
				})
				requireInvalid(t, tc.call(t, s))
				_, err := s.Token(t.Context())
				require.NoError(t, err)
				_, err = c.Session(t.Context(), "")
				require.NoError(t, err)
			})
		}
	}
}

// signedFaults are those of an answer that is a JWT.
func signedFaults() map[string]fault {
	part := func(change func(p []string) []string) fault {
		return func(a *lyingReply) { a.Body = []byte(strings.Join(change(strings.Split(string(a.Body), ".")), ".")) }
	}
	return map[string]fault{
		"empty":        func(a *lyingReply) { a.Body = nil },
		"not a token":  func(a *lyingReply) { a.Body = []byte("secret-body") },
		"plain JSON":   func(a *lyingReply) { a.Body = []byte(`{"sub":"alice"}`) },
		"two parts":    part(func(p []string) []string { return p[:2] }),
		"five parts":   part(func(p []string) []string { return append(p, "", "") }),
		"no signature": part(func(p []string) []string { return []string{p[0], p[1], ""} }),
		"another payload": part(func(p []string) []string {
			return []string{p[0], "eyJzdWIiOiJhbGljZSJ9", p[2]}
		}),
		"alg none":  part(func(p []string) []string { return []string{"eyJhbGciOiJub25lIn0", p[1], p[2]} }),
		"truncated": func(a *lyingReply) { a.Body = a.Body[:len(a.Body)/2] },
		"too large": func(a *lyingReply) { a.Body = bytes.Repeat([]byte("x"), 1<<20+1) },
	}
}

// What a registered client, a session or a logout gets as an error is the server's
// own report, whatever its body holds.
func TestErrorAnswersAreTheServersOwn(t *testing.T) {
	t.Parallel()
	for endpoint, call := range map[string]func(t *testing.T, h *hostile, s *oauthclient.Session) error{
		authserver.PAR: func(t *testing.T, h *hostile, _ *oauthclient.Session) error {
			_, err := loginOnce(t, h, oauthclient.FlowAuto)
			return err
		},
		authserver.Device: func(t *testing.T, h *hostile, _ *oauthclient.Session) error {
			_, err := loginOnce(t, h, oauthclient.FlowDevice)
			return err
		},
		authserver.Registration: func(t *testing.T, h *hostile, _ *oauthclient.Session) error {
			h.cfg.ClientID, h.cfg.Registration = "", &oauthclient.Registration{ClientName: "test"}
			_, err := loginOnce(t, h, oauthclient.FlowAuto)
			return err
		},
		authserver.Token: func(t *testing.T, _ *hostile, s *oauthclient.Session) error { return s.Refresh(t.Context()) },
		authserver.Userinfo: func(t *testing.T, _ *hostile, s *oauthclient.Session) error {
			return s.UserInfo(t.Context(), &map[string]any{})
		},
		authserver.Introspection: func(t *testing.T, _ *hostile, s *oauthclient.Session) error {
			return s.Introspect(t.Context(), &map[string]any{})
		},
		authserver.Revocation: func(t *testing.T, h *hostile, _ *oauthclient.Session) error {
			return newClient(t, h.cfg).Logout(t.Context(), "", nil)
		},
	} {
		for kind, text := range map[string]string{
			"a page": "<html>secret-body</html>", "empty": "", "JSON of another type": "[]",
			"an error": `{"error":"invalid_request"}`, "an error of another type": `{"error":7}`,
			"an error twice": `{"error":"invalid_grant","error":"invalid_request"}`,
		} {
			t.Run(endpoint+"/"+kind, func(t *testing.T) {
				t.Parallel()
				h := newHostile(t, authserver.Config{OpenRegistration: true})
				h.cfg.UI.Instruct = func(context.Context, oauthclient.Instructions) (string, error) { return "", nil }
				_, s := h.login(t)
				h.lie(endpoint, func(_ heardRequest, a *lyingReply) {
					a.Status, a.Body = http.StatusBadRequest, []byte(text)
				})
				err := call(t, h, s)
				var e *oauthclient.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, http.StatusBadRequest, e.Status)
				require.NotErrorIs(t, err, oauthclient.ErrInvalidResponse)
				require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
				require.NotContains(t, err.Error(), "secret-body")
			})
		}
	}
}

// RFC 7009 §2.2: the body of a successful revocation is ignored, so none is
// malformed. One that cannot even be read leaves the revocation unconfirmed.
func TestInvalidAnswersOfRevocation(t *testing.T) {
	t.Parallel()
	for kind, bend := range jsonFaults() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{})
			c, _ := h.login(t)
			h.lie(authserver.Revocation, func(_ heardRequest, a *lyingReply) {
				a.Body = []byte("{}")
				bend(a)
			})
			err := c.Logout(t.Context(), "", nil)
			if kind == "too large" || kind == "compressed" {
				require.ErrorIs(t, err, oauthclient.ErrNotRevoked)
				require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
			} else {
				require.NoError(t, err)
			}
			h.requireNothingStored(t, c)
		})
	}
}
