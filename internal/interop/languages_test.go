package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/nativeoauth/nativeoauth/internal/words"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/stretchr/testify/require"
)

// The last page in every language, in Chromium on a desktop and on a telephone: it
// has the direction of its script, nothing is wider than the window, and no line is
// cut off. A name in another direction than the page stays whole.
func TestPagesInEveryLanguage(t *testing.T) {
	t.Parallel()
	b := browser.New(t)
	for _, lang := range words.Languages() {
		s, err := loopback.Listen(t.Context(), loopback.Config{Page: loopback.Page{AppName: "Acme CLI"}})
		require.NoError(t, err)
		// The page of the provider is where the test can choose the language.
		provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `<a href="%s?code=c&state=the+state">go on</a>`, s.RedirectURI())
		}))
		ticket, err := s.Start(provider.URL, loopback.Expect{State: "the state"})
		require.NoError(t, err)
		go finish(t.Context(), s)
		b.Open(ticket)
		b.Drive(browser.Language(lang), browser.Click("a"), browser.See("Acme\u00a0CLI"), browser.See("alice@example.com"))
		for _, width := range []int64{320, 640} {
			var result string
			b.Continue(browser.Window(width, 520), browser.Script(`JSON.stringify({
				lang: document.documentElement.lang, dir: getComputedStyle(document.body).direction,
				wide: document.documentElement.scrollWidth > innerWidth,
				cut: [...document.querySelectorAll("h1, p, footer")].filter(e => e.scrollWidth > e.clientWidth).map(e => e.className || e.localName)})`, &result))
			var page struct {
				Lang, Dir string
				Wide      bool
				Cut       []string
			}
			require.NoError(t, json.Unmarshal([]byte(result), &page))
			require.Equal(t, lang, page.Lang)
			require.Equal(t, map[bool]string{true: "rtl", false: "ltr"}[lang == "ar" || lang == "he"], page.Dir)
			require.False(t, page.Wide, "%s scrolls sideways at %d", lang, width)
			require.Empty(t, page.Cut, "%s at %d", lang, width)
		}
		if os.Getenv(picturesVariable) != "" && (lang == "ar" || lang == "he" || lang == "zh-Hant") {
			b.Continue(browser.Screenshot(filepath.Join("..", "..", "docs", "pictures", "signed-in-"+lang+".png")))
		}
		require.NoError(t, s.Close())
		provider.Close()
	}
}

// finish ends a sign-in well.
func finish(ctx context.Context, s *loopback.Server) {
	if resp, err := s.Wait(ctx); err == nil {
		resp.Finish("alice@example.com", nil)
	}
}
