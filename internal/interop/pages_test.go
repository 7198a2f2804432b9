package interop

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/stretchr/testify/require"
)

// picturesVariable, if set, makes the tests rewrite the pictures and the
// transcript in docs/.
const picturesVariable = "NATIVEOAUTH_WRITE_DOCS"

// Each page that a user may see in the browser is accessible: in light and
// dark, on a desktop and on a telephone. axe-core checks it in Chromium.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join("axe", "node_modules", "axe-core", "axe.min.js"))
	if errors.Is(err, os.ErrNotExist) {
		realparts.Missing(t, "npm's axe-core (npm ci in internal/interop/axe)")
	}
	require.NoError(t, err)
	b := browser.New(t)
	for _, page := range []struct {
		name, answer string // the parameters of the provider's answer
		heading      string
		want         loopback.Expect
		open         bool // the program has not finished
		err          error
	}{
		{name: "signed-in", answer: "code=c", heading: "signed in"},
		{name: "failed", answer: "code=c", heading: "", err: errors.New("a check failed")},
		{name: "denied", answer: "error=access_denied", heading: "declined", err: errors.New("denied")},
		{name: "waiting", answer: "code=c", heading: "One moment", open: true},
		{name: "signed-out", answer: "x=y", heading: "signed out", want: loopback.Expect{SignOut: true}},
		{name: "refused", answer: "code=c&state=wrong", heading: "not expected", open: true},
	} {
		s, err := loopback.Listen(t.Context(), loopback.Config{Page: loopback.Page{AppName: "Acme CLI"}})
		require.NoError(t, err)
		provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer, _ := url.ParseQuery(page.answer)
			if !answer.Has("state") {
				answer.Set("state", "the state")
			}
			http.Redirect(w, r, s.RedirectURI()+"?"+answer.Encode(), http.StatusSeeOther)
		}))
		page.want.State = "the state"
		ticket, err := s.Start(provider.URL, page.want)
		require.NoError(t, err)
		if !page.open {
			go func() {
				if resp, err := s.Wait(t.Context()); err == nil {
					resp.Finish("alice@example.com", page.err)
				}
			}()
		}
		b.Open(ticket)
		b.Drive(browser.See("Acme CLI"), browser.See(page.heading))
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1024, 320} {
				var result string
				b.Continue(browser.Window(width, 560), browser.Scheme(scheme), browser.Script(string(script)+`
;axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r => JSON.stringify({
	passes: r.passes.length, wide: document.documentElement.scrollWidth > innerWidth,
	violations: r.violations.map(v => v.id + ": " + v.help + " " + v.nodes.map(n => n.html).join(" "))}))`, &result))
				var found struct {
					Passes     int
					Wide       bool
					Violations []string
				}
				require.NoError(t, json.Unmarshal([]byte(result), &found))
				if page.name == "waiting" { // reloading until the sign-in is decided is its purpose
					found.Violations = without(found.Violations, "meta-refresh")
				}
				require.Empty(t, found.Violations, "%s, %s, %d", page.name, scheme, width)
				require.Greater(t, found.Passes, 5, "axe-core looked at something")
				require.False(t, found.Wide, "%s scrolls sideways at %d", page.name, width)
			}
			if os.Getenv(picturesVariable) != "" {
				b.Continue(browser.Window(640, 520), browser.Screenshot(filepath.Join("..", "..", "docs", "pictures", page.name+"-"+scheme+".png")))
			}
		}
		require.NoError(t, s.Close())
		provider.Close()
	}
}

func without(list []string, rule string) []string {
	var kept []string
	for _, v := range list {
		if len(v) < len(rule) || v[:len(rule)] != rule {
			kept = append(kept, v)
		}
	}
	return kept
}
