package security

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	removed = flag.String("removals", "",
		`take away the defences of these items ("all", "S14", "S14,S29"), and see their tests fail;`+
			` "": only check that each removal still fits`)
	list = flag.Bool("v-removals", false, "show why each test failed")
)

// removal takes one defence away: old becomes new in file. old must occur there
// exactly once. The tests of the package pkg that carry the item's number must
// fail then.
type removal struct {
	item           int
	file, old, new string
	pkg            string // "": the package of file
}

var removals = []removal{
	{1, "oauthclient/browser.go", "err := b.ways.open(prompting, b.ticket, failed)", "_ = b.ways.open(prompting, b.ticket, failed)\n\t\terr := b.ways.open(prompting, b.ticket, failed)", ""},
	{2, "internal/wire/url.go", "case u.User != nil:", "case false && u.User != nil:", ""},
	{2, "internal/wire/url.go", "case u.Hostname() == \"\":", "case false:", ""},
	{2, "internal/browser/browser.go", "Parse(rawURL)\n\tif err != nil {", "Parse(rawURL)\n\tif false && err != nil {", ""},
	{3, "internal/browser/variable.go", "strings.ContainsRune(name, filepath.Separator) &&", "false && strings.ContainsRune(name, filepath.Separator) &&", ""},
	{3, "internal/browser/browser.go", "strings.IndexByte(", "false && strings.IndexByte(", ""},
	{4, "loopback/handle.go", "(s.tickets == 0 || sender == peer.SameUser && s.tickets < maxTickets)", "true", ""},
	{4, "loopback/handle.go", "(s.tickets == 0 || sender == peer.SameUser && s.tickets < maxTickets)", "true", "oauthclient"},
	{4, "loopback/handle.go", "sender == peer.SameUser && s.tickets < maxTickets", "s.tickets < maxTickets", ""},
	{4, "oauthclient/browser.go", "err := b.ways.open(prompting, b.ticket, failed)", "<-b.request.made\n\t\terr := b.ways.open(prompting, b.request.url, failed)", ""},
	{5, "internal/wire/text.go", "case r == utf8.RuneError, !unicode.IsGraphic(r), invisible(r):", "case r == utf8.RuneError:", ""},
	{6, "loopback/bind.go", `v4, v6 := netip.MustParseAddr("127.0.0.1")`, `v4, v6 := netip.MustParseAddr("0.0.0.0")`, ""},
	{7, "loopback/bind.go", "if !cfg.Localhost {", "if true {", ""},
	{8, "loopback/bind_unix.go", "syscall.SO_REUSEADDR, 0)", "syscall.SO_REUSEADDR, 1)", ""},
	{8, "loopback/bind_unix.go", "if fixed {", "if false {", ""},
	{9, "loopback/bind.go", "if taken(err) {\n\t\t\treturn nil, fmt.Errorf(\"loopback: %w: %s", "if false {\n\t\t\treturn nil, fmt.Errorf(\"loopback: %w: %s", ""},
	{10, "oauthclient/browser.go", "\t_ = b.server.Close()\n", "", ""},
	{11, "loopback/handle.go", "case !slices.Contains(s.hosts, r.Host):", "case false && !slices.Contains(s.hosts, r.Host):", ""},
	{12, "loopback/handle.go", "case r.Method == http.MethodGet && r.ContentLength == 0:", "case r.Method != http.MethodPost:", ""},
	{13, "loopback/handle.go", `return h.Get("Upgrade") == "" &&`, `return true || h.Get("Upgrade") == "" &&`, ""},
	{14, "loopback/response.go", "case subtle.ConstantTimeCompare([]byte(state[0])", "case false && subtle.ConstantTimeCompare([]byte(state[0])", ""},
	{14, "loopback/response.go", "case subtle.ConstantTimeCompare([]byte(state[0])", "case false && subtle.ConstantTimeCompare([]byte(state[0])", "oauthclient"},
	{15, "loopback/handle.go", "if s.over {\n\t\treturn false", "if false && s.over {\n\t\treturn false", ""},
	{16, "loopback/response.go", "if len(values) > 1 {", "if false {", ""},
	{16, "loopback/response.go", `return nil, false, bad(atCallback, "its parameters are malformed")`, "_ = err", ""},
	{17, "loopback/limit.go", "if l.open.Len() >= l.max {", "if false && l.open.Len() >= l.max {", ""},
	{17, "loopback/header.go", "return f.value <= maxValue", "return true", ""},
	{17, "loopback/header.go", "if f.sent > maxSent || f.kept > maxHeader {", "if false {", ""},
	{18, "loopback/loopback.go", "case <-ctx.Done():\n\t\ts.end(context.Cause(ctx))", "case <-time.After(time.Minute):\n\t\ts.end(context.Cause(ctx))", "oauthclient"},
	{19, "loopback/handle.go", `h.Set("Content-Security-Policy", bareCSP)`, "", ""},
	{19, "loopback/handle.go", `h.Set("Referrer-Policy", "no-referrer")`, "", ""},
	{20, "loopback/handle.go", "w.Header().Set(\"Location\", s.prefix+s.page+\"#\")\n\ts.write(w, http.StatusSeeOther, nil)", "s.show(w, r, http.StatusOK, s.ending)", ""},
	{20, "loopback/handle.go", "w.Header().Set(\"Location\", s.prefix+s.page+\"#\")\n\ts.write(w, http.StatusSeeOther, nil)", "s.show(w, r, http.StatusOK, s.ending)", "oauthclient"},
	{21, "oauthclient/login.go", "g, err := l.finish(ctx, answer)", "answer.tell(\"\", nil)\n\tg, err := l.finish(ctx, answer)", ""},
	{22, "loopback/handle.go", `w.Header().Set("Location", s.prefix+s.page+"#")`, `w.Header().Set("Location", r.URL.Query().Get("next")+s.prefix+s.page+"#")`, ""},
	{23, "loopback/handle.go", "case r.Method == http.MethodPost && s.cfg.FormPost:", "case r.Method == http.MethodPost:", ""},
	{24, "pkce/pkce.go", "_, _ = rand.Read(b)", "_, _ = rand.Read(b[:0])", ""},
	{25, "internal/oauth/metadata.go", "return PKCERefused\n}", "return PKCEOffered\n}", ""},
	{26, "internal/oauth/metadata.go", "\t\treturn PKCEUnsaid\n", "\t\treturn PKCERefused\n", ""},
	{27, "oauthclient/provider.go", `"code_verifier": {t.verifier.Reveal()},`, "", ""},
	{28, "oauthclient/client.go", "cfg: cfg.clone()", "cfg: cfg", ""},
	{28, "oauthclient/authorization.go", "slices.Clone(opts.ACRValues)", "slices.Clip(opts.ACRValues)", ""},
	{29, "loopback/response.go", "if iss, named := params[\"iss\"]; named &&", "if iss, named := params[\"iss\"]; false && named &&", ""},
	{29, "loopback/response.go", "if iss, named := params[\"iss\"]; named &&", "if iss, named := params[\"iss\"]; false && named &&", "oauthclient"},
	{30, "loopback/handle.go", "case path == s.path:", `case strings.HasPrefix(path, "/"):`, ""},
	{30, "loopback/response.go", "case subtle.ConstantTimeCompare([]byte(state[0])", "case false && subtle.ConstantTimeCompare([]byte(state[0])", "oauthclient"},
	{31, "loopback/response.go", "if params.Has(name) {", "if false && params.Has(name) {", ""},
	{32, "loopback/response.go", `case !params.Has("error") && !vschar(code):`, `case false && !vschar(code):`, ""},
	{33, "internal/oauth/token.go", "if !r.HasScope {", "if true {", "oauthclient"},
	{34, "oauthclient/provider.go", `case s.Resource != "":`, "case false:", ""},
	{34, "internal/session/account.go", `return resource + "\x00" +`, `return "\x00" +`, "oauthclient"},
	{35, "internal/oauth/par.go", "if resp.Status != http.StatusCreated {", "if false && resp.Status != http.StatusCreated {", ""},
	{35, "internal/oauth/par.go", "if !time.Now().Before(p.Expiry) {", "if false {", ""},
	{36, "internal/oidc/idtoken.go", "case len(want.ACRValues) > 0 &&", "case false &&", ""},
	{36, "internal/oidc/idtoken.go", "case len(want.ACRValues) > 0 &&", "case false &&", "oauthclient"},
	{37, "oauthclient/login.go", "l.scopes = union(l.scopes, l.before.Scopes)", "", ""},
	{38, "internal/oauth/metadata.go", "if d.Issuer != issuer {", "if false {", ""},
	{38, "internal/oauth/metadata.go", "if d.Issuer != issuer {", "if false {", "oauthclient"},
	{39, "internal/oauth/metadata.go", "policy.Parse(e.URL); err != nil {", "policy.Parse(e.URL); false && err != nil {", ""},
	{40, "internal/fetch/fetch.go", "if n > MaxBody {", "if false && n > MaxBody {", ""},
	{40, "internal/fetch/fetch.go", "wire.Origin(to) != wire.Origin(from)", "false", ""},
	{40, "internal/fetch/fetch.go", `if enc != "" &&`, `if false && enc != "" &&`, ""},
	{41, "internal/oauth/discovery.go", "if o.OpenID && !o.Learned {", "if false {", ""},
	{41, "internal/oauth/discovery.go", "legacy = legacy && empty.status == http.StatusNotFound", "", ""},
	{41, "internal/oauth/resource.go", "legacy = legacy && status == http.StatusNotFound", "_ = status", ""},
	{41, "oauthclient/login.go", "if l.provider.doc.Legacy && !t.legacy {", "if false {", ""},
	{42, "internal/oauth/resource.go", "if !slices.ContainsFunc(names, d.isAbout) {", "if false {", ""},
	{43, "internal/fetch/guard.go", "if !public(a) {\n\t\t\treturn nil, ErrAddress", "if false {\n\t\t\treturn nil, ErrAddress", ""},
	{43, "internal/fetch/guard.go", "return public(netip.AddrFrom4([4]byte(b[12:16])))", "return true", ""},
	{43, "internal/fetch/guard.go", "return public(netip.AddrFrom4([4]byte(b[2:6])))", "return true", ""},
	{43, "oauthclient/providers.go", "return fetch.NewGuard(ps.cfg.Transport, oauth.IssuerHost(issuer))", "return ps.cfg.Transport", "cmd/nativeoauth"},
	{43, "oauthclient/providers.go", "return fetch.NewGuard(ps.cfg.Transport, oauth.IssuerHost(issuer))", "return ps.cfg.Transport", ""},
	{43, "oauthclient/providers.go", "wire.IsLoopback(oauth.IssuerHost(ps.cfg.Resources[0])) &&", "true &&", ""},
	{43, "oauthclient/inspect/inspect.go", "fetch.NewGuard(o.Transport, oauth.IssuerHost(cmp.Or(o.MetadataURL, issuer)))", `fetch.NewGuard(o.Transport, cmp.Or("127.0.0.1"))`, ""},
	{43, "oauthclient/inspect/inspect.go", "fetch.NewGuard(o.Transport, oauth.IssuerHost(cmp.Or(o.MetadataURL, issuer)))", `fetch.NewGuard(o.Transport, cmp.Or("127.0.0.1"))`, "cmd/nativeoauth"},
	{44, "internal/oauth/registration.go", "case k.Issuer != issuer:", "case false:", ""},
	{44, "oauthclient/registration.go", "accept != nil && accept(issuer)", "accept != nil", ""},
	{44, "oauthclient/registration.go", "auth, ok := c.authAt(g.Issuer)", "auth, ok := c.ClientAuth.method, true", ""},
	{44, "oauthclient/config.go", " && c.Deviations.AcceptIssuer == nil", " && false", ""},
	{45, "internal/oauth/registration.go", `m["application_type"] = "native"`, "", ""},
	{46, "internal/wire/url.go", "LowerHost(u.Hostname()), u.Port()", "strings.ToLower(u.Hostname()), u.Port()", "oauthclient"},
	{46, "internal/wire/url.go", "LowerHost(u.Hostname()), u.Port()", "strings.ToLower(u.Hostname()), u.Port()", "cmd/nativeoauth"},
	{46, "oauthclient/transport.go", "if wire.Origin(r.URL) != wire.Origin(first.URL) {", "if false {", ""},
	{46, "oauthclient/transport.go", "\tplain.Header.Del(\"Authorization\")\n", "\tplain.Header.Set(\"Authorization\", \"Bearer \"+t.session.slot.Cached().Token.AccessToken)\n", ""},
	{47, "internal/fetch/fetch.go", "error { return http.ErrUseLastResponse }", "error { return nil }", ""},
	{47, "internal/fetch/fetch.go", "error { return http.ErrUseLastResponse }", "error { return nil }", "internal/oauth"},
	{48, "internal/oauth/token.go", "resp, err := r.send(ctx, c)", "_, _ = r.send(ctx, c)\n\tresp, err := r.send(ctx, c)", ""},
	{49, "internal/oauth/clientauth.go", "\tcase m.c == nil:\n\t\tform.Set(", "\tcase m.c == nil:\n\t\th.Set(\"Authorization\", \"Basic Og==\")\n\t\tform.Set(", ""},
	{50, "internal/oauth/token.go", `if m.has("error") {`, "if false {", ""},
	{51, "internal/wire/json.go", "json.Unmarshal(data, &all) != nil || ", "false && json.Unmarshal(data, &all) != nil || ", ""},
	{52, "internal/oauth/token.go", `case !m.has("token_type") && want == "Bearer":`, `case !m.has("token_type"):`, ""},
	{52, "internal/oauth/token.go", "return unknownType(kind)", "", ""},
	{52, "internal/oauth/token.go", `return errors.New("token_type is Bearer, though a token bound by DPoP was asked for")`, "", ""},
	{53, "internal/oauth/token.go", "math.Floor(min(max(seconds, 0), maxTokenLifetime.Seconds()))", "math.Floor(seconds)", ""},
	{54, "internal/oauth/token.go", "\treturn wire.NewSecret(s), nil", "\tif strings.Count(s, \".\") != 2 {\n\t\treturn wire.Secret{}, errors.New(\"no JWT\")\n\t}\n\treturn wire.NewSecret(s), nil", "oauthclient"},
	{55, "internal/oauth/request.go", "fetch.NewRequest(http.MethodPost, r.Endpoint,", `fetch.NewRequest(http.MethodPost, r.Endpoint+"?"+form.Encode(),`, ""},
	{55, "internal/oauth/request.go", "fetch.NewRequest(http.MethodPost, r.Endpoint,", `fetch.NewRequest(http.MethodPost, r.Endpoint+"?"+form.Encode(),`, "oauthclient"},
	{56, "internal/fetch/fetch.go", "MinVersion: tls.VersionTLS12", "MinVersion: tls.VersionTLS10", ""},
	{57, "internal/fetch/fetch.go", "Proxy:                  http.ProxyFromEnvironment,", "", ""},
	{58, "internal/fetch/fetch.go", "if n > MaxBody {", "if false && n > MaxBody {", ""},
	{59, "internal/session/refresh.go", "\tif next == nil {\n", "\tif err != nil {\n", ""},
	{60, "internal/session/refresh.go", "held, unlock, adopted, err := k.lockOrAdopt(ctx, starting, a, j, wait)", "held, unlock, adopted, err := ctx, func() {}, (*Grant)(nil), error(nil)\n\t_, _ = j, wait", ""},
	{60, "internal/session/refresh.go", "if !j.names(g) && a.Serves(g) {", "if false && a.Serves(g) {", ""},
	{61, "internal/session/refresh.go", "j.Dead, recovery = g.hash(), false", `j.Dead, recovery = "", false`, ""},
	{62, "oauthclient/provider.go", "if !slices.Contains(g.Scopes, sc) {", "if false && !slices.Contains(g.Scopes, sc) {", ""},
	{63, "internal/oauth/device.go", "if p.trouble != nil && !p.wall().Round(0).Before(p.code.Expiry) {", "if false {", ""},
	{64, "oauthclient/login.go", "c.keeper.Probe(ctx); err != nil {", "c.keeper.Probe(ctx); false && err != nil {", ""},
	{65, "internal/securefile/securefile.go", "case !info.Mode().IsRegular():", "case false:", ""},
	{65, "internal/securefile/securefile.go", "if named.Mode()&fs.ModeSymlink != 0 {", "if false {", ""},
	{65, "internal/securefile/given.go", "if err := checkLink(path, info); err != nil {", "if err := checkLink(path, info); false && err != nil {", ""},
	{65, "internal/securefile/os_unix.go", "if ok && st.Uid == 0 && file.Mode()", "if ok && st != nil && file.Mode()", ""},
	{65, "internal/securefile/os_unix.go", "if mode := info.Mode(); mode.Perm()&0o022 != 0 {", "if mode := info.Mode(); false {", ""},
	{66, "internal/wire/secret.go", "io.WriteString(f, s.String())", "io.WriteString(f, s.Reveal())", ""},
	{66, "internal/wire/secret.go", "return slog.StringValue(s.String())", "return slog.StringValue(s.Reveal())", ""},
	{66, "cmd/nativeoauth/trace.go", "text = strings.ReplaceAll(text, value, \"[masked]\")", "_ = value", ""},
	{66, "oauthclient/userinfo.go", "Description: sent.without(ue.Description)", "Description: ue.Description", "cmd/nativeoauth"},
	{67, "cmd/nativeoauth/main.go", "_ = os.Unsetenv(secretVariable)", "", ""},
	{67, "oauthclient/browser.go", "err := b.ways.open(prompting, b.ticket, failed)", "<-b.request.made\n\t\terr := b.ways.open(prompting, b.request.url, failed)", ""},
	{68, "internal/oauth/revocation.go", "if resp.Status < 200 || resp.Status > 299 {", "if false {", ""},
	{68, "oauthclient/logout.go", "if notRevoked != nil {", "if false {", ""},
	{69, "internal/oidc/endsession.go", "if !p.state.Equal(", "if false && !p.state.Equal(", ""},
	{70, "internal/oidc/identity.go", "want.TenantIssuer == \"\" && c.Issuer != want.Issuer:", "false:", ""},
	{70, "internal/oidc/identity.go", "want.TenantIssuer == \"\" && c.Issuer != want.Issuer:", "false:", "oauthclient"},
	{71, "internal/oidc/idtoken.go", "case len(others) > 0 && (", "case false && len(others) > 0 && (", ""},
	{71, "internal/oidc/idtoken.go", " || !want.AcceptAudiences(others)", "", "oauthclient"},
	{71, "internal/oidc/idtoken.go", "case c.hasAZP &&", "case false &&", ""},
	{72, "internal/jose/verify.go", "if !slices.Contains(Algorithms(algorithms), h.Alg) {", "if false {", ""},
	{73, "internal/jose/key.go", "k.N.BitLen() < 2048", "k.N.BitLen() < 512", ""},
	{73, "internal/jose/key.go", `w.Use != "" && w.Use != "sig"`, `false`, ""},
	{75, "internal/jose/verify.go", "case h.Crit != nil:", "case false:", ""},
	{76, "internal/jose/verify.go", `case h.Typ != "" &&`, "case false &&", ""},
	{76, "internal/jose/verify.go", "if len(token) > maxToken {", "if false {", ""},
	{77, "internal/jose/verify.go", ".Strict().DecodeString(s)", ".DecodeString(s)", ""},
	{77, "internal/wire/json.go", "if !utf8.Valid(data) {", "if false && !utf8.Valid(data) {", ""},
	{78, "internal/oidc/idtoken.go", "case !now.Before(c.Expiry.Add(skew)):", "case false:", ""},
	{78, "internal/oauth/clock.go", "if ahead.Abs() > MaxClockOffset || ", "if ", ""},
	{78, "internal/oauth/request.go", `r.Form.Get("grant_type") != "authorization_code"`, "true", ""},
	{78, "internal/oidc/idtoken.go", "if want.ClockOffset.Abs() > MaxClockOffset {", "if false {", ""},
	{78, "internal/oidc/idtoken.go", "case c.IssuedAt.After(now.Add(skew)):", "case false:", ""},
	{79, "internal/oidc/idtoken.go", "case subtle.ConstantTimeCompare([]byte(c.Nonce)", "case false && subtle.ConstantTimeCompare([]byte(c.Nonce)", ""},
	{79, "internal/oidc/idtoken.go", "case subtle.ConstantTimeCompare([]byte(c.Nonce)", "case false && subtle.ConstantTimeCompare([]byte(c.Nonce)", "oauthclient"},
	{80, "internal/oidc/idtoken.go", "if c.hasAtHash &&", "if false &&", ""},
	{80, "internal/oidc/idtoken.go", "case want.HasMaxAge && c.AuthTime.Before(", "case false && c.AuthTime.Before(", "oauthclient"},
	{81, "internal/jose/keyset.go", "if !c.refetched.IsZero() &&", "if false &&", ""},
	{81, "internal/jose/keyset.go", "if !c.failed {", "if false {", ""},
	{82, "internal/oidc/identity.go", "case c.Subject != want.Refreshed.Subject:", "case false:", ""},
	{82, "internal/oidc/identity.go", "case c.Subject != want.Refreshed.Subject:", "case false:", "oauthclient"},
	{82, "internal/oidc/idtoken.go", "case !next.AuthTime.IsZero() && !c.AuthTime.IsZero() &&", "case false &&", "oauthclient"},
	{83, "internal/oidc/userinfo.go", "case sub != r.Subject:", "case false:", ""},
	{83, "internal/oidc/userinfo.go", "case !time.Now().Before(end.Add(skew)):", "case false && !time.Now().Before(end.Add(skew)):", ""},
	{83, "oauthclient/login.go", "return invalid(\"openid was asked for and the token endpoint sent no id_token\")", "return nil", ""},
	{84, "oauthclient/login.go", "\t\treturn nil\n\t}\n\tif resp.IDToken.IsZero() {", "\t\tif claims, err := oidc.ParseIDToken(resp.AccessToken.Reveal()); err == nil {\n\t\t\tg.Subject = claims.Subject\n\t\t}\n\t\treturn nil\n\t}\n\tif resp.IDToken.IsZero() {", ""},
	{85, "internal/oauth/dpop.go", "if !accessToken.IsZero() {", "if false {", ""},
	{85, "internal/oauth/dpop.go", "ID: rand.Text(),", `ID: "one",`, ""},
	{86, "internal/oauth/dpop_nonce.go", "p.retried = true", "p.retried = false", ""},
	{86, "internal/oauth/dpop_nonce.go", "origin: wire.Origin(target)", `origin: wire.Origin(target)[:0]`, ""},
	{87, "oauthclient/authorization.go", `q.Set("dpop_jkt", t.key.Thumbprint())`, "", ""},
	{87, "internal/oauth/dpop.go", "text, ok := strings.CutPrefix(stored.Reveal(), dpopKeyPrefix)\n\tif !ok {", "text, _ := strings.CutPrefix(stored.Reveal(), dpopKeyPrefix)\n\tif false {", ""},
	{88, "internal/oauth/device.go", "p.interval += slowDown", "", ""},
	{88, "internal/oauth/device.go", "a.interval = defaultInterval", "a.interval = time.Second", ""},
	{89, "internal/oauth/device.go", "policy.Parse(raw); err != nil {", "policy.Parse(raw); false && err != nil {", ""},
	{89, "internal/oauth/device.go", "policy.Parse(raw); err != nil {", "policy.Parse(raw); false && err != nil {", "oauthclient"},
	{90, "loopback/handle.go", "return sender == peer.OtherUser && !s.cfg.AllowOtherUsers", "return false && sender == peer.OtherUser && !s.cfg.AllowOtherUsers", ""},
	{90, "internal/peer/peer_linux.go", "if s.inode == 0 {", "if false {", ""},
	{91, "oauthclient/logout.go", "opened, err := s.open(ctx, ticket, pending.URL())", "_ = ticket\n\topened, err := s.open(ctx, pending.URL(), pending.URL())", ""},
	{92, "cmd/nativeoauth/gitcredential.go", "if strings.ContainsFunc(line, unicode.IsControl) {", "if false && strings.ContainsFunc(line, unicode.IsControl) {", ""},
	{92, "cmd/nativeoauth/gitcredential.go", "\tlines.Split(rawLines)\n", "", ""},
	{93, "cmd/nativeoauth/gitcredential.go", "if err == nil && limited.N == 0 {", "if false {", ""},
	{94, "internal/securefile/securefile.go", "f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)\n\tif !errors.Is(", "f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)\n\tif !errors.Is(", ""},
	{95, "cmd/nativeoauth/dockercredential.go", "return ok && o == asked", "return ok && o != asked+\"/\"", ""},
	{95, "cmd/nativeoauth/dockercredential.go", "if !slices.Contains([]string{\"\", \"v1/\", \"v2/\"}, path) {", "if false && !slices.Contains([]string{\"\", \"v1/\", \"v2/\"}, path) {", ""},
	{95, "cmd/nativeoauth/dockercredential.go", "if !a.used.fromProfile {", "if false {", ""},
	{110, "internal/oauth/given.go", "slices.ContainsFunc(found, ours) &&", "(true || slices.ContainsFunc(found, ours)) &&", ""},
	{110, "internal/oauth/given.go", "(len(found) == 1 || !assertion)", "true", ""},
	{110, "oauthclient/workload.go", "if err == nil {\n\t\terr = oauth.CheckGiven(", "if err == nil {\n\t\t_ = oauth.CheckGiven(", ""},
	{111, "oauthclient/registration.go", "|| c.Workload != nil && c.Workload.given().ask != nil", "", ""},
	{111, "oauthclient/workload.go", "case issuer == \"\" && set > 0 &&", "case false &&", ""},
	{111, "oauthclient/workload_session.go", "\tif !ok {\n", "\tif false {\n", ""},
	{112, "internal/oauth/request.go", "if attempt > 1 && r.Again != nil {", "if false {", "oauthclient"},
	{112, "oauthclient/workload_session.go", "req.Form, req.Again = form, assert", "req.Form = form", ""},
	{113, "internal/oauth/request.go", "\t\t\t*r = r.with(nil)\n\t\t\tmaps.Copy(r.Form, fresh)\n\t\t}\n\t\tbegan := time.Now()\n\t\tresp, err := r.post(ctx, c)", "\t\t\ttold := r.with(nil)\n\t\t\tmaps.Copy(told.Form, fresh)\n\t\t\treturn told.post(ctx, c)\n\t\t}\n\t\tbegan := time.Now()\n\t\tresp, err := r.post(ctx, c)", "oauthclient"},
	{113, "internal/oauth/error.go", "\"client_assertion\", \"assertion\", \"subject_token\",", "", "oauthclient"},
	{114, "oauthclient/client.go", "if !c.cfg.keeps() {\n\t\treturn c.workloadSession(account)", "if false {\n\t\treturn c.workloadSession(account)", ""},
	{114, "oauthclient/login.go", "case !c.cfg.keeps() && adopt:", "case false:", ""},
	{115, "oauthclient/errors.go", "if e.workload {\n\t\t\treturn false", "if false {\n\t\t\treturn false", ""},
	{115, "oauthclient/workload.go", "!errors.Is(target, ErrLoginRequired) &&", "", ""},
	{115, "oauthclient/workload.go", "func (e *workloadError) Error()", "func (e *workloadError) Unwrap() error { return e.err }\n\nfunc (e *workloadError) Error()", ""},
	{115, "oauthclient/workload.go", "\t\tshown.workload = true\n", "", ""},
	{115, "oauthclient/provider.go", "\t\te.workload = !ps.cfg.keeps()\n", "\t\t_ = e\n", ""},
	{115, "oauthclient/workload.go", "for some of them\n\t\treturn false\n", "for some of them\n\t\treturn errors.As(e.err, target)\n", ""},
	{130, "internal/oauth/exchange.go", "return errors.New(\"issued_token_type is not an access token\")", "return nil", ""},
	{130, "internal/oauth/exchange.go", "if m[\"issued_token_type\"] != typeIDJAG {", "if false {", ""},
	{130, "internal/jose/verify.go", "case h.Typ != \"\" && !strings", "case false && !strings", "internal/oauth"},
	{131, "internal/oauth/exchange.go", "case claims.Iss != issuer:", "case false:", ""},
	{131, "internal/oauth/exchange.go", "len(aud) != 1, !SameIdentifier(aud[0], audience):", "len(aud) != 1:", ""},
	{131, "internal/oauth/exchange.go", "len(aud) != 1, !SameIdentifier", "len(aud) == 0, !SameIdentifier", ""},
	{131, "internal/oauth/exchange.go", "if err := checkIDJAG(payload, issuer, audience); err != nil {", "if err := checkIDJAG(payload, issuer, audience); false && err != nil {", "oauthclient"},
	{132, "oauthclient/enterprise.go", "p, err := s.client.providers.get(ctx, g.Issuer)", "p, err := s.client.providers.get(ctx, x.Audience)", ""},
	{132, "oauthclient/enterprise.go", "if oauth.SameIdentifier(x.Audience, p.issuer) {", "if false {", ""},
	{133, "oauthclient/session.go", "if err := s.checkIdentity(ctx); err != nil {", "if err := s.checkIdentity(ctx); false && err != nil {", ""},
	{133, "oauthclient/session.go", "if ended := s.checkIdentity(ctx); ended != nil {", "if ended := s.checkIdentity(ctx); false && ended != nil {", ""},
	{133, "oauthclient/enterprise.go", "\tidp.account.Recheck(idp.slot)\n", "", ""},
	{134, "oauthclient/enterprise.go", "\t\te.workload = true\n", "", ""},
	{134, "oauthclient/enterprise.go", "time.Since(g.Tokens[0].Obtained) < renewAfter", "false", ""},
	{135, "oauthclient/enterprise.go", "return url.Values{\"assertion\": {assertion.Reveal()}}, err", "return url.Values{\"more\": {assertion.Reveal()[:1]}}, err", ""},
	{136, "internal/oauth/error.go", "\"client_assertion\", \"assertion\", \"subject_token\", \"actor_token\",", "", "internal/oauth"},
	{120, "internal/securefile/given.go", "if err := checkLink(path, info); err != nil {", "if err := checkLink(path, info); false && err != nil {", "oauthclient/workload"},
	{120, "internal/securefile/given.go", "if err := check(path, info, dir); err != nil {", "if err := check(path, info, dir); false && err != nil {", "oauthclient/workload"},
	{120, "oauthclient/workload/file.go", "readings = 3", "readings = 1", ""},
	{121, "oauthclient/workload/token.go", "if len(audiences) != 1 || audiences[0] != audience {", "if !strings.Contains(strings.Join(audiences, \" \"), audience) {", ""},
	{122, "oauthclient/workload/github.go", "if !belongs(place, server) {", "if false {", ""},
	{122, "oauthclient/workload/github.go", `strings.HasSuffix(host, "."+home)`, "strings.HasSuffix(host, home)", ""},
	{122, "oauthclient/workload/github.go", `place.Scheme == "https" && place.Port() == "" &&`, "", ""},
	{123, "internal/fetch/fetch.go", "error { return http.ErrUseLastResponse }", "error { return nil }", "oauthclient/workload"},
	{123, "oauthclient/workload/github.go", "\tplace.RawQuery = query.Encode()\n", "\tplace.RawQuery += \"&audience=\" + audience\n", ""},
	{124, "oauthclient/workload/token.go", "what, list(audiences),", "token, list(audiences),", ""},
	{124, "oauthclient/workload/github.go", "return \"\", fmt.Errorf(\"workload: GitHub answered the request for an ID token with HTTP %d; try again\",\n\t\t\tresp.Status)", `return "", fmt.Errorf("workload: %d: %s", resp.Status, resp.Body)`, ""},
	{125, "oauthclient/workload/detect.go", `return none, "a CI job without`, `return nil, "a CI job without`, ""},
	{148, "tokenstore/keyring_darwin.go", "Setpgid: true", "Setpgid: false", "internal/macos"},
	{149, "tokenstore/keyring_darwin.go", "cmd.ExtraFiles = []*os.File{held}", "", "internal/macos"},
	{126, "oauthclient/workload/token.go", "what, list(audiences),", "token, list(audiences),", "cmd/nativeoauth"},
	{126, "cmd/nativeoauth/workload.go", `"workload", s.Workload, "token", why)`, `"workload", s.Workload, "token", why+a.env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])`, ""},
	{127, "cmd/nativeoauth/workload.go", "\tif token == nil {\n\t\treturn nil, usage(\"--workload %s needs", "\tif token == nil {\n\t\treturn nil, nil\n\t}\n\tif false {\n\t\treturn nil, usage(\"--workload %s needs", ""},
	{127, "cmd/nativeoauth/workload.go", "\tif s.Workload != \"\" {", "\tif false {", ""},
	{140, "internal/securefile/makedir.go", "if err := checkParent(dir); err != nil {", "if err := checkParent(dir); false && err != nil {", ""},
	{98, "internal/session/providercache.go", "if !hmac.Equal(head,", "if false && !hmac.Equal(head,", "oauthclient"},
	{99, "oauthclient/providercache.go", "doc, err := ps.discoverOptions(g.Issuer).Read(k.Metadata, g.Issuer)\n\t\tif err == nil && doc.Issuer != g.Issuer {", "doc, err := oauth.ParseMetadata(k.Metadata)\n\t\tif false {", ""},
	{99, "oauthclient/providercache.go", "case k.Issuer != g.Issuer ||", "case", ""},
	{100, "oauthclient/providercache.go", "doc, err := ps.discoverOptions(g.Issuer).Read(k.Metadata, g.Issuer)\n\t\tif err == nil && doc.Issuer != g.Issuer {", "doc, err := oauth.ParseMetadata(k.Metadata)\n\t\tif false {", ""},
	{101, "internal/session/providercache.go", "if !hmac.Equal(head,", "if false && !hmac.Equal(head,", "oauthclient"},
	{102, "oauthclient/providercache.go", "k.ClientID != g.ClientID ||", "", ""},
	{102, "internal/session/providercache.go", "[]byte(cacheFormat + g.cacheName() + ", "[]byte(cacheFormat + ", "oauthclient"},
	{103, "oauthclient/providers.go", "l.current.cached && l.current.fetchedAt.Before(g.CacheSince)", "false", ""},
	{103, "oauthclient/providercache.go", "|| k.MetadataAt < g.CacheSince.UnixMilli()", "", ""},
	{104, "oauthclient/providercache.go", "return age > -cacheAhead && age < providerAge", "return true || age > 0", ""},
	{104, "oauthclient/providercache.go", "return age > -cacheAhead && age < providerAge", "return age > -cacheAhead", ""},
	{104, "oauthclient/providercache.go", "return age > -cacheAhead && age < providerAge", "return age < providerAge", ""},
	{105, "internal/session/providercache.go", "case len(data) > maxCache:", "case false:", ""},
	{106, "internal/securefile/os_unix.go", "!info.IsDir() && n > 1 {", "!info.IsDir() && n > 1 && false {", "oauthclient"},
	{107, "internal/securefile/os_unix.go", "if int(st.Uid) != uid {", "if false {", "oauthclient"},
	{108, "internal/session/providercache.go", "if !hmac.Equal(head,", "if false && !hmac.Equal(head,", "oauthclient"},
	{109, "oauthclient/login.go", "t.provider = l.fresh(ctx)", "", ""},
	{109, "oauthclient/login.go", "tokens, err := t.provider.redeem(ctx, &t, a.code)", "tokens, err := t.provider.redeem(ctx, &t, a.code)\n\t\tif err != nil {\n\t\t\ttokens, err = t.provider.redeem(ctx, &t, a.code)\n\t\t}", ""},
}

// withoutRemoval are the items that no removal takes away, and why.
var withoutRemoval = map[int]string{
	74: "the defence is that nothing reads them",
}

// Without flags, each removal must fit the source. With -removals, the defences
// are taken away one after the other, and the tests that carry the number must
// notice. An overlay replaces the file for the compiler, so the tree stays as it
// is.
func TestRemovals(t *testing.T) {
	all := tests(t)
	noticed, ran := 0, 0
	for i, r := range removals {
		r.pkg = cmp.Or(r.pkg, filepath.ToSlash(filepath.Dir(r.file)))
		path, mutant := r.apply(t)
		run := carrying(all, r.pkg, r.item)
		if run == "" {
			t.Errorf("S%d: no test of %s carries it", r.item, r.pkg)
		}
		if mutant == "" || run == "" || !chosen(r.item) {
			continue
		}
		ran++
		out, err := r.test(t, path, mutant, run)
		switch {
		case unbuilt(out):
			t.Errorf("S%d, removal %d: does not build:\n%s", r.item, i, out)
		case err == nil:
			t.Errorf("S%d, removal %d: %s without %q, and no test of %s noticed (%s)",
				r.item, i, r.file, r.old, r.pkg, run)
		default:
			noticed++
			failures := strings.Join(failing.FindAllString(out, 3), ", ")
			t.Logf("S%d: %s notices (%s)", r.item, r.pkg, failures)
			if *list {
				t.Log(out)
			}
		}
	}
	t.Logf("%d of %d removals were noticed by a test", noticed, ran)
}

// chosen reports whether -removals names the item.
func chosen(item int) bool {
	return *removed == "all" ||
		slices.Contains(strings.Split(*removed, ","), "S"+strconv.Itoa(item))
}

// apply returns the path of the removal's file, and the file's text without the
// defence. The text is empty, and the test has failed, if the removal does not
// fit.
func (r removal) apply(t *testing.T) (path, mutant string) {
	t.Helper()
	path, src := source(t, r.file)
	mutant, err := without(src, r.old, r.new)
	if err != nil {
		t.Errorf("S%d: %s: %v", r.item, r.file, err)
	}
	return path, mutant
}

// source returns the path and the text of a file of the repository.
func source(t *testing.T, file string) (path, text string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, file))
	require.NoError(t, err)
	src, err := os.ReadFile(path)
	require.NoError(t, err)
	return path, string(src)
}

// without returns src with gone in place of old, which must occur exactly once.
func without(src, old, gone string) (mutant string, err error) {
	if n := strings.Count(src, old); n != 1 {
		return "", fmt.Errorf("%q occurs %d times; bring the list of removals up to date", old, n)
	}
	return strings.Replace(src, old, gone, 1), nil
}

// test runs the tests that match run, with mutant in place of the file at path.
func (r removal) test(t *testing.T, path, mutant, run string) (output string, err error) {
	t.Helper()
	return testOverlaid(t, map[string]string{path: mutant},
		nil, "-timeout=90s", "-run="+run, "./"+r.pkg)
}

// testOverlaid runs go test with these texts in place of the files at these paths,
// and with env added to the environment.
func testOverlaid(t *testing.T, texts map[string]string, env []string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	overlay := overlay(t, texts)
	args = append([]string{"test", "-vet=off", "-count=1", "-overlay=" + overlay}, args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = root, append(append(os.Environ(), "NATIVEOAUTH_OVERLAY="+overlay), env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// overlay writes the file that makes the go command compile texts in place of the
// files at their paths.
func overlay(t *testing.T, texts map[string]string) (path string) {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for path, text := range texts {
		mutant := filepath.Join(dir, fmt.Sprintf("mutant%d.go", len(replace)))
		require.NoError(t, os.WriteFile(mutant, []byte(text), 0o600))
		replace[path] = mutant
	}
	path = filepath.Join(dir, "overlay.json")
	data, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

// unbuilt reports whether the output of go test says that nothing was tested.
func unbuilt(out string) bool {
	return strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]")
}

var failing = regexp.MustCompile(
	`(?m)^\s*--- FAIL: \S+|panic: test timed out|(?m)^panic: .*`)
