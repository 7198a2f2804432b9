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

// submitScript is the one script, of the form_post page: it presses the button.
const submitScript = "document.forms[0].submit()"

// markup is HTML that may be sent as it is. The pages are put together by hand: html/template keeps the linker from dropping methods, which
// adds 2 MiB to a program that shows a demonstration.
type markup string

// fill puts args in the place of format's %s. Text is escaped, markup is not.
func fill(format string, args ...any) markup {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = markup(html.EscapeString(text))
		}
	}
	return markup(fmt.Sprintf(format, args...))
}

// where is yes where ok holds, else nothing.
func where(ok bool, yes markup) markup {
	if !ok {
		return ""
	}
	return yes
}

func cspHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// show writes a page that no other may frame, and that loads and runs nothing but script (S19). formAction is where its forms lead, redirects
// included: browsers check these as well.
func (s *Server) show(w http.ResponseWriter, status int, title, formAction string, content markup, script string) {
	host := strings.TrimPrefix(strings.TrimPrefix(s.base, "https://"), "http://") // so that a person sees whom they are talking to
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
`, title, markup(pagesCSS), content, where(script != "", markup("<script>"+script+"</script>\n")), host)
	policy := fmt.Sprintf("default-src 'none'; style-src %s; base-uri 'none'; frame-ancestors 'none'; form-action %s", cspHash(pagesCSS), formAction)
	if script != "" {
		policy += "; script-src " + cspHash(script)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin") // without one, the form's Origin would be null and its check blind
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(page))
}

// signInPage is what the sign-in page shows.
type signInPage struct {
	Client      string
	Initial     string // of the client's name, in place of a logo
	Action      string
	Interaction string
	User        string // who is signed in already; "": asked for
	Name        string // typed before, or from login_hint
	Problem     string
	UserCode    string // of the device flow; "": none
	Scopes      []scopeText
	Return      string // host that the person is sent back to
}

func (p signInPage) markup() markup {
	heading, lead := "Sign in to "+p.Client, "A program on your computer wants to sign you in."
	if p.User != "" {
		heading = "Allow " + p.Client + "?"
	}
	if p.UserCode != "" {
		lead = "A device wants to be signed in. Allow it only if it shows this code, and you started it yourself."
	}
	who := fill(`<div class="who"><span>Signed in as <strong>%s</strong></span><button class="link" name="action" value="switch">Not you?</button></div>`, p.User)
	if p.User == "" {
		who = fill(`<label for="username">User name</label>
<input type="text" id="username" name="username" value="%s" maxlength="100" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus%s>
`, p.Name, invalid(p.Problem))
	}
	return fill(`<div class="mark" aria-hidden="true">%s</div>
<h1>%s</h1>
<p>%s</p>
%s%s<form method="post" action="%s" autocomplete="on">
<input type="hidden" name="interaction" value="%s">
%s%s
<div class="actions"><button name="action" value="allow">Allow</button><button class="plain" name="action" value="deny" formnovalidate>Deny</button></div>
</form>
%s`, p.Initial, heading, lead,
		where(p.UserCode != "", fill("<p class=\"shown\">%s</p>\n", p.UserCode)), problem(p.Problem),
		p.Action, p.Interaction, who, asks(p.Scopes),
		where(p.Return != "", fill("<p class=\"note\">Either way, you go back to the program at %s.</p>\n", p.Return)))
}

// problem is what was wrong with what was typed, and invalid marks the field that it was typed in.
func problem(text string) markup {
	return where(text != "", fill("<p class=\"problem\" role=\"alert\" id=\"problem\">%s</p>\n", text))
}

func invalid(problem string) markup {
	return where(problem != "", ` aria-invalid="true" aria-describedby="problem"`)
}

type scopeText struct{ Scope, Text string }

// asks lists what the client asks for.
func asks(scopes []scopeText) markup {
	var items markup
	for _, sc := range scopes {
		items += fill(`<li>%s<code>%s</code></li>`, where(sc.Text != "", fill(`<span>%s</span>`, sc.Text)), sc.Scope)
	}
	return where(items != "", fill("<p class=\"head\" id=\"asks\">It asks to</p>\n<ul aria-labelledby=\"asks\">%s</ul>", items))
}

// describe puts scopes into words; those of the API's own are shown as they are.
func describe(scopes []string) []scopeText {
	var out []scopeText
	for _, sc := range scopes {
		text := ""
		switch sc {
		case "openid":
			text = "Know who you are"
		case "profile":
			text = "See your name and profile"
		case "email":
			text = "See your email address"
		case "phone":
			text = "See your phone number"
		case "address":
			text = "See your postal address"
		case "offline_access":
			text = "Stay signed in"
		}
		out = append(out, scopeText{sc, text})
	}
	return out
}

func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request, in *interaction) {
	name := ""
	if in.request != nil {
		name = in.request.loginHint
	}
	s.showSignInAgain(w, r, in, name, "")
}

func (s *Server) showSignInAgain(w http.ResponseWriter, r *http.Request, in *interaction, name, problem string) {
	data := signInPage{Action: s.URL("/decide"), Name: name, Problem: problem}
	formAction := "'self'"
	var c *Client
	var scope []string
	if in.device != nil {
		c, scope, data.UserCode = in.device.client, in.device.scope, in.device.userCode
	} else {
		c, scope = in.request.client, in.request.scope
		if u, err := url.Parse(in.request.redirectURI); err == nil {
			data.Return = u.Host
			// The answer to the form redirects to the program. An IPv6 address cannot be named in a policy, a scheme can.
			formAction += " " + u.Scheme + ":"
		}
	}
	data.Client, data.Scopes = c.title(), describe(s.narrow(scope))
	data.Initial = strings.ToUpper(string(slices.Concat([]rune(data.Client), []rune("?"))[0]))
	if in.session != nil {
		data.User = in.session.user
	}
	data.Interaction = s.ask(w, r, in)
	status := http.StatusOK
	if problem != "" {
		status = http.StatusUnprocessableEntity
	}
	s.show(w, status, "Sign in to "+data.Client, formAction, data.markup(), "")
}

func (s *Server) showLogout(w http.ResponseWriter, r *http.Request, in *interaction) {
	formAction := "'self'"
	if u, err := url.Parse(in.logout.next); err == nil && u.Scheme != "" {
		formAction += " " + u.Scheme + ":"
	}
	s.show(w, http.StatusOK, "Sign out", formAction, fill(`<h1>Sign out?</h1>
<p>You are signed in here as <strong>%s</strong>.</p>
<form method="post" action="%s">
<input type="hidden" name="interaction" value="%s">
<div class="actions"><button name="action" value="allow">Sign out</button><button class="plain" name="action" value="deny">Stay</button></div>
</form>
`, in.session.user, s.URL("/decide"), s.ask(w, r, in)), "")
}

func (s *Server) showUserCode(w http.ResponseWriter, status int, why string) {
	s.show(w, status, "Connect a device", "'self'", fill(`<h1>Connect a device</h1>
<p>Type the code that your device shows.</p>
%s<form method="get" action="%s">
<label for="user_code">Code</label>
<input class="code" type="text" id="user_code" name="user_code" maxlength="20" placeholder="XXXX-XXXX" autocomplete="off" autocapitalize="characters" spellcheck="false" required autofocus%s>
<div class="actions"><button>Continue</button></div>
</form>
`, problem(why), s.URL("/device"), invalid(why)), "")
}

func (s *Server) showFormPost(w http.ResponseWriter, redirectURI string, params url.Values) {
	scheme := "'none'"
	if u, err := url.Parse(redirectURI); err == nil && u.Scheme != "" {
		scheme = u.Scheme + ":"
	}
	var inputs markup
	for _, name := range slices.Sorted(maps.Keys(params)) {
		for _, value := range params[name] {
			inputs += fill("<input type=\"hidden\" name=\"%s\" value=\"%s\">\n", name, value)
		}
	}
	s.show(w, http.StatusOK, "Back to the program", scheme, fill(`<h1>Back to the program</h1>
<p>If nothing happens, press the button.</p>
<form method="post" action="%s">
%s<div class="actions"><button>Continue</button></div>
</form>
`, redirectURI, inputs), submitScript)
}

// message is a page that says one thing.
type message struct {
	Good        bool
	Title, Text string
}

func (s *Server) showMessage(w http.ResponseWriter, status int, m message) {
	class, sign := "bad", "!"
	if m.Good {
		class, sign = "good", "✓"
	}
	s.show(w, status, m.Title, "'none'", fill(`<div class="mark %s" aria-hidden="true">%s</div>
<h1>%s</h1>
<p>%s</p>
`, class, sign, m.Title, m.Text), "")
}

func (s *Server) showFailure(w http.ResponseWriter, why string) {
	s.showMessage(w, http.StatusBadRequest, message{Title: "This link does not work", Text: why})
}
