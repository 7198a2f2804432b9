package authserver

import (
	"crypto/sha256"
	_ "embed" // the pages' style
	"encoding/base64"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed pages/style.css
var pagesCSS string

// submitScript is the only script, on the form_post page. It presses the
// button.
const submitScript = "document.forms[0].submit()"

// markup is HTML that is sent as it is. The pages are written by hand because
// html/template keeps the linker from dropping methods, which adds 2 MiB to a
// program with a demo.
type markup string

// fill puts args in the place of format's %s. It escapes text, not markup.
func fill(format string, args ...any) markup {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = markup(html.EscapeString(text))
		}
	}
	return markup(fmt.Sprintf(format, args...))
}

// when returns yes if ok, and nothing otherwise.
func when(ok bool, yes markup) markup {
	if !ok {
		return ""
	}
	return yes
}

// cspHash allows one inline style or script in a Content-Security-Policy.
func cspHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page returns a page that no other may frame, and that loads and runs nothing
// but script (S19). formAction limits the addresses that its forms may be sent
// to. Browsers check redirects against it too.
func (s *Server) page(status int, title, formAction string, content markup, script string) *reply {
	// The host tells the user which server this is.
	host := strings.TrimPrefix(strings.TrimPrefix(s.base, "https://"), "http://")
	page := fill(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>%s</title>
<style>%s</style>
</head>
<body>
<main>
%s%s</main>
<footer>%s · a sign-in server for tests and demonstrations. It asks for no password.</footer>
</body>
</html>
`, title, markup(pagesCSS), content,
		when(script != "", markup("<script>"+script+"</script>\n")), host)
	policy := "default-src 'none'; style-src " + cspHash(pagesCSS) +
		"; base-uri 'none'; frame-ancestors 'none'; form-action " + formAction
	if script != "" {
		policy += "; script-src " + cspHash(script)
	}
	return &reply{status, http.Header{
		"Content-Security-Policy": {policy},
		"Content-Type":            {"text/html; charset=utf-8"},
		// With no-referrer the form's Origin header would be null, and the
		// check of it blind.
		"Referrer-Policy": {"same-origin"},
		"X-Frame-Options": {"DENY"},
	}, []byte(page)}
}

// schemeOf returns what a policy says to let a form lead to uri. A policy can
// name the scheme of every URI, but not an IPv6 address.
func schemeOf(uri string) string {
	if u, err := url.Parse(uri); err == nil && u.Scheme != "" {
		return u.Scheme + ":"
	}
	return ""
}

// signIn is what the sign-in page shows.
type signIn struct {
	client  string
	user    string // the signed-in user; "" if the page has to ask for a name
	name    string // what the user typed before, or login_hint
	problem string
	code    string // the user code of the device flow; "" for none
	scopes  []string
	back    string // the host that the user is sent back to
}

// markup is the page's content. action is the address of its form, and
// interaction the id that the form carries.
func (p signIn) markup(action, interaction string) markup {
	heading, lead := "Sign in to "+p.client, "A program on your computer wants to sign you in."
	if p.user != "" {
		heading = "Allow " + p.client + "?"
	}
	if p.code != "" {
		lead = "A device wants to be signed in. " +
			"Allow it only if it shows this code, and you started it yourself."
	}
	user := fill(`<div class="who"><span>Signed in as <strong>%s</strong></span>`+
		`<button class="link" name="action" value="switch">Not you?</button></div>`, p.user)
	if p.user == "" {
		user = fill(`<label for="username">User name</label>
<input type="text" id="username" name="username" value="%s" maxlength="100" autocomplete="username"`+
			` autocapitalize="none" spellcheck="false" required autofocus%s>
`, p.name, invalid(p.problem))
	}
	initial := strings.ToUpper(string([]rune(p.client + "?")[:1])) // in place of a logo
	return fill(`<div class="mark" aria-hidden="true">%s</div>
<h1>%s</h1>
<p>%s</p>
%s%s<form method="post" action="%s" autocomplete="on">
<input type="hidden" name="interaction" value="%s">
%s%s
<div class="actions"><button name="action" value="allow">Allow</button>`+
		`<button class="plain" name="action" value="deny" formnovalidate>Deny</button></div>
</form>
%s`, initial, heading, lead,
		when(p.code != "", fill("<p class=\"shown\">%s</p>\n", p.code)), problem(p.problem),
		action, interaction, user, scopeList(p.scopes),
		when(p.back != "",
			fill("<p class=\"note\">Either way, you go back to the program at %s.</p>\n", p.back)))
}

// problem tells the user what was wrong with what they typed. invalid marks the
// field.
func problem(text string) markup {
	return when(text != "",
		fill("<p class=\"problem\" role=\"alert\" id=\"problem\">%s</p>\n", text))
}

func invalid(problem string) markup {
	return when(problem != "", ` aria-invalid="true" aria-describedby="problem"`)
}

// scopeText explains the standard scopes. An API's own are shown as they are.
func scopeText(scope string) string {
	switch scope {
	case "openid":
		return "Know who you are"
	case "profile":
		return "See your name and profile"
	case "email":
		return "See your email address"
	case "phone":
		return "See your phone number"
	case "address":
		return "See your postal address"
	case "offline_access":
		return "Stay signed in"
	}
	return ""
}

// scopeList lists what the client wants.
func scopeList(scopes []string) markup {
	var items markup
	for _, sc := range scopes {
		text := scopeText(sc)
		items += fill(`<li>%s<code>%s</code></li>`,
			when(text != "", fill(`<span>%s</span>`, text)), sc)
	}
	return when(items != "", fill(
		"<p class=\"head\" id=\"asks\">It asks to</p>\n<ul aria-labelledby=\"asks\">%s</ul>", items))
}

// signInPage shows the sign-in page, or the consent page if in has a session.
func (s *Server) signInPage(r *request, in *interaction) *reply {
	name := ""
	if in.request != nil {
		name = in.request.loginHint
	}
	return s.signInAgainPage(r, in, name, "")
}

// signInAgainPage shows the sign-in page after a problem; "" is none.
func (s *Server) signInAgainPage(r *request, in *interaction, name, problem string) *reply {
	data := signIn{name: name, problem: problem}
	var c *Client
	var scope []string
	action := "'self'"
	if in.device != nil {
		c, scope, data.code = in.device.client, in.device.scope, in.device.userCode
	} else {
		c, scope = in.request.client, in.request.scope
		// The response to the form redirects to the program.
		action += " " + schemeOf(in.request.redirectURI)
		if u, err := url.Parse(in.request.redirectURI); err == nil {
			data.back = u.Host
		}
	}
	data.client, data.scopes = c.title(), s.narrow(scope)
	if in.session != nil {
		data.user = in.session.user
	}
	status := http.StatusOK
	if problem != "" {
		status = http.StatusUnprocessableEntity
	}
	content := data.markup(s.URL("/decide"), s.remember(r, in))
	return s.page(status, "Sign in to "+data.client, action, content, "")
}

// logoutPage asks whether the user wants to sign out.
func (s *Server) logoutPage(r *request, in *interaction) *reply {
	content := fill(`<h1>Sign out?</h1>
<p>You are signed in here as <strong>%s</strong>.</p>
<form method="post" action="%s">
<input type="hidden" name="interaction" value="%s">
<div class="actions"><button name="action" value="allow">Sign out</button>`+
		`<button class="plain" name="action" value="deny">Stay</button></div>
</form>
`, in.session.user, s.URL("/decide"), s.remember(r, in))
	return s.page(http.StatusOK, "Sign out", "'self' "+schemeOf(in.logout.next), content, "")
}

// userCodePage asks for the code of the device flow. why says what was wrong
// with the last one, if there was one.
func (s *Server) userCodePage(status int, why string) *reply {
	return s.page(status, "Connect a device", "'self'", fill(`<h1>Connect a device</h1>
<p>Type the code that your device shows.</p>
%s<form method="get" action="%s">
<label for="user_code">Code</label>
<input class="code" type="text" id="user_code" name="user_code" maxlength="20" placeholder="XXXX-XXXX"`+
		` autocomplete="off" autocapitalize="characters" spellcheck="false" required autofocus%s>
<div class="actions"><button>Continue</button></div>
</form>
`, problem(why), s.URL("/device"), invalid(why)), "")
}

// formPostPage sends the authorization response to the program as a form that
// sends itself (OAuth 2.0 Form Post Response Mode).
func (s *Server) formPostPage(redirectURI string, params url.Values) *reply {
	var inputs markup
	for _, name := range slices.Sorted(maps.Keys(params)) {
		for _, value := range params[name] {
			inputs += fill("<input type=\"hidden\" name=\"%s\" value=\"%s\">\n", name, value)
		}
	}
	content := fill(`<h1>Back to the program</h1>
<p>If nothing happens, press the button.</p>
<form method="post" action="%s">
%s<div class="actions"><button>Continue</button></div>
</form>
`, redirectURI, inputs)
	return s.page(http.StatusOK, "Back to the program", schemeOf(redirectURI), content, submitScript)
}

// messagePage says one thing: something went well, or it did not.
func (s *Server) messagePage(status int, good bool, title, text string) *reply {
	class, sign := "bad", "!"
	if good {
		class, sign = "good", "✓"
	}
	return s.page(status, title, "'none'", fill(`<div class="mark %s" aria-hidden="true">%s</div>
<h1>%s</h1>
<p>%s</p>
`, class, sign, title, text), "")
}

// failurePage shows an error that must not be sent to the client, because the
// client or its redirect URI is not known to be good.
func (s *Server) failurePage(e *oauthError) *reply {
	return s.messagePage(e.status, false, "This link does not work", e.description)
}
