package wire_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// S2: url.Parse accepts every one of these.
func TestS2UnsafeURLIsRefused(t *testing.T) {
	for _, raw := range []string{
		"", "javascript:x", "javascript://h/%0aalert(1)", "file://localhost/x", "file:///etc/passwd", "ssh://127.0.0.1/x", "ms-msdt:", "ms-msdt://h/x",
		`\\h\s`, "//h/x", "/x", "-version", "--version=https://h/", "https:x", "https:/x", "https:///p", "https://", "https://:443/", "https://u:p@h", "https://u@h/", "https://@h/",
		"https://h:99999", "https://h:0", "https://h:", "https://h:-1/", "https://h:a/", "https://h/#f", "https://h/#", "https://h/\x00", "https://h/\r\nX: y",
		"https://h/a b", " https://h/", "https://h/\u0085", `https://h\@evil.example/`, "http://h/", "http://127.0.0.1/", "http://localhost/", "data:text/html,x", "vbscript:x",
	} {
		_, err := wire.URLPolicy{}.Parse(raw)
		require.ErrorIs(t, err, wire.ErrUnsafeURL, "%q", raw)
	}
	for _, raw := range []string{"https://h", "HTTPS://h/", "https://h:8443/p?q=1&r=$(x)", "https://[::1]:1/", "https://例え.jp/"} {
		_, err := wire.URLPolicy{}.Parse(raw)
		require.NoError(t, err, raw)
	}
}

func TestLoopbackHTTPOnlyIfAllowed(t *testing.T) {
	p := wire.URLPolicy{LoopbackHTTP: true, Fragment: true}
	for _, raw := range []string{"http://127.0.0.1:1/x", "http://[::1]:1/", "http://localhost:1/", "http://127.9.9.9/", "https://h/#f"} {
		_, err := p.Parse(raw)
		require.NoError(t, err, raw)
	}
	for _, raw := range []string{"http://h/", "http://127.0.0.1.evil.example/", "http://0.0.0.0/", "http://127.1/", "http://[::]/", "http://10.0.0.1/", "http://localhost.evil.example/", "http://[::1%25lo]/"} {
		_, err := p.Parse(raw)
		require.ErrorIs(t, err, wire.ErrUnsafeURL, raw)
	}
}

func TestEqualOriginsAreEqualStrings(t *testing.T) {
	for raw, want := range map[string]string{
		"https://H:443/x": "https://h", "https://h/": "https://h", "http://h:80": "http://h", "https://h:80/": "https://h:80",
		"https://[::1]:443/": "https://[::1]", "HTTP://[::1]:8080/": "http://[::1]:8080",
		"https://GİTHUB.example/": "https://gİthub.example", // another name than github.example in IDNA
	} {
		u, err := url.Parse(raw)
		require.NoError(t, err)
		require.Equal(t, want, wire.Origin(u))
	}
}

func FuzzParse(f *testing.F) {
	f.Add("https://h/$(calc)")
	f.Add("http://127.0.0.1:80/#x")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(raw)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrUnsafeURL)
			return
		}
		require.NotEmpty(t, u.Hostname())
		require.Nil(t, u.User)
		require.Contains(t, []string{"http", "https"}, u.Scheme)
		require.True(t, u.Scheme == "https" || wire.IsLoopback(u.Hostname()))
	})
}
