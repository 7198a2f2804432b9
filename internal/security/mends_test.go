package security

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	mendsFlag = flag.String("mends", "",
		`take away the mends of these faults ("all", "13", "2,13"), and see internal/model fail;`+
			` "": only check that each removal still fits`)
	randomFlag = flag.Duration("mends.random", 0,
		"after each mend is taken away, play random sequences for so long, and say whether they notice")
)

// edit takes a piece of source text out: old becomes new in file. old must occur
// there exactly once.
type edit struct{ file, old, new string }

// mends are what mends the known faults of stored sessions, by the items of
// internal/model/known_test.go. Without one of them, a known sequence of its
// item, or of item 0, must fail. If each of two mends prevents a fault alone,
// both are taken away together.
var mends = []struct {
	item  int
	edits []edit
}{
	{1, []edit{{"internal/session/send.go", "if !registered {", "if true {"}}},
	{1, []edit{{"oauthclient/registration.go", "if err != nil || string(doubted) != kept.ID {", "if true || string(doubted) != kept.ID {"}}},
	{1, []edit{{"oauthclient/registration.go", "!timedOut && !unknown", "(true || !timedOut) && !unknown"}}},
	{2, []edit{{"oauthclient/provider.go", "case errors.Is(err, oidc.ErrIDToken):\n\t\treturn fmt.Errorf(\"%w: %w\", session.ErrRejected, err)", "case false:"}}},
	{2, []edit{{"oauthclient/provider.go", "case errors.Is(err, oidc.ErrIdentity):", "case false:"}}},
	{2, []edit{{"oauthclient/adopt.go", "l.account.NeedsLogin(idTokenExpired) ||", "false ||"}}},
	{2, []edit{{"oauthclient/session.go", "if g.IDTokenRejected && (!refreshed || s.account.FirstRejection(g)) {", "if false && !refreshed {"}}},
	{2, []edit{{"oauthclient/session.go", "if errors.Is(err, session.ErrAbsent) {", "if false {"}}},
	{2, []edit{{"internal/session/token.go", "if errors.Is(err, ErrNoRefreshToken) && !f.slot.Main()", "if false && !f.slot.Main()"}}},
	{3, []edit{{"internal/session/send.go", "return Doubtful\n", "return Refused\n"}}},
	{3, []edit{{"internal/session/send.go", "case http.StatusOK, http.StatusCreated, http", "case http"}}},
	{3, []edit{{"internal/session/send.go", "case e.Foreign:", "case false:"}}},
	{3, []edit{{"oauthclient/adopt.go", "if l.account.Doubted() {", "if false {"}}},
	{4, []edit{{"internal/oauth/token.go", "if resp.Status < 200 || resp.Status > 299 {", "if resp.Status != 200 {"}}},
	{5, []edit{{"internal/session/cached.go", "|| a.ended.Load() ||", "||"}}},
	{5, []edit{{"internal/session/token.go", "if seen, serr := keeper.Read(life, a.Key); serr == nil {", "if seen, serr := keeper.Read(life, a.Key); false && serr == nil {"}}},
	{6, []edit{{"internal/session/refresh.go", "if next == nil && a.SendWhole != nil && refused", "if false && next == nil && a.SendWhole != nil && refused"}}},
	{7, []edit{{"oauthclient/logout.go", "c.keeper.Logout(c.life, ctx, a.Key", "c.keeper.Logout(ctx, ctx, a.Key"}}},
	{7, []edit{{"internal/session/signout.go", "\tgone(gen)\n", ""}}},
	{8, []edit{
		{"oauthclient/login.go", "if seen.Leaving {", "if false {"},
		{"internal/session/signin.go", "k.remove(held, key, &j, hangs)", "k.finishLogout(held, key, &j, hangs)"},
	}},
	{9, []edit{{"oauthclient/login.go", "if r.Issuer == g.Issuer && (", "if false && ("}}},
	{10, []edit{{"internal/session/cached.go", "return s.user == now\n", "return true\n"}}},
	{11, []edit{{"oauthclient/client.go", "if !utf8.ValidString(name) {", "if false && !utf8.ValidString(name) {"}}},
	{12, []edit{{"internal/session/grant.go", "life = shortLife", "life = 0"}}},
	{13, []edit{{"internal/session/keeper.go", "case g.Generation < j.Stored:", "case false:"}}},
	{13, []edit{{"internal/session/keeper.go", "case g.Generation < j.Stored:", "case g.Generation < j.Newest:"}}},
	{16, []edit{{"internal/session/token.go", "err != nil && !early {", "err != nil && false {"}}},
	{16, []edit{
		{"internal/session/send.go", "firstBackOff = time.Second", "firstBackOff = time.Minute"},
		{"internal/session/send.go", "openBackOff  = 6 * time.Second", "openBackOff  = time.Minute"},
	}},
	{16, []edit{{"oauthclient/transport.go", "if s.client.rejected.inVain(at, h, why) {", "if false {"}}},
	{17, []edit{{"internal/session/account.go", "time.After(loadWait)", "time.After(time.Hour)"}}},
	{19, []edit{{"oauthclient/provider.go", "case errors.Is(err, jose.ErrUnsigned):", "case false:"}}},
	{19, []edit{{"internal/session/backoff.go", "first, longest = firstBackOff, openBackOff\n\tcase errors.As(err, &narrow):", "first, longest = 0, 0\n\tcase errors.As(err, &narrow):"}}},
	{19, []edit{{"internal/session/refresh.go", "return nil, &uncheckedError{err}", "j.Mismatch = g.Generation\n\t\treturn nil, ErrMismatch"}}},
	{20, []edit{{"oauthclient/provider.go", "if ended && errors.As(err, &refused) &&", "if false && errors.As(err, &refused) &&"}}},
}

// Without flags, each removal of a mend must fit the source. With -mends, the
// mends are taken away one after the other, and the known sequences must notice.
// Whether random sequences notice too is only logged, because it depends on how
// long they are played.
func TestMends(t *testing.T) {
	for i, m := range mends {
		name := fmt.Sprintf("item %d, removal %d (%s)", m.item, i, m.edits[0].file)
		texts, err := edited(t, m.edits)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		item := strconv.Itoa(m.item)
		if *mendsFlag != "all" && !slices.Contains(strings.Split(*mendsFlag, ","), item) {
			continue
		}
		out, err := testOverlaid(t, texts, nil, "-timeout=90s", "-run=^TestKnown$/^(0|"+item+")_", "./internal/model")
		switch {
		case unbuilt(out):
			t.Errorf("%s: does not build:\n%s", name, out)
			continue
		case err == nil || !knownFailure.MatchString(out):
			t.Errorf("%s: no known sequence noticed:\n%s", name, out)
		default:
			t.Logf("%s: noticed: %q", name, knownFailure.FindAllString(out, 3))
		}
		if *randomFlag == 0 {
			continue
		}
		out, err = testOverlaid(t, texts, []string{"NATIVEOAUTH_MODEL=" + randomFlag.String()},
			"-run=^TestModel$", "./internal/model")
		switch {
		case err == nil:
			t.Logf("%s: random sequences did not notice", name)
		case !foundBy.MatchString(out):
			t.Errorf("%s: random sequences were not played:\n%s", name, out)
		default:
			t.Logf("%s: random sequences noticed: %q", name, foundBy.FindAllString(out, -1))
		}
	}
}

// edited returns the texts of the edited files, by their paths.
func edited(t *testing.T, edits []edit) (texts map[string]string, err error) {
	t.Helper()
	texts = map[string]string{}
	for _, e := range edits {
		path, src := source(t, e.file)
		if text, ok := texts[path]; ok { // an earlier edit of the same file
			src = text
		}
		if texts[path], err = without(src, e.old, e.new); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

var (
	knownFailure = regexp.MustCompile(`--- FAIL: TestKnown/\S+|panic: .*`)
	foundBy      = regexp.MustCompile(`// seed [0-9]+|[0-9]+ sequences in|panic: .*`)
)
