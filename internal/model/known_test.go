package model

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// open are the items of the list of faults that are not mended yet. Take an
// item out with its mend.
var open = []int{}

// known are sequences that show a fault, by its item in the list. Each must
// pass once the item is mended, and fail without the mend. Item 0 has always
// been right, and must stay so.
var known = []struct {
	item int
	name string
	sequence
}{
	{0, "a lost answer, and the grace that the provider gives", sequence{
		Provider: habits{Rotation: "grace"},
		Ops: []op{
			{Do: "login"},
			{Do: "wait", Wait: time.Minute},
			{Do: "bend", At: "token", Answer: answer{Lost: "answer"}, Times: 2},
			{Do: "refresh"},
			{Do: "wait", Wait: 10 * time.Second},
			{Do: "token"},
			{Do: "wait", Wait: 10 * time.Second},
			{Do: "token"},
			{Do: "wait", Wait: life},
			{Do: "refresh"},
			{Do: "alive"},
		},
	}},
	{0, "a lost answer, and the grace for a new process", sequence{
		Provider: habits{Rotation: "grace"},
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "token", Answer: answer{Lost: "answer"}, Times: 2},
			{Do: "refresh"},
			{Do: "wait", Wait: 15 * time.Second},
			{Do: "restart"},
			{Do: "session"},
			{Do: "wait", Wait: life},
			{Do: "refresh"},
			{Do: "alive"},
		},
	}},
	{0, "an outage of two minutes with a lost answer in a non-rotating provider", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "all", Answer: answer{Lost: "answer"}},
			{Do: "wait", Wait: life},
			{Do: "call"},
			{Do: "wait", Wait: 2 * time.Minute},
			{Do: "call"},
			{Do: "heal"},
			{Do: "wait", Wait: 2 * time.Minute},
			{Do: "refresh"},
			{Do: "alive"},
		},
	}},
	{1, "a forgotten client", sequence{
		Provider: habits{Registers: true},
		Ops: []op{
			{Do: "login"},
			{Do: "forget"},
		},
	}},
	{1, "a forgotten client, after a sign-out", sequence{
		Provider: habits{Registers: true},
		Ops: []op{
			{Do: "login"},
			{Do: "logout"},
			{Do: "forget"},
		},
	}},
	{1, "a forgotten client, and the user sees only a page", sequence{
		Provider: habits{Registers: true},
		Browser:  true,
		Ops: []op{
			{Do: "login"},
			{Do: "logout"},
			{Do: "forget"},
		},
	}},
	{2, "a new auth_time at each refresh", sequence{
		Provider: habits{Refreshed: "auth_time"},
		Ops:      []op{{Do: "login"}},
	}},
	{2, "a stale at_hash at each refresh", sequence{
		Provider: habits{Refreshed: "at_hash"},
		Ops:      []op{{Do: "login"}},
	}},
	{2, "another sub at each refresh", sequence{
		Provider: habits{Refreshed: "sub"},
		Ops:      []op{{Do: "login"}},
	}},
	{2, "another iss at each refresh", sequence{
		Provider: habits{Refreshed: "iss"},
		Ops:      []op{{Do: "login"}},
	}},
	{2, "an ID token that expires at once", sequence{
		Provider: habits{Refreshed: "soon"},
		Ops:      []op{{Do: "login"}},
	}},
	{2, "an ID token that expires at once, and a token that works", sequence{
		Provider: habits{Refreshed: "soon"},
		Ops: []op{
			{Do: "login"},
			{Do: "wait", Wait: life},
			{Do: "id token"},
			{Do: "token"},
			{Do: "session or login"},
		},
	}},
	{2, "no ID token at a refresh", sequence{
		Provider: habits{Refreshed: "none"},
		Ops:      []op{{Do: "login"}},
	}},
	{2, "an ID token that cannot be refreshed", sequence{
		Provider: habits{NoRefresh: true},
		Ops:      []op{{Do: "login"}, {Do: "wait", Wait: idLife}},
	}},
	{2, "an ID token of another process, long ago", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "refresh", On: 1},
			{Do: "wait", Wait: idLife},
		},
	}},
	{2, "an ID token after another process signed in again", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "logout"},
			{Do: "login", On: 1},
			{Do: "id token"},
		},
	}},
	{2, "a clock that drifts", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "fast clock"},
			{Do: "wait", Wait: life},
			{Do: "burst", At: "token"},
		},
	}},
	{2, "an ID token that failed, and a narrower token", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "wait", Wait: time.Hour},
			{Do: "slow clock"},
			{Do: "id token"},
			{Do: "narrow"},
		},
	}},
	{2, "an ID token that failed twice before it was asked for", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "slow clock"},
			{Do: "wait", Wait: time.Hour},
			{Do: "id token"},
			{Do: "burst", At: "refresh"},
		},
	}},
	{2, "a narrower token without a refresh token", sequence{
		Provider: habits{NoRefresh: true},
		Ops:      []op{{Do: "login"}, {Do: "revoke"}, {Do: "narrow"}, {Do: "session or login"}},
	}},
	{3, "invalid_request", sequence{
		Provider: habits{Refuses: "invalid_request"},
		Ops:      []op{{Do: "login"}, {Do: "revoke"}},
	}},
	{3, "invalid_token", sequence{
		Provider: habits{Refuses: "invalid_token"},
		Ops:      []op{{Do: "login"}, {Do: "revoke"}},
	}},
	{3, "access_denied", sequence{
		Provider: habits{Refuses: "access_denied"},
		Ops:      []op{{Do: "login"}, {Do: "revoke"}},
	}},
	{3, "interaction_required", sequence{
		Provider: habits{Refuses: "interaction_required"},
		Ops:      []op{{Do: "login"}, {Do: "revoke"}},
	}},
	{3, "a word of the vendor's", sequence{
		Provider: habits{Refuses: "token_expired"},
		Ops:      []op{{Do: "login"}, {Do: "revoke"}},
	}},
	{3, "an error in a 200", sequence{
		Provider: habits{Refuses: "200"},
		Ops:      []op{{Do: "login"}, {Do: "revoke"}},
	}},
	{3, "a bare 400", sequence{
		Provider: habits{Refuses: "empty 400"},
		Ops:      []op{{Do: "login"}, {Do: "revoke"}},
	}},
	{3, "a bare 401", sequence{
		Provider: habits{Refuses: "empty 401"},
		Ops:      []op{{Do: "login"}, {Do: "revoke"}},
	}},
	{5, "a session that the provider doubts, and an answer of no use", sequence{
		Provider: habits{Refuses: "200"},
		Ops: []op{
			{Do: "login"},
			{Do: "revoke"},
			{Do: "refresh"},
			{Do: "wait", Wait: 10 * time.Second},
			{Do: "refresh"},
			{Do: "wait", Wait: 40 * time.Second},
			{Do: "bend", At: "token", Answer: answer{Status: 204, Body: "empty"}},
			{Do: "session or login"},
		},
	}},
	{3, "a firewall that answers", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "token", Answer: answer{Status: 403, Body: "html"}},
			{Do: "wait", Wait: life},
			{Do: "token"},
			{Do: "wait", Wait: 20 * time.Second},
			{Do: "token"},
			{Do: "wait", Wait: 20 * time.Second},
			{Do: "session or login"},
			{Do: "alive"},
		},
	}},
	{4, "a token response of status 201", sequence{
		Provider: habits{TokenStatus: 201},
		Ops:      []op{{Do: "login"}},
	}},
	{4, "a refresh that is answered with 201 once", sequence{
		Provider: habits{Rotation: "strict"},
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "token", Answer: answer{Status: 201}, Times: 1},
			{Do: "refresh"},
			{Do: "refresh"},
		},
	}},
	{5, "a revoked session", sequence{
		Ops: []op{{Do: "login"}, {Do: "revoke"}},
	}},
	{5, "a revoked session whose token is used on", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "revoke"},
			{Do: "refresh"},
			{Do: "token"},
		},
	}},
	{6, "a narrowed token that is refused", sequence{
		Provider: habits{Narrow: true},
		Ops: []op{
			{Do: "login"},
			{Do: "narrow"},
		},
	}},
	{5, "a sign-out that ends another account's session", sequence{
		Provider: habits{RevokesUser: true},
		Ops: []op{
			{Do: "login"},
			{Do: "login", Account: secondOf},
			{Do: "logout"},
		},
	}},
	{7, "a sign-out with a deadline", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "revoke", Answer: answer{Delay: 3 * time.Second}},
			{Do: "logout", Deadline: time.Second},
		},
	}},
	{8, "a sign-in after an unfinished sign-out", sequence{
		Provider: habits{RevokesUser: true},
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "revoke", Answer: answer{Lost: "hang"}, Times: 1},
			{Do: "logout", Deadline: time.Second},
			{Do: "login"},
		},
	}},
	{8, "a sign-in after a process died in a sign-out", sequence{
		Provider: habits{RevokesUser: true},
		Ops: []op{
			{Do: "login"},
			{Do: "logout", Kill: 10},
			{Do: "session or login"},
		},
	}},
	{9, "bob's browser answers for alice", sequence{
		Provider: habits{RevokesUser: true},
		Ops: []op{
			{Do: "login"},
			{Do: "login", Account: secondOf, User: "bob"},
			{Do: "login", User: "bob"},
		},
	}},
	{9, "alice is replaced in one of two accounts", sequence{
		Provider: habits{RevokesUser: true},
		Ops: []op{
			{Do: "login"},
			{Do: "login", Account: secondOf},
			{Do: "login", User: "bob", Replace: true},
		},
	}},
	{10, "another user under a live session", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "token", On: 1},
			{Do: "logout"},
			{Do: "login", User: "bob"},
			{Do: "wait", Wait: life},
			{Do: "token", On: 1},
		},
	}},
	{11, "an account name that is not UTF-8", sequence{
		Ops: []op{{Do: "login", Account: notUTF8}},
	}},
	{12, "tokens without life", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "token", Answer: answer{Life: "0"}},
			{Do: "wait", Wait: life},
			{Do: "burst", At: "token"},
		},
	}},
	{12, "a clock that was set back", sequence{
		Ops: []op{
			{Do: "wait", Wait: time.Hour},
			{Do: "login"},
			{Do: "clock back"},
			{Do: "burst", At: "token"},
		},
	}},
	{13, "an older value beside a newer record", sequence{
		Provider: habits{Rotation: "strict"},
		Ops: []op{
			{Do: "login"},
			{Do: "backup"},
			{Do: "refresh"},
			{Do: "restore"},
			{Do: "restart"},
			{Do: "refresh"},
		},
	}},
	{13, "a value whose refresh has only begun", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "refresh", Kill: 11},
			{Do: "token"},
			{Do: "alive"},
		},
	}},
	{16, "many calls while the provider is down", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "all", Answer: answer{Status: 502, Body: "html"}},
			{Do: "wait", Wait: life},
			{Do: "burst", At: "token"},
		},
	}},
	{16, "many calls while the provider is out of reach", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "token", Answer: answer{Lost: "dial"}},
			{Do: "wait", Wait: life},
			{Do: "burst", At: "token"},
		},
	}},
	{16, "many calls that the API refuses with every token", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "api", Answer: answer{Status: 401, Body: "empty"}},
			{Do: "burst", At: "call"},
		},
	}},
	{16, "a lost answer, an expired token, and the grace", sequence{
		Provider: habits{Rotation: "grace"},
		Ops: []op{
			{Do: "login"},
			{Do: "wait", Wait: life},
			{Do: "bend", At: "token", Answer: answer{Lost: "answer"}, Times: 2},
			{Do: "token"},
			{Do: "wait", Wait: 10 * time.Second},
			{Do: "token"},
			{Do: "wait", Wait: time.Minute},
			{Do: "token"},
			{Do: "alive"},
		},
	}},
	{16, "many calls that the API refuses while refreshes fail", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "revoke"},
			{Do: "bend", At: "token", Answer: answer{Status: 502, Body: "html"}},
			{Do: "burst", At: "call"},
		},
	}},
	{17, "a provider that is slow after a process died", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "refresh", Kill: 11},
			{Do: "bend", At: "all", Answer: answer{Delay: 3 * time.Second}},
			{Do: "session"},
		},
	}},
	{17, "a provider that hangs while a token is valid", sequence{
		Provider: habits{Rotation: "grace"},
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "token", Answer: answer{Status: 502, Body: "html"}, Times: 2},
			{Do: "refresh"},
			{Do: "restart"},
			{Do: "bend", At: "token", Answer: answer{Lost: "hang"}},
			{Do: "session"},
		},
	}},
	{19, "keys that cannot be fetched after a change", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "new keys"},
			{Do: "bend", At: "keys", Answer: answer{Status: 503, Body: "html"}, Times: 2},
			{Do: "refresh"},
			{Do: "refresh"},
		},
	}},
	{19, "a key that is withdrawn after a process died", sequence{
		Ops: []op{{Do: "login"}, {Do: "refresh", Kill: 13}, {Do: "new keys"}},
	}},
	{19, "keys withdrawn in a long outage of the keys", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "wait", Wait: 25 * time.Hour},
			{Do: "bend", At: "keys", Answer: answer{Lost: "reset"}},
			{Do: "token"},
			{Do: "new keys"},
		},
	}},
	{19, "keys that change twice in a minute", sequence{
		Ops: []op{{Do: "login"}, {Do: "new keys"}, {Do: "refresh"}, {Do: "new keys"}, {Do: "refresh"}},
	}},
	{19, "keys that were away and changed, and a session that was revoked", sequence{
		Provider: habits{Refuses: "token_expired"},
		Ops: []op{
			{Do: "login"},
			{Do: "wait", Wait: 25 * time.Hour},
			{Do: "bend", At: "keys", Answer: answer{Status: 401, Body: "html"}},
			{Do: "session or login"},
			{Do: "new keys"},
			{Do: "revoke"},
		},
	}},
	{19, "many calls while the keys cannot be fetched", sequence{
		Ops: []op{
			{Do: "login"},
			{Do: "bend", At: "keys", Answer: answer{Status: 401, Body: "html"}},
			{Do: "restart"},
			{Do: "burst", At: "refresh"},
		},
	}},
	{20, "an access token that cannot be revoked", sequence{
		Provider: habits{RevokesAccess: "unsupported_token_type"},
		Ops:      []op{{Do: "login"}, {Do: "logout"}},
	}},
}

func TestKnown(t *testing.T) {
	for _, k := range known {
		t.Run(fmt.Sprintf("%d %s", k.item, k.name), func(t *testing.T) {
			if slices.Contains(leftOut(), k.item) {
				t.Skip("an open fault")
			}
			check(t, k.sequence)
		})
	}
}

// meets reports whether seq has what it takes to meet the fault of an item.
func meets(item int, seq sequence) bool {
	f := ingredients[item]
	return f != nil && f(seq, seq.Provider)
}

// ingredients are rather too wide than too narrow.
var ingredients = map[int]func(sequence, habits) bool{
	1: func(s sequence, h habits) bool {
		return h.Registers && (s.does("forget") ||
			s.bends(func(a answer) bool { return a.Code == "invalid_client" }))
	},
	2: func(s sequence, h habits) bool {
		return h.Refreshed != "" || h.NoRefresh || s.does("fast clock", "slow clock") ||
			s.has(func(o op) bool {
				return o.On == 1 || o.Do == "crowd" || o.Do == "restart" || o.Kill > 0 || o.At == "keys" || o.At == "all"
			}) && (s.Browser || s.does("logout") || s.waits() >= idLife)
	},
	3: func(s sequence, h habits) bool {
		counts := func(a answer) bool { return a.counts(h.Registers) && a.Code != "invalid_grant" }
		return h.Refuses != "" || s.bends(counts, "token", "all")
	},
	4: func(s sequence, h habits) bool {
		return h.TokenStatus != 0 ||
			s.bends(func(a answer) bool { return a.Status/100 == 2 && a.Status != 200 }, "token", "all")
	},
	5: func(s sequence, h habits) bool {
		return s.does("revoke") || h.RevokesUser && s.does("logout") ||
			s.bends(func(a answer) bool { return a.Code == "invalid_grant" }, "token", "all") ||
			h.Rotation != "" && (s.kills() || s.bends(answer.loses, "token", "all"))
	},
	6: func(s sequence, h habits) bool { return h.Narrow && s.does("narrow") },
	7: func(s sequence, _ habits) bool {
		return s.has(func(o op) bool { return o.Do == "logout" && o.Deadline > 0 })
	},
	8: func(s sequence, h habits) bool {
		return h.RevokesUser && s.has(func(o op) bool {
			return o.Do == "logout" && (o.Deadline > 0 || o.Kill > 0)
		})
	},
	9:  func(s sequence, h habits) bool { return h.RevokesUser && s.does("login", "session or login") },
	10: func(s sequence, _ habits) bool { return s.has(func(o op) bool { return o.User == "bob" }) },
	11: func(s sequence, _ habits) bool { return s.has(func(o op) bool { return o.Account == notUTF8 }) },
	12: func(s sequence, _ habits) bool {
		return s.does("clock back") || s.bends(func(a answer) bool { return a.Life != "" })
	},
	13: func(s sequence, _ habits) bool { return s.does("restore") },
	16: func(s sequence, _ habits) bool { return s.does("burst") },
	17: func(s sequence, _ habits) bool {
		return s.bends(func(a answer) bool { return a.Delay > 0 || a.Lost == "hang" })
	},
	19: func(s sequence, _ habits) bool { return s.does("new keys") },
	20: func(_ sequence, h habits) bool { return h.RevokesAccess != "" },
}

func (s sequence) has(f func(op) bool) bool { return slices.ContainsFunc(s.Ops, f) }

func (s sequence) does(what ...string) bool {
	return s.has(func(o op) bool { return slices.Contains(what, o.Do) })
}

func (s sequence) kills() bool { return s.has(func(o op) bool { return o.Kill > 0 }) }

// bends reports whether an answer of one of the endpoints is bent so. No
// endpoint stands for all.
func (s sequence) bends(f func(answer) bool, endpoints ...string) bool {
	return s.has(func(o op) bool {
		return o.Do == "bend" && f(o.Answer) && (endpoints == nil || slices.Contains(endpoints, o.At))
	})
}

// waits is how long the sequence waits at most.
func (s sequence) waits() (sum time.Duration) {
	for i, o := range s.Ops {
		sum += o.Wait + 30*time.Second
		if i > 0 && (o.Do == "login" || o.Do == "session or login") {
			sum += 5 * time.Minute // for a provider that does not answer
		}
	}
	return sum
}
