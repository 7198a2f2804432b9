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

// leftOut returns the items whose sequences are not played.
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

// TestModel plays random sequences for as long as NATIVEOAUTH_MODEL says.
func TestModel(t *testing.T) {
	length := modelTime(t)
	if *seedFlag != 0 {
		check(t, random(*seedFlag))
		return
	}
	left := leftOut()
	first := uint64(1)
	if length > 10*time.Second {
		first = rand.Uint64() >> 16 // other sequences each time
	}
	next := &atomic.Uint64{}
	next.Store(first)
	var played atomic.Int64
	begun := time.Now()
	found := &findings{known: map[string]int{}}
	t.Run("sequences", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				dirs := dirs(t)
				for time.Since(begun) < length && !t.Failed() {
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

// kindOf names the items whose ingredients seq has.
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

// random returns the sequence of a seed.
func random(seed uint64) sequence {
	r := rand.New(rand.NewPCG(seed, 20))
	one := func(n int) bool { return r.IntN(n) == 0 }
	var seq sequence
	seq.File, seq.Browser = one(12), one(6)
	h := &seq.Provider
	h.Rotation = pick(r, "", "strict", "strict", "grace")
	if one(4) {
		h.Refuses = pick(r, "invalid_request", "invalid_token", "access_denied", "interaction_required", "token_expired", "200", "empty 400", "empty 401")
	}
	if one(5) {
		h.Refreshed = pick(r, "auth_time", "at_hash", "soon", "none", "sub", "iss")
	}
	if one(12) {
		h.TokenStatus = pick(r, 201, 202)
	}
	h.RevokesUser = one(3)
	if one(8) {
		h.RevokesAccess = pick(r, "invalid_token", "unsupported_token_type")
	}
	h.Narrow, h.Registers, h.NoRefresh = one(8), one(4), one(25)

	seq.Ops = append(seq.Ops, op{Do: "login"})
	for range 2 + r.IntN(14) {
		seq.Ops = append(seq.Ops, randomOp(r, *h))
	}
	return seq
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomOp(r *rand.Rand, h habits) op {
	one := func(n int) bool { return r.IntN(n) == 0 }
	o := op{}
	if one(4) {
		o.On = 1
	}
	if one(8) {
		o.Account = secondOf
	}
	switch n := r.IntN(100); {
	case n < 12:
		o.Do = "token"
	case n < 20:
		o.Do = "refresh"
	case n < 26:
		o.Do = "call"
	case n < 30:
		o.Do = "id token"
	case n < 33:
		o.Do = "narrow"
	case n < 42:
		o.Do = pick(r, "session or login", "session or login", "login")
		if one(4) {
			o.User = pick(r, "bob", "bob", "nobody")
			o.Replace = one(3)
		}
		if one(60) {
			o.Account = notUTF8
		}
	case n < 46:
		o.Do = "logout"
		if one(3) {
			o.Deadline = time.Second
		}
	case n < 48:
		o.Do = "session"
	case n < 52:
		o.Do = "restart"
	case n < 54:
		o.Do, o.At = "burst", pick(r, "token", "call", "refresh")
	case n < 55:
		return op{Do: "crowd"}
	case n < 72:
		o.At, o.Answer, o.Times = randomBend(r)
		return op{Do: "bend", At: o.At, Answer: o.Answer, Times: o.Times}
	case n < 75:
		return op{Do: "heal"}
	case n < 80:
		return op{Do: pick(r, "revoke", "forget", "new keys", "new keys", "fast clock", "slow clock")}
	case n < 81:
		return op{Do: "clock back"}
	case n < 83:
		return op{Do: pick(r, "backup", "restore")}
	default:
		return op{Do: "wait", Wait: pick(r, time.Second, 6*time.Second, 20*time.Second, 40*time.Second, idLife, life-30*time.Second, life, time.Hour)}
	}
	if one(20) {
		o.Kill = 1 + r.IntN(20)
	}
	return o
}

func randomBend(r *rand.Rand) (at string, a answer, times int) {
	at = pick(r, "token", "token", "token", "token", "all", "all", "keys", "metadata", "device", "revoke", "register", "api")
	switch r.IntN(8) {
	case 0: // out of reach
		a.Lost = pick(r, "dial", "reset", "answer", "hang")
	case 1: // something in between
		a.Body, a.Status = "html", pick(r, 200, 302, 400, 401, 403, 404, 407, 500, 502, 503)
	case 2: // an overloaded provider
		a.Body, a.Status = pick(r, "html", "json", "empty"), pick(r, 429, 500, 502, 503)
		if a.Status == 429 || a.Status == 503 {
			a.Retry = pick(r, 0, 2, 60)
		}
	case 3: // a refusal
		a.Body, a.Status = "error", pick(r, 400, 400, 401, 403, 200)
		a.Code = pick(r, "invalid_grant", "invalid_request", "invalid_token", "access_denied", "invalid_client", "invalid_scope", "vendor_word")
	case 4:
		a.Body, a.Status = pick(r, "empty", "json", "truncated"), pick(r, 200, 201, 204, 400, 401, 403, 404, 405, 421)
		if a.Body == "truncated" {
			a.Done = r.IntN(2) == 0
		}
	case 5: // good, and late
		a.Delay = pick(r, 3*time.Second, 25*time.Second)
	case 6: // good, and odd
		a.Status = pick(r, 201, 202, 203)
		if r.IntN(3) == 0 {
			a.Status, a.Type = 0, "text/plain"
		}
	case 7:
		a.Life = pick(r, "0", "-1", "none")
	}
	return at, a, pick(r, 0, 1, 1, 2, 3)
}
