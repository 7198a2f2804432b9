package loopback

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"errors"
	"html"
	"net/http"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Page is what the program shows of itself. The zero Page names no program. All text is plain: markup in it is shown as it
// stands. "{app}" and "{user}" in SignedIn and Failed become the names.
type Page struct {
	// AppName is the program's name as the person knows it.
	AppName string
	// Logo is a PNG, JPEG, GIF, WebP or SVG of at most 256 KiB; nil: none.
	Logo []byte
	// Accent is a CSS colour as #rgb or #rrggbb; "": a blue.
	Accent string
	// SignedIn and Failed replace the sentence that says what to do next, in every language; "": "You can close this window …".
	SignedIn, Failed string
}

const maxLogo = 256 << 10

// The pages. html/template would escape as well, and add 2.5 MiB to a program (it keeps the linker from dropping methods), so the few
// slots are filled by hand: each is text or a quoted attribute, and each value goes through html.EscapeString.
var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
)

type pageKind int

const (
	pageDone pageKind = iota
	pageDenied
	pageFailed
	pageOut // signed out
	pageWaiting
	pageUsed
	pageRefused
)

// outcome is what a page tells.
type outcome struct {
	kind  pageKind
	user  string
	again string // path to ask again, for a page that waits
}

// look is a Page made ready: checked, its style with the accent in it, and the policy that lets this style in.
type look struct {
	page   Page
	style  string
	logo   string // markup
	policy string
}

const bareCSP = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func newLook(p Page) (*look, error) {
	accent := p.Accent
	if accent == "" {
		accent = "#2f6fed"
	}
	if !isColour(accent) {
		return nil, errors.New("loopback: Page.Accent is not a colour like #2f6fed or #26e")
	}
	p.AppName = wire.SafeText(p.AppName, 60)
	l := &look{page: p, style: strings.Replace(pageCSS, "#2f6fed", accent, 1), policy: bareCSP}
	sum := sha256.Sum256([]byte(l.style))
	l.policy += "; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if len(p.Logo) > 0 {
		mt, err := imageType(p.Logo)
		if err != nil {
			return nil, err
		}
		l.logo = `<img class="logo" alt="" src="data:` + mt + ";base64," + base64.StdEncoding.EncodeToString(p.Logo) + `">`
		l.policy += "; img-src data:"
	}
	return l, nil
}

func isColour(s string) bool {
	if len(s) != 4 && len(s) != 7 || s[0] != '#' {
		return false
	}
	return !strings.ContainsFunc(s[1:], func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F')
	})
}

// imageType tells a picture by its bytes. An SVG in an img element runs no script and loads nothing.
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

// icons are drawn in a 24 × 24 box by the strokes of page.css.
var icons = [...]string{
	pageDone:    `<path pathLength="1" d="M6.5 12.5l3.6 3.6 7.4-8"/>`,
	pageDenied:  `<path pathLength="1" d="M7 12h10"/>`,
	pageFailed:  `<path pathLength="1" d="M12 6.5v7"/><path pathLength="1" d="M12 17.2v.1"/>`,
	pageOut:     `<path pathLength="1" d="M6.5 12.5l3.6 3.6 7.4-8"/>`,
	pageWaiting: `<path pathLength="1" d="M12 7v5.2l3.2 2"/>`,
	pageUsed:    `<path pathLength="1" d="M12 6.5v7"/><path pathLength="1" d="M12 17.2v.1"/>`,
	pageRefused: `<path pathLength="1" d="M12 6.5v7"/><path pathLength="1" d="M12 17.2v.1"/>`,
}

var moods = [...]string{pageDone: "good", pageDenied: "calm", pageFailed: "bad", pageOut: "good", pageWaiting: "calm wait", pageUsed: "calm", pageRefused: "calm"}

// render writes the page for o in the language that accept, an Accept-Language header, prefers.
func (l *look) render(b *bytes.Buffer, accept string, o outcome) {
	t := textsFor(accept)
	m := t.page[o.kind]
	app, user := l.page.AppName, wire.SafeText(o.user, 80)
	next := m.next
	switch {
	case o.kind == pageDone && l.page.SignedIn != "":
		next = l.page.SignedIn
	case o.kind == pageFailed && l.page.Failed != "":
		next = l.page.Failed
	}
	said := m.said
	if o.kind == pageDone && user != "" {
		said = t.doneAs
	}
	title, refresh := m.title, ""
	if app != "" {
		title += " · " + app
	}
	if o.again != "" { // the URL is spelled out: the browser's own has a fragment, and would not be loaded again
		refresh = `<meta http-equiv="refresh" content="1; url=` + html.EscapeString(o.again) + `">`
	}
	brand := ""
	if l.logo != "" || app != "" {
		brand = `<header class="brand">` + l.logo + `<span>` + html.EscapeString(app) + `</span></header>`
	}
	fill := func(s string) string {
		name := html.EscapeString(t.app)
		if app != "" {
			name = "<b><bdi>" + html.EscapeString(app) + "</bdi></b>"
		}
		return strings.NewReplacer("{app}", name, "{user}", "<b><bdi>"+html.EscapeString(user)+"</bdi></b>").Replace(html.EscapeString(s))
	}
	page := strings.NewReplacer( // one pass: what is filled in is not looked at again
		"{{lang}}", t.lang,
		"{{title}}", html.EscapeString(title),
		"{{refresh}}", refresh,
		"{{style}}", l.style,
		"{{mood}}", moods[o.kind],
		"{{brand}}", brand,
		"{{icon}}", icons[o.kind],
		"{{heading}}", html.EscapeString(m.title),
		"{{said}}", fill(said),
		"{{next}}", fill(next),
		"{{foot}}", fill(t.foot),
	)
	_, _ = page.WriteString(b, pageHTML)
}
