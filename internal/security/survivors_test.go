package security

// survivors has the mutants that no test of their package notices, by file, and why
// none has to. A mutant is its line before and after, as TestMutants prints it.
var survivors = map[string]map[string]string{
	"loopback/handle.go": {
		`h.Set("Content-Type", "text/html; charset=utf-8") → `: "" +
			"net/http finds the same in the text",
		`w.Header().Set("Content-Type", "text/plain; charset=utf-8") → `: "" +
			"net/http finds the same in the text",
	},
	"internal/session/refresh.go": {
		"if adopted = <-found; adopted == nil && err != nil { → " +
			"if adopted = <-found; adopted == nil || err != nil {": "" +
			"the journal is read once more; what it says is the same under the lock",
		"if err != nil || bytes.Equal(data, last) { → if err != nil && bytes.Equal(data, last) {": "" +
			"a journal that has not changed is read again, for the same result",
		"if err != nil || j.Open != nil || seen.Open == nil && j.Newest == seen.Newest { → " +
			"if err != nil || j.Open != nil && seen.Open == nil && j.Newest == seen.Newest {": "" +
			"the stored value is read for nothing; adopt refuses it for the same reason",
		"if err != nil || j.Open != nil || seen.Open == nil && j.Newest == seen.Newest { → " +
			"if err != nil && j.Open != nil || seen.Open == nil && j.Newest == seen.Newest {": "" +
			"the stored value is read for nothing; adopt refuses it for the same reason",
		"if err != nil || j.Open != nil || seen.Open == nil && j.Newest == seen.Newest { → " +
			"if err != nil || j.Open != nil || seen.Open != nil && j.Newest == seen.Newest {": "" +
			"the stored value is read for nothing; adopt refuses it for the same reason",
		`k.log().Debug("the tokens of another process are used", "event", "adopt", "account", g.Account) → `: "" +
			"a line of the log",
		`k.log().Info("the refresh was sent and its outcome is unknown; sending once more", "key", a.Key) → `: "" +
			"a line of the log",
		`k.log().Info("the session was refreshed", "event", "refresh", "account", next.Account) → `: "" +
			"a line of the log",
		`k.log().Warn("the refreshed ID token is not used; the earlier one is kept", "err", err) → `: "" +
			"a line of the log",
	},
}
