package oauthclient_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// One sign-in at the company stands for the chat server. Its tokens are for each
// resource, and nobody is prompted, and nothing stored.
func TestEnterpriseManagedAuthorization(t *testing.T) {
	inFirm(t, nil, func(t *testing.T, f *firm) {
		_, idp := f.signIn(t)
		_, s := f.open(t, idp)
		require.Equal(t, 1, f.browsers)
		account := s.Account()
		require.Equal(t, []any{firmChat, "alice@firm.example", "", false}, []any{account.Issuer, account.Username, account.Store, account.LoginRequired})

		resp, err := s.HTTPClient().Get(notesAPI)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		exchanges, grants := f.forms(firmIdP, byExchange), f.forms(firmChat, byAssert)
		require.Len(t, exchanges, 2, "SessionOrLogin's, and the one for the resource")
		require.Len(t, grants, 2)
		raw, _, err := idp.IDToken(t.Context())
		require.NoError(t, err)
		require.Equal(t, url.Values{
			"grant_type": {byExchange}, "requested_token_type": {"urn:ietf:params:oauth:token-type:id-jag"}, "client_id": {"cli"},
			"subject_token": {raw}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
			"audience": {firmChat}, "resource": {notesAPI}, "scope": {"read"},
		}, exchanges[1])
		require.Equal(t, []string{notesAPI}, grants[1]["resource"])

		var told struct {
			Sub string   `json:"sub"`
			Aud []string `json:"aud"`
		}
		require.NoError(t, s.For(mailAPI).Introspect(t.Context(), &told))
		require.Equal(t, "alice", told.Sub)
		require.Equal(t, []string{mailAPI}, told.Aud)
	})
}

// Near the end of a token nobody waits. The ID token has expired by then, and is
// refreshed at its issuer.
func TestEnterpriseTokensAreRenewedEarly(t *testing.T) {
	inFirm(t, nil, func(t *testing.T, f *firm) {
		_, idp := f.signIn(t)
		_, s := f.open(t, idp)
		first, err := s.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(4*time.Minute + 45*time.Second)
		began := time.Now()
		now, err := s.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, first.AccessToken, now.AccessToken)
		require.Zero(t, time.Since(began))
		synctest.Wait()
		second, err := s.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, first.AccessToken, second.AccessToken)

		require.Empty(t, f.forms(firmIdP, "refresh_token"), "the ID token is good for 15 seconds more")
		time.Sleep(time.Hour)
		third, err := s.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, second.AccessToken, third.AccessToken)
		require.Len(t, f.forms(firmIdP, "refresh_token"), 1)
		require.Len(t, f.forms(firmChat, byAssert), 3)
		require.Equal(t, 1, f.browsers)
	})
}

// If the ID token cannot be refreshed, the user signs in at the identity provider, and
// the session at the chat server goes on.
func TestEnterpriseLoginIsTheIdentityProviders(t *testing.T) {
	inFirm(t, nil, func(t *testing.T, f *firm) {
		f.cfg.Scopes = []string{"openid"}
		c, idp := f.signIn(t)
		chat, s := f.open(t, idp)
		time.Sleep(time.Hour)
		_, err := s.Token(t.Context())
		require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
		require.ErrorContains(t, err, firmIdP)
		_, err = chat.SessionOrLogin(t.Context(), nil)
		require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
		require.Equal(t, 1, f.browsers, "nobody was prompted")
		require.True(t, s.Account().LoginRequired)

		_, err = c.SessionOrLogin(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, 2, f.browsers)
		_, err = s.Token(t.Context())
		require.NoError(t, err)

		for _, stronger := range []oauthclient.LoginOptions{{MaxAge: time.Minute}, {ACRValues: []string{"mfa"}}} {
			_, err = chat.SessionOrLogin(t.Context(), &stronger)
			require.ErrorIs(t, err, oauthclient.ErrStepUp)
			require.ErrorContains(t, err, "Config.IdentityProvider; ask for it there")
			require.NotContains(t, err.Error(), "Config.Workload")
		}
		_, err = chat.Login(t.Context(), nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "Config.IdentityProvider")
		require.Equal(t, 2, f.browsers)
		require.ErrorIs(t, s.Claims(&struct{}{}), errors.ErrUnsupported)
		_, _, err = s.IDToken(t.Context())
		require.ErrorIs(t, err, errors.ErrUnsupported)
	})
}

// S132: the ID token goes to its own issuer and nowhere else, and the assertion to the
// one server that it is for.
func TestS132IDTokenGoesToItsIssuer(t *testing.T) {
	inFirm(t, nil, func(t *testing.T, f *firm) {
		_, idp := f.signIn(t)
		_, s := f.open(t, idp)
		time.Sleep(time.Hour)
		resp, err := s.HTTPClient().Get(notesAPI)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		raw, _, err := idp.IDToken(t.Context())
		require.NoError(t, err)
		payload := strings.Split(raw, ".")[1]
		atIssuer := 0
		for _, sent := range f.sent {
			if strings.Contains(sent.whole, payload) {
				require.Equal(t, firmIdP, sent.to)
				atIssuer++
			}
			if assertion := sent.form.Get("assertion"); assertion != "" {
				require.Equal(t, firmChat, sent.to)
			}
		}
		require.NotZero(t, atIssuer)

		f.chatCfg.Issuer, f.chatCfg.IdentityProvider = firmIdP, idp
		itself := newClient(t, f.chatCfg)
		exchanges := len(f.forms(firmIdP, byExchange))
		_, err = itself.SessionOrLogin(t.Context(), nil)
		require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
		require.Len(t, f.forms(firmIdP, byExchange), exchanges, "no assertion is for the identity provider itself")
	})
}

// S131: an assertion of another issuer or for another server is sent to nobody.
func TestS131EnterpriseAssertionIsForOneServer(t *testing.T) {
	for name, value := range map[string]any{
		"iss": "https://evil.example", "aud": []string{firmChat, "https://evil.example"},
	} {
		inFirm(t, nil, func(t *testing.T, f *firm) {
			_, idp := f.signIn(t)
			f.edit = func(claims map[string]any) { claims[name] = value }
			f.chatCfg.IdentityProvider = idp
			_, err := newClient(t, f.chatCfg).SessionOrLogin(t.Context(), nil)
			require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
			require.ErrorContains(t, err, name)
			require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
			require.Empty(t, f.forms(firmChat, byAssert))
			_, err = idp.Token(t.Context())
			require.NoError(t, err)
		})
	}
}

// S133: once the user has signed out at the identity provider, here or in another
// process, or another user has signed in there, no token of the chat server goes out.
func TestS133SignedOutAtTheIdentityProvider(t *testing.T) {
	inFirm(t, nil, func(t *testing.T, f *firm) {
		c, idp := f.signIn(t)
		_, s := f.open(t, idp)
		ended := s.Done()
		_ = c.Logout(t.Context(), "", nil)
		_, err := s.Token(t.Context())
		require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
		_, err = s.HTTPClient().Get(notesAPI)
		require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
		<-ended
		require.ErrorIs(t, s.Err(), oauthclient.ErrSignedOut)

		_, again := f.signIn(t)
		_, s = f.open(t, again)
		_, err = newClient(t, f.cfg).Login(t.Context(), &oauthclient.LoginOptions{LoginHint: "bob", ReplaceUser: true})
		require.NoError(t, err)
		_, err = s.Token(t.Context())
		require.NoError(t, err, "another process has not been noticed yet")
		time.Sleep(6 * time.Second)
		_, _ = s.Token(t.Context())
		synctest.Wait()
		_, err = s.Token(t.Context())
		require.ErrorIs(t, err, oauthclient.ErrAccountMismatch)
		require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	})
}

// S133: once the identity provider has ended the session, its ID token brings no other
// token, though it has not expired.
func TestS133EndedAtTheIdentityProvider(t *testing.T) {
	inFirm(t, func(f *firm) { f.idpConf.IDTokenLifetime = 24 * time.Hour }, func(t *testing.T, f *firm) {
		_, idp := f.signIn(t)
		_, s := f.open(t, idp)
		_, err := s.For(notesAPI).Token(t.Context())
		require.NoError(t, err)
		exchanges := len(f.forms(firmIdP, byExchange))
		calls := 0
		f.bend("https://93.184.216.36", "", func(w http.ResponseWriter, _ *http.Request) {
			calls++
			f.idp.Revoke() // while the request is under way
			if err := idp.Refresh(context.Background()); !errors.Is(err, oauthclient.ErrSessionRefused) {
				t.Errorf("the session goes on: %v", err)
			}
			answer(http.StatusUnauthorized, "text/plain", "")(w, nil)
		})
		resp, err := s.HTTPClient().Get(notesAPI)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		require.Equal(t, 1, calls)
		for range 3 {
			err = s.Refresh(t.Context())
			require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
			require.ErrorContains(t, err, firmIdP)
			_, err = s.Token(t.Context())
			require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
			time.Sleep(time.Minute)
		}
		require.Len(t, f.forms(firmIdP, byExchange), exchanges)
		require.True(t, s.Account().LoginRequired)
	})
}

// S134: a refused assertion, at either server, is no end of the session at the
// identity provider, and no reason to sign in.
func TestS134RefusedAssertion(t *testing.T) {
	for _, at := range []struct{ server, grant string }{{firmIdP, byExchange}, {firmChat, byAssert}} {
		inFirm(t, nil, func(t *testing.T, f *firm) {
			c, idp := f.signIn(t)
			_, s := f.open(t, idp)
			time.Sleep(time.Hour)
			f.bend(at.server, at.grant, answer(400, "application/json", `{"error":"invalid_grant","error_description":"the policy says no"}`))
			for range 20 {
				_, err := s.Token(t.Context())
				var refused *oauthclient.Error
				require.ErrorAs(t, err, &refused)
				require.Equal(t, "invalid_grant", refused.Code)
				require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
				require.NotContains(t, err.Error(), "sign in again")
				time.Sleep(10 * time.Second)
			}
			require.Less(t, len(f.forms(at.server, at.grant)), 12, "no storm of requests")
			require.Less(t, len(f.forms(firmIdP, "refresh_token")), 6)
			_, err := idp.Token(t.Context())
			require.NoError(t, err)
			stored, err := c.Session(t.Context(), "")
			require.NoError(t, err)
			require.False(t, stored.Account().LoginRequired)

			f.bend(at.server, at.grant, nil)
			time.Sleep(3 * time.Minute)
			_, err = s.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, f.browsers)
		})
	}
}

// If the identity provider refuses the ID token because it has ended the session, the
// user is told to sign in there.
func TestEnterpriseSessionEndedAtTheIdentityProvider(t *testing.T) {
	inFirm(t, func(f *firm) { f.idpConf.IDTokenLifetime = 24 * time.Hour }, func(t *testing.T, f *firm) {
		_, idp := f.signIn(t)
		_, s := f.open(t, idp)
		time.Sleep(time.Hour)
		f.idp.Revoke()
		f.bend(firmIdP, byExchange, answer(400, "application/json", `{"error":"invalid_grant"}`))
		_, err := s.Token(t.Context())
		require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
		require.ErrorContains(t, err, firmIdP)
		require.Len(t, f.forms(firmIdP, "refresh_token"), 1)
	})
}

// S135: an assertion is sent once. A request that is sent again, for a DPoP nonce, has
// an assertion of its own.
func TestS135AssertionIsSentOnce(t *testing.T) {
	prepare := func(f *firm) { f.chatConf.RequireDPoP, f.chatConf.DPoPNonce = true, true }
	inFirm(t, prepare, func(t *testing.T, f *firm) {
		f.chatCfg.DPoP = true
		_, idp := f.signIn(t)
		_, s := f.open(t, idp)
		for range 3 {
			require.NoError(t, s.Refresh(t.Context()))
			time.Sleep(time.Minute)
		}
		resp, err := s.HTTPClient().Get(notesAPI)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		seen := map[string]bool{}
		grants := f.forms(firmChat, byAssert)
		require.Greater(t, len(grants), 5, "the nonce was demanded at least once")
		for _, form := range grants {
			require.False(t, seen[form.Get("assertion")], "an assertion was sent twice")
			seen[form.Get("assertion")] = true
		}
	})
}

// S136: neither the log nor an error has an ID token, an assertion or an access token,
// whether the requests succeed or a server repeats in its refusal what it was sent.
func TestS136NoSecretInLogAndErrors(t *testing.T) {
	inFirm(t, nil, func(t *testing.T, f *firm) {
		_, idp := f.signIn(t)
		_, s := f.open(t, idp)
		said := ""
		for _, at := range []struct{ server, grant, name string }{
			{firmIdP, byExchange, "subject_token"}, {firmChat, byAssert, "assertion"},
		} {
			f.bend(at.server, at.grant, func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				echo := r.PostForm.Get(at.name)
				answer(400, "application/json", `{"error":"invalid_grant","error_description":"got `+echo+`"}`)(w, r)
			})
			err := s.Refresh(t.Context())
			require.Error(t, err)
			said += err.Error()
			f.bend(at.server, at.grant, nil)
			time.Sleep(5 * time.Minute)
		}
		token, err := s.Token(t.Context())
		require.NoError(t, err)
		said += f.log.String()
		require.Contains(t, said, "invalid_grant")
		secrets := []string{token.AccessToken}
		for _, sent := range f.sent {
			secrets = append(secrets, sent.form.Get("subject_token"), sent.form.Get("assertion"), sent.form.Get("refresh_token"))
		}
		found := 0
		for _, secret := range secrets {
			if secret != "" {
				found++
				require.NotContains(t, said, secret[max(0, len(secret)-12):])
			}
		}
		require.Greater(t, found, 6)
	})
}

func TestEnterpriseLogout(t *testing.T) {
	inFirm(t, nil, func(t *testing.T, f *firm) {
		_, idp := f.signIn(t)
		chat, s := f.open(t, idp)
		before, err := s.Token(t.Context())
		require.NoError(t, err)
		require.NoError(t, chat.Logout(t.Context(), "", nil))
		require.False(t, f.chat.Active(before.AccessToken))
		_, err = idp.Token(t.Context())
		require.NoError(t, err, "the session at the identity provider goes on")
	})
}

func TestIdentityProviderIsChecked(t *testing.T) {
	inFirm(t, nil, func(t *testing.T, f *firm) {
		_, idp := f.signIn(t)
		_, s := f.open(t, idp)
		for what, change := range map[string]func(*oauthclient.Config){
			"Config.Workload":         func(c *oauthclient.Config) { c.Workload = &oauthclient.Workload{} },
			"the zero Session":        func(c *oauthclient.Config) { c.IdentityProvider = &oauthclient.Session{} },
			"no session of a user":    func(c *oauthclient.Config) { c.IdentityProvider = s },
			"Config.ClientID":         func(c *oauthclient.Config) { c.ClientID, c.Registration = "", &oauthclient.Registration{} },
			"Config.IdentityProvider": func(c *oauthclient.Config) { c.IdentityProvider = new(oauthclient.Session) },
		} {
			cfg := f.chatCfg
			change(&cfg)
			_, err := oauthclient.New(cfg)
			require.ErrorContains(t, err, what)
		}
		f.cfg.Scopes = []string{"offline_access"}
		f.cfg.Store = &tokenstore.Memory{}
		_, without := f.signIn(t)
		f.chatCfg.IdentityProvider = without
		_, err := newClient(t, f.chatCfg).SessionOrLogin(t.Context(), nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "openid")
	})
}
