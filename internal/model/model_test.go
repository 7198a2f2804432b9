package model

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seedFlag = flag.Uint64("seed", 0, "play the sequence of this seed only")
	allFlag  = flag.Bool("all", false, "go on after a failure, and print one sequence of each kind")
	openFlag = flag.String("open", "", "items, as 2,4, instead of the list of open faults; none: no item")
)

// leftOut returns the items that no sequence may meet.
func leftOut() (items []int) {
	if *openFlag == "" {
		return open
	}
	for _, text := range strings.Split(*openFlag, ",") {
		if item, err := strconv.Atoi(text); err == nil {
			items = append(items, item)
		}
	}
	return items
}

// check plays one sequence.
func check(t *testing.T, seq sequence) {
	t.Helper()
	if v := run(t, filepath.Join(t.TempDir(), "store"), seq); v != nil {
		t.Fatalf("%s\n%s", v, seq.source())
	}
}

// modelTime is how long random sequences are played.
func modelTime(t *testing.T) time.Duration {
	text := os.Getenv("NATIVEOAUTH_MODEL")
	if text == "" {
		return time.Second
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("NATIVEOAUTH_MODEL: %v", err)
	}
	return length
}

// TestModel plays random sequences for as long as NATIVEOAUTH_MODEL says: up to ten
// minutes the same ones each time, so that what fails is the change, and for longer
// others each time.
func TestModel(t *testing.T) {
	length := modelTime(t)
	if *seedFlag != 0 {
		check(t, random(*seedFlag))
		return
	}
	left := leftOut()
	first := uint64(1)
	if length > 10*time.Minute {
		first = rand.Uint64() >> 16
	}
	next := &atomic.Uint64{}
	next.Store(first)
	var played atomic.Int64
	begun := time.Now()
	found := &findings{known: map[string]int{}}
	t.Run("sequences", func(all *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			all.Run("", func(t *testing.T) {
				t.Parallel()
				dirs := dirs(t)
				for time.Since(begun) < length && !all.Failed() {
					seed := next.Add(1)
					seq := random(seed)
					if slices.ContainsFunc(left, func(item int) bool { return meets(item, seq) }) {
						continue
					}
					played.Add(1)
					if v := run(t, dirs(), seq); v != nil {
						found.add(t, seed, seq, v, dirs)
					}
				}
			})
		}
	})
	t.Logf("%d sequences in %v from seed %d", played.Load(), time.Since(begun).Round(time.Second), first)
	found.report(t)
}

// dirs returns a function that makes directories, and removes them at the end.
func dirs(t *testing.T) func() string {
	root, n := t.TempDir(), 0
	return func() string {
		_ = os.RemoveAll(filepath.Join(root, fmt.Sprint(n)))
		n++
		return filepath.Join(root, fmt.Sprint(n))
	}
}

// findings are the sequences that broke a rule.
type findings struct {
	mu    sync.Mutex
	known map[string]int
	tests []string
}

// add shrinks seq and keeps it. With -all, one of each kind is kept, and the
// run goes on.
func (f *findings) add(t *testing.T, seed uint64, seq sequence, v *violation, dir func() string) {
	same := v.rule
	small := shrink(seq, func(s sequence) bool {
		v := run(t, dir(), s)
		return v != nil && v.rule == same
	})
	if again := run(t, dir(), small); again != nil {
		v = again
	}
	text := fmt.Sprintf("// seed %d\n%s", seed, small.asTest(v))
	if !*allFlag {
		t.Errorf("a rule is broken:\n%s", text)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := kindOf(small, v)
	if f.known[kind]++; f.known[kind] == 1 {
		f.tests = append(f.tests, "// "+kind+"\n"+text)
	}
}

// kindOf names the items that seq may meet.
func kindOf(seq sequence, v *violation) string {
	var items []string
	for item := range 30 {
		if meets(item, seq) {
			items = append(items, fmt.Sprint(item))
		}
	}
	return fmt.Sprintf("%s, items %s", v.rule, cmp.Or(strings.Join(items, " "), "none"))
}

func (f *findings) report(t *testing.T) {
	slices.Sort(f.tests)
	for _, text := range f.tests {
		fmt.Println(text)
	}
	for kind, n := range f.known {
		t.Logf("%4d × %s", n, kind)
	}
}

// random returns the sequence of a seed. In every third one nothing ends a
// session but Logout: there are outages and firewalls only.
func random(seed uint64) sequence {
	r := rand.New(rand.NewPCG(seed, 20))
	g := generator{r, r.IntN(3) == 0}
	seq := sequence{File: g.one(12), Browser: g.one(6)}
	if g.mild {
		seq.Provider.Rotation = pick(r, "", "strict", "grace")
	} else {
		seq.Provider = g.habits()
	}
	seq.Ops = append(seq.Ops, op{Do: "login"})
	for range 2 + r.IntN(14) {
		o := g.op()
		switch {
		case o.Deadline > 0 && g.one(2): // else it has no need of the deadline
			slow := answer{Delay: 3 * time.Second}
			seq.Ops = append(seq.Ops, op{Do: "bend", At: "revoke", Answer: slow, Times: 1})
		case o.Do == "restore":
			seq.Ops = slices.Insert(seq.Ops, 1+r.IntN(len(seq.Ops)), op{Do: "backup"})
		}
		seq.Ops = append(seq.Ops, o)
	}
	// A login that waits before it fetches the keys again holds the browser's request
	// meanwhile, and a bubble's clock stands still while a connection is read.
	if slices.ContainsFunc(seq.Ops, func(o op) bool { return o.Do == "bend" && (o.At == "keys" || o.At == "all") }) {
		seq.Browser = false
	}
	return seq
}

type generator struct {
	*rand.Rand
	mild bool
}

func (g generator) one(n int) bool { return g.IntN(n) == 0 }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func (g generator) habits() (h habits) {
	h.Rotation = pick(g.Rand, "", "strict", "strict", "grace")
	if g.one(4) {
		h.Refuses = pick(g.Rand,
			"invalid_request", "invalid_token", "access_denied", "interaction_required", "token_expired",
			"200", "empty 400", "empty 401")
	}
	if g.one(5) {
		h.Refreshed = pick(g.Rand, "auth_time", "at_hash", "soon", "none", "sub", "iss")
	}
	if g.one(12) {
		h.TokenStatus = pick(g.Rand, 201, 202)
	}
	h.RevokesUser = g.one(3)
	if g.one(8) {
		h.RevokesAccess = pick(g.Rand, "invalid_token", "unsupported_token_type", "invalid_request")
	}
	h.Narrow, h.Registers, h.NoRefresh = g.one(8), g.one(4), g.one(25)
	return h
}

func (g generator) op() op {
	var o op
	switch n := g.IntN(100); {
	case n < 45:
		o = g.call()
	case n < 62:
		o.Do = "bend"
		o.At, o.Answer, o.Times = g.bend()
		return o
	case n < 66:
		return op{Do: "heal"}
	case n < 74:
		if g.mild {
			return op{Do: "new keys"}
		}
		return op{Do: pick(g.Rand,
			"revoke", "revoke", "forget", "new keys", "new keys", "fast clock", "slow clock",
			"clock back", "restore")}
	case n < 76:
		return op{Do: "crowd"}
	default:
		return op{Do: "wait", Wait: pick(g.Rand, time.Second, 6*time.Second, 20*time.Second, 40*time.Second,
			idLife, life-30*time.Second, life, time.Hour, 25*time.Hour)}
	}
	if g.one(4) {
		o.On = 1
	}
	if g.one(5) {
		o.Account = secondOf
	}
	if g.one(20) && !g.mild {
		o.Kill = 1 + g.IntN(20)
	}
	if g.one(300) {
		o.Account = notUTF8
	}
	return o
}

// call returns a call of the SDK.
func (g generator) call() (o op) {
	o.Do = pick(g.Rand, "token", "token", "token", "refresh", "refresh", "call", "call",
		"id token", "narrow", "session",
		"session or login", "session or login", "login", "logout", "restart", "burst")
	switch o.Do {
	case "session or login", "login":
		if g.one(3) {
			o.User, o.Replace = pick(g.Rand, "bob", "bob", "nobody"), g.one(3)
		}
	case "logout":
		if g.one(3) {
			o.Deadline = time.Second
		}
	case "burst":
		o.At = pick(g.Rand, "token", "call", "refresh")
	}
	return o
}

// bend returns how an endpoint answers, and how often.
func (g generator) bend() (at string, a answer, times int) {
	at = pick(g.Rand, "token", "token", "token", "token", "all", "all",
		"keys", "metadata", "device", "revoke", "register", "api")
	kinds := 8
	if g.mild {
		kinds = 3
	}
	switch g.IntN(kinds) {
	case 0: // out of reach
		a.Lost = pick(g.Rand, "dial", "reset", "hang", "answer")
		if g.mild && a.Lost == "answer" {
			a.Lost = "hang"
		}
	case 1: // something in between
		a.Body, a.Status = "html", pick(g.Rand, 200, 302, 400, 401, 403, 404, 407, 500, 502, 503)
	case 2: // an overloaded provider
		a.Body, a.Status = pick(g.Rand, "html", "json", "empty"), pick(g.Rand, 429, 500, 502, 503)
		if a.Status == 429 || a.Status == 503 {
			a.Retry = pick(g.Rand, 0, 2, 60)
		}
	case 3: // a refusal
		a.Body, a.Status = "error", pick(g.Rand, 400, 400, 401, 403, 200)
		a.Code = pick(g.Rand,
			"invalid_grant", "invalid_request", "invalid_token", "access_denied",
			"invalid_client", "invalid_scope", "vendor_word")
	case 4:
		a.Body = pick(g.Rand, "empty", "json", "truncated")
		a.Status = pick(g.Rand, 200, 201, 204, 400, 401, 403, 404, 405, 421)
		a.Done = a.Body == "truncated" && g.one(2)
	case 5: // good, and late
		a.Delay = pick(g.Rand, 3*time.Second, 25*time.Second)
	case 6: // good, and odd
		a.Status = pick(g.Rand, 201, 202, 203)
		if g.one(3) {
			a.Status, a.Type = 0, pick(g.Rand, "text/plain", "text/html")
		}
	case 7:
		a.Life = pick(g.Rand, "0", "-1", "none")
	}
	return at, a, pick(g.Rand, 0, 1, 1, 2, 3)
}
