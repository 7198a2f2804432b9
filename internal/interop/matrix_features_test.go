package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"golang.org/x/oauth2"
)

// features are the rows of the matrix. A function returns nil if the feature
// works. It returns a note, or the SDK's errors.ErrUnsupported, if the provider
// lacks the feature. Any other error is a failure.
var features = []struct {
	name  string
	check func(m *matrix) error
}{
	{"code and PKCE", func(m *matrix) error {
		return first(m.signIn(nil), m.sent("code_challenge_method", "S256"), m.sent("code_verifier", ""))
	}},
	{"a wrong PKCE verifier is refused", func(m *matrix) error {
		m.change = func(form url.Values) {
			if form.Has("code_verifier") {
				form.Set("code_verifier", oauth2.GenerateVerifier())
			}
		}
		err := m.signIn(nil)
		if err == nil {
			return errors.New("tokens came for it")
		}
		switch refusal := refusal(err, "token"); {
		case refusal == nil:
			return err
		case refusal.Code != "invalid_grant":
			return passes("with " + refusal.Code + ", where RFC 7636 says invalid_grant")
		}
		return nil
	}},
	{"any loopback port", func(m *matrix) error {
		if m.port != 0 {
			m.port = 0
			err := m.signIn(nil)
			if err == nil || len(m.user.Answers()) > 0 {
				return errors.New("it takes any port after all")
			}
			return lacks("it compares the port with the registered one; Loopback.Addr names that, and so do the other rows")
		}
		return first(m.signIn(nil), func() error { return m.signIn(nil) })
	}},
	{"IPv6 loopback", func(m *matrix) error {
		return m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) {
			c.Loopback.Addr = net.JoinHostPort("::1", strconv.Itoa(m.port))
		})
	}},
	{"refresh", func(m *matrix) error {
		var before, after *oauth2.Token
		return first(m.signIn(nil), m.token(&before), m.refresh, m.token(&after), func() error {
			if after.AccessToken == before.AccessToken {
				return errors.New("the token is the same")
			}
			return nil
		})
	}},
	{"rotation", func(m *matrix) error {
		return first(m.signIn(nil), m.refresh, m.refresh, func() error {
			if !m.rotated() {
				return lacks("the refresh token stays")
			}
			return nil
		})
	}},
	{"reuse detection", func(m *matrix) error {
		if err := first(m.signIn(nil), m.refresh, m.refresh); err != nil {
			return err
		}
		if !m.rotated() {
			return lacks("the refresh token stays, and so none is a used one")
		}
		if err := m.replay(); err != nil {
			return err
		}
		err := m.refresh()
		switch {
		case err == nil && m.strict:
			return lacks("a used token that comes back without the session's key is refused before it counts as reuse, and the session goes on")
		case err == nil:
			return lacks("the session goes on after a used refresh token was presented again")
		}
		return m.ends(err)
	}},
	{"a refresh token that is not good", func(m *matrix) error {
		m.change = func(form url.Values) {
			if form.Get("grant_type") == "refresh_token" {
				form.Set("refresh_token", "no-such-token")
			}
		}
		if err := m.signIn(nil); err != nil {
			return err
		}
		return m.ends(m.refresh())
	}},
	{"device flow", func(m *matrix) error {
		err := m.signIn(func(c *oauthclient.Config, o *oauthclient.LoginOptions) {
			o.Flow = oauthclient.FlowDevice
			c.UI.Instruct = func(ctx context.Context, do oauthclient.Instructions) (string, error) {
				return "", m.user.SignIn(ctx, do.VerificationURIComplete)
			}
		})
		if refusal := refusal(err, "device_authorization"); refusal != nil && refusal.Code == "unauthorized_client" {
			return lacks("its example storage lets no native client use the endpoint that its metadata name")
		}
		return first(err, m.refresh)
	}},
	{"PAR", func(m *matrix) error {
		return m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) { c.RequirePAR = true })
	}},
	{"DPoP", func(m *matrix) error {
		err := m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) { c.DPoP = true })
		if m.metadata.DPoPSigningAlgValuesSupported == nil && errors.Is(err, errors.ErrUnsupported) {
			return lacks("its metadata do not offer it, so that the login fails before the user is prompted")
		}
		var token *oauth2.Token
		return first(err, m.refresh, m.userinfo, m.token(&token), func() error {
			if token.TokenType != "DPoP" {
				return errors.New("the tokens are " + token.TokenType)
			}
			return nil
		})
	}},
	{"revocation", func(m *matrix) error {
		var before *oauth2.Token
		err := first(m.signIn(m.nameRevocation), m.token(&before), func() error { return m.client.Logout(m.ctx, "", nil) })
		if errors.Is(err, oauthclient.ErrNotRevoked) && refusesUs(err, "revocation") {
			return lacks("it refuses public clients; the session is gone here, and Logout says so (ErrNotRevoked)")
		}
		return first(err, func() error {
			if status := m.bearer(before.AccessToken); status != http.StatusUnauthorized && status != http.StatusForbidden {
				return fmt.Errorf("the revoked token still works: %d", status)
			}
			if m.revocation != "" {
				return passes("its metadata do not name the endpoint, and Config.Endpoints does")
			}
			return nil
		})
	}},
	{"introspection", func(m *matrix) error {
		var answer struct {
			Active bool `json:"active"`
		}
		err := first(m.signIn(nil), func() error { return m.session.Introspect(m.ctx, &answer) })
		if refusesUs(err, "introspection") {
			return lacks("it refuses public clients")
		}
		if err == nil && !answer.Active {
			return errors.New("the token is not active")
		}
		return err
	}},
	{"userinfo", func(m *matrix) error { return first(m.signIn(nil), m.userinfo) }},
	{"end session", func(m *matrix) error {
		if m.metadata.EndSessionEndpoint == "" {
			return lacks("")
		}
		logout := func() error {
			m.user.Leave(true)
			defer m.user.Leave(false)
			err := m.client.Logout(m.ctx, "", &oauthclient.LogoutOptions{EndSession: true, IDTokenHint: m.hint})
			m.wait.Wait() // until the user has signed out
			if errors.Is(err, oauthclient.ErrNotRevoked) && (refusesUs(err, "revocation") || m.metadata.RevocationEndpoint == "") {
				return nil // another row checks this, and the next sign-in whether the session ended
			}
			return err
		}
		if err := first(m.signIn(nil), logout); err != nil {
			return err
		}
		typed := m.user.Typed()
		err := m.signIn(func(_ *oauthclient.Config, o *oauthclient.LoginOptions) { o.Prompt = "none" })
		switch {
		case errors.Is(err, oauthclient.ErrLoginRequired):
			return nil
		case err != nil:
			return err
		case m.user.Typed() == typed || m.ending == "":
			return errors.New("the provider still knows the user")
		}
		return passes(m.ending)
	}},
	{"iss in the answer", func(m *matrix) error {
		if err := m.signIn(nil); err != nil {
			return err
		}
		promised := m.metadata.AuthorizationResponseIssParameterSupported
		switch iss := m.user.Answers()[0].Get("iss"); {
		case iss == "" && !promised:
			return lacks("")
		case iss != m.issuer:
			return errors.New("iss is " + iss)
		case !promised:
			return passes("its metadata do not promise it, so that only a wrong one is refused, and not a missing one")
		}
		return nil
	}},
	{"max_age", func(m *matrix) error {
		err := m.signIn(func(_ *oauthclient.Config, o *oauthclient.LoginOptions) { o.MaxAge = -1 })
		return m.asked(err)
	}},
	{"step-up, max_age", func(m *matrix) error {
		var before, after claims
		err := m.signIn(func(_ *oauthclient.Config, o *oauthclient.LoginOptions) { o.MaxAge = time.Hour })
		return first(m.asked(err), m.claims(&before), func() error {
			time.Sleep(2100 * time.Millisecond)
			return m.stepUp(`max_age="1"`)
		}, m.claims(&after), m.sent("max_age", "1"), func() error {
			if after.AuthTime <= before.AuthTime {
				return lacks("it takes no notice of max_age: this sign-in, a few seconds old, passes because the SDK allows a minute for clocks")
			}
			return nil
		})
	}},
	{"step-up, acr_values", func(m *matrix) error {
		var before, after claims
		err := first(m.signIn(nil), m.claims(&before), func() error { return m.stepUp(`acr_values="` + twoFactors + `"`) })
		if errors.Is(err, oauthclient.ErrStepUp) && !slices.Contains(m.metadata.ACRValuesSupported, twoFactors) {
			if before.ACR != "" {
				return lacks("its ID tokens say " + before.ACR + " whatever is asked for, and the step up is refused")
			}
			return lacks("its ID tokens have no acr, and the step up is refused")
		}
		return first(err, m.sent("acr_values", twoFactors), m.claims(&after), func() error {
			if before.ACR == twoFactors || after.ACR != twoFactors {
				return fmt.Errorf("acr was %q and is %q", before.ACR, after.ACR)
			}
			return nil
		})
	}},
	{"dynamic registration", func(m *matrix) error {
		err := m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) {
			c.ClientID, c.Registration = "", &oauthclient.Registration{ClientName: "Interop"}
		})
		if refusal := refusal(err, "registration"); refusal != nil && strings.Contains(refusal.Description, "grant_types") {
			return lacks("its metadata name the device grant, and its registration refuses that name")
		}
		if m.late {
			if err == nil || len(m.user.Requests()) == 0 || len(m.user.Answers()) > 0 {
				return fmt.Errorf("it knows the client at once after all: %w", err)
			}
			return lacks("it registers the client, and knows it only when it reads its configuration again, up to ten minutes later")
		}
		return first(err, m.refresh)
	}},
	{"form_post", func(m *matrix) error {
		var more struct {
			Modes []string `json:"response_modes_supported"`
		}
		if err := m.metadata.Claims(&more); err != nil {
			return err
		}
		if !slices.Contains(more.Modes, "form_post") {
			return lacks("")
		}
		return first(m.signIn(func(c *oauthclient.Config, _ *oauthclient.LoginOptions) { c.Loopback.FormPost = true }), m.sent("response_mode", "form_post"))
	}},
	{"inspect", (*matrix).inspect},
	{"ui_locales, login_hint, id_token_hint", func(m *matrix) error {
		if err := m.signIn(nil); err != nil {
			return err
		}
		raw, _, err := m.session.IDToken(m.ctx)
		if err != nil {
			return err
		}
		return first(m.signIn(func(_ *oauthclient.Config, o *oauthclient.LoginOptions) {
			o.LoginHint, o.AuthParams = m.user.Name, url.Values{"ui_locales": {"de en"}, "id_token_hint": {raw}}
		}), m.sent("ui_locales", "de en"), m.sent("id_token_hint", raw), m.sent("login_hint", m.user.Name))
	}},
}
