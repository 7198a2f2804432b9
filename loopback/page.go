package loopback

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Page adapts the page that the user sees after a sign-in. The zero Page is
// complete, but does not name the program. Every text is plain: markup in it is
// escaped.
type Page struct {
	// AppName is the program's name, as the user knows it. At most 60
	// characters are shown. If empty, the page says "the app".
	AppName string
	// Logo is a PNG, JPEG, GIF, WebP or SVG of at most 256 KiB. If empty, there
	// is none. An SVG cannot run a script on the page.
	Logo []byte
	// Accent is a CSS colour, #rgb or #rrggbb. If empty, it is a blue.
	Accent string
	// SignedIn and Failed replace the sentence that says what to do next, in
	// every language. "{app}" and "{user}" in them stand for the names. If
	// empty, it is "You can close this window …" or the like.
	SignedIn, Failed string
	// Texts replace SignedIn and Failed in single languages. The key is one of
	// "en", "ar", "de", "es", "fr", "he", "ja", "ko", "pt", "zh-Hans" and
	// "zh-Hant", the languages of the pages.
	Texts map[string]Texts
}

// Texts are the texts of a [Page] in one language. What is empty is as in the Page.
type Texts struct{ SignedIn, Failed string }

// nextFor returns the program's text for a page, or "".
func (p *Page) nextFor(lang string, kind pageKind) string {
	own := p.Texts[lang]
	switch kind {
	case pageDone:
		return cmp.Or(own.SignedIn, p.SignedIn)
	case pageFailed:
		return cmp.Or(own.Failed, p.Failed)
	}
	return ""
}

const maxLogo = 256 << 10 // bytes

// The template of every page. html/template would add 2.5 MiB to a program,
// because it keeps the linker from dropping methods. So render fills the slots
// itself. That is safe because each slot is text or a quoted attribute, and each
// value goes through html.EscapeString.
var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
)

type pageKind int

const (
	pageDone    pageKind = iota // signed in
	pageDenied                  // the user refused at the provider
	pageOther                   // another user signed in than the program expects
	pageFailed                  // any other failure
	pageOut                     // signed out
	pageWaiting                 // the tokens are still being requested
	pageUsed                    // the ticket, or a response, for the second time
	pageRefused                 // a request that was not accepted
	pageStray                   // an error without the state
)

// pageContent is what one page says.
type pageContent struct {
	kind   pageKind
	user   string // for pageDone; may be empty
	reload string // for pageWaiting: the path to load again
}

// theme is a checked Page with what is the same on every page.
type theme struct {
	page   Page
	style  string // page.css with the accent
	logo   string // markup
	policy string // the Content-Security-Policy that allows style by its hash
}

// bareCSP is the Content-Security-Policy of a response without style or logo.
// frame-ancestors stops clickjacking. There is no script-src in any policy, so
// an injected script would not run even if escaping failed.
const bareCSP = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func newTheme(p Page) (*theme, error) {
	accent := p.Accent
	if accent == "" {
		accent = "#2f6fed"
	}
	if !isColour(accent) {
		return nil, errors.New("loopback: Page.Accent is not a colour like #2f6fed or #26e")
	}
	for lang := range p.Texts {
		if !slices.ContainsFunc(languages[:], func(t texts) bool { return t.lang == lang }) {
			return nil, fmt.Errorf("loopback: Page.Texts: there are no pages in the language %q", lang)
		}
	}
	p.AppName = wire.SafeText(p.AppName, 60)
	th := &theme{page: p, style: strings.Replace(pageCSS, "#2f6fed", accent, 1), policy: bareCSP}
	// A hash allows this one style; 'unsafe-inline' would allow an injected one.
	sum := sha256.Sum256([]byte(th.style))
	th.policy += "; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if len(p.Logo) > 0 {
		mt, err := imageType(p.Logo)
		if err != nil {
			return nil, err
		}
		th.logo = `<img class="logo" alt="" src="data:` + mt + ";base64," +
			base64.StdEncoding.EncodeToString(p.Logo) + `">`
		th.policy += "; img-src data:"
	}
	return th, nil
}

// isColour is strict because the accent becomes part of a style sheet, which
// could load other sites.
func isColour(s string) bool {
	if len(s) != 4 && len(s) != 7 || s[0] != '#' {
		return false
	}
	return !strings.ContainsFunc(s[1:], func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F')
	})
}

// imageType returns the media type of an image, by its first bytes. It allows
// SVG because an SVG in an img element runs no script and loads nothing.
func imageType(b []byte) (string, error) {
	if len(b) > maxLogo {
		return "", errors.New("loopback: Page.Logo is larger than 256 KiB")
	}
	switch mt := http.DetectContentType(b); mt {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return mt, nil
	}
	if bytes.Contains(b[:min(len(b), 1024)], []byte("<svg")) {
		return "image/svg+xml", nil
	}
	return "", errors.New("loopback: Page.Logo is not a PNG, JPEG, GIF, WebP or SVG")
}

// icons are SVG paths in a box of 24 × 24, which page.css strokes.
var icons = [...]string{
	pageDone:    `<path pathLength="1" d="M6.5 12.5l3.6 3.6 7.4-8"/>`,
	pageDenied:  `<path pathLength="1" d="M7 12h10"/>`,
	pageOther:   `<path pathLength="1" d="M12 6.5v7"/><path pathLength="1" d="M12 17.2v.1"/>`,
	pageFailed:  `<path pathLength="1" d="M12 6.5v7"/><path pathLength="1" d="M12 17.2v.1"/>`,
	pageOut:     `<path pathLength="1" d="M6.5 12.5l3.6 3.6 7.4-8"/>`,
	pageWaiting: `<path pathLength="1" d="M12 7v5.2l3.2 2"/>`,
	pageUsed:    `<path pathLength="1" d="M12 6.5v7"/><path pathLength="1" d="M12 17.2v.1"/>`,
	pageRefused: `<path pathLength="1" d="M12 6.5v7"/><path pathLength="1" d="M12 17.2v.1"/>`,
	pageStray:   `<path pathLength="1" d="M12 6.5v7"/><path pathLength="1" d="M12 17.2v.1"/>`,
}

// bodyClasses are the classes of page.css, by kind of page.
var bodyClasses = [...]string{
	pageDone:    "good",
	pageDenied:  "calm",
	pageOther:   "calm",
	pageFailed:  "bad",
	pageOut:     "good",
	pageWaiting: "calm wait",
	pageUsed:    "calm",
	pageRefused: "calm",
	pageStray:   "calm",
}

// render writes a page in the language that accept, an Accept-Language header,
// prefers.
func (th *theme) render(b *bytes.Buffer, accept string, content pageContent) {
	t := textsFor(accept)
	m := t.page[content.kind]
	app, user := th.page.AppName, wire.SafeText(content.user, 80)
	next := cmp.Or(th.page.nextFor(t.lang, content.kind), m.next)
	said := m.said
	if content.kind == pageDone && user != "" {
		said = t.doneAs
	}
	title, refresh := m.title, ""
	if app != "" {
		title += " · " + app
	}
	if content.reload != "" {
		// Without a URL the browser would load its own, which has a fragment: it
		// would scroll instead of reload.
		refresh = `<meta http-equiv="refresh" content="1; url=` +
			html.EscapeString(content.reload) + `">`
	}
	brand := ""
	if th.logo != "" || app != "" {
		brand = `<header class="brand">` + th.logo +
			`<span>` + html.EscapeString(app) + `</span></header>`
	}
	fill := func(s string) string {
		name := html.EscapeString(t.app)
		if app != "" {
			name = isolated(app)
		}
		names := strings.NewReplacer("{app}", name, "{user}", isolated(user))
		return names.Replace(html.EscapeString(s))
	}
	// One pass: a slot in a value that was filled in is not filled again.
	page := strings.NewReplacer(
		"{{lang}}", t.lang,
		"{{dir}}", cmp.Or(t.dir, "ltr"),
		"{{title}}", html.EscapeString(title),
		"{{refresh}}", refresh,
		"{{style}}", th.style,
		"{{mood}}", bodyClasses[content.kind],
		"{{brand}}", brand,
		"{{icon}}", icons[content.kind],
		"{{heading}}", html.EscapeString(m.title),
		"{{said}}", fill(said),
		"{{next}}", fill(next),
		"{{foot}}", fill(t.foot),
	)
	_, _ = page.WriteString(b, pageHTML)
}

// isolated returns a name as markup. bdi keeps a name in right-to-left script
// from reordering the sentence around it, and so from saying something else.
//
// A short name stays on one line. The browser balances lines, and would break it for
// that.
func isolated(name string) string {
	if utf8.RuneCountInString(name) <= maxUnbroken {
		name = strings.ReplaceAll(name, " ", "\u00a0")
	}
	return "<b><bdi>" + html.EscapeString(name) + "</bdi></b>"
}

// maxUnbroken is the length of a name, in characters, that fits into the line of the
// narrowest telephone (320 pixels).
const maxUnbroken = 20
