package security

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var mutantsFlag = flag.String("mutants", "",
	"change one operator, condition or call after the other in these files, separated by commas "+
		`("all": those of the list), and see a test fail`)

// opposites has the operators that a mutant puts in place of another.
var opposites = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL}, token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.ADD: {token.SUB}, token.SUB: {token.ADD},
}

// mutant is a text that has new in place of the old text from offset on.
type mutant struct {
	offset   int
	old, new string
}

// mutants returns the mutants of a source file: each operator by its opposites,
// each condition that is a call or a name negated, and each call without its
// results left out. It fails if src does not parse.
func mutants(src string) ([]mutant, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	at := func(p token.Pos) int { return files.Position(p).Offset }
	var found []mutant
	negate := func(cond ast.Expr) {
		switch cond.(type) {
		case *ast.CallExpr, *ast.Ident, *ast.SelectorExpr:
			old := src[at(cond.Pos()):at(cond.End())]
			found = append(found, mutant{at(cond.Pos()), old, "!(" + old + ")"})
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.ADD && ofText(n) {
				return false
			}
			for _, op := range opposites[n.Op] {
				found = append(found, mutant{at(n.OpPos), n.Op.String(), op.String()})
			}
			if n.Op == token.LAND || n.Op == token.LOR {
				negate(n.X)
				negate(n.Y)
			}
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				negate(n.X)
			}
		case *ast.IfStmt:
			negate(n.Cond)
		case *ast.SwitchStmt:
			for _, c := range n.Body.List {
				if n.Tag == nil {
					for _, cond := range c.(*ast.CaseClause).List {
						negate(cond)
					}
				}
			}
		case *ast.ExprStmt:
			call := src[at(n.Pos()):at(n.End())]
			if !strings.HasSuffix(call, ".Lock()") && !strings.HasSuffix(call, ".Unlock()") { // it would only hang
				found = append(found, mutant{at(n.Pos()), call, ""})
			}
		}
		return true
	})
	return found, nil
}

// ofText reports whether a sum joins texts, which have no other operator.
func ofText(sum *ast.BinaryExpr) bool {
	for _, e := range []ast.Expr{sum.X, sum.Y} {
		switch e := e.(type) {
		case *ast.BasicLit:
			if e.Kind == token.STRING {
				return true
			}
		case *ast.BinaryExpr:
			if ofText(e) {
				return true
			}
		}
	}
	return false
}

// in returns src with the mutation.
func (m mutant) in(src string) string { return src[:m.offset] + m.new + src[m.offset+len(m.old):] }

// name is the mutant's line before and after. The same line may occur twice in a
// file; an explanation is then of both.
func (m mutant) name(src string) string {
	start := strings.LastIndexByte(src[:m.offset], '\n') + 1
	before, _, _ := strings.Cut(src[start:], "\n")
	after, _, _ := strings.Cut(m.in(src)[start:], "\n")
	return strings.TrimSpace(before) + " → " + strings.TrimSpace(after)
}

// hunted are the files whose mutants are sought. They judge the callback and the ID
// token, or are the session protocol.
var hunted = []string{
	"internal/jose/audience.go",
	"internal/oidc/claims.go",
	"internal/oidc/idtoken.go",
	"internal/session/refresh.go",
	"loopback/handle.go",
	"loopback/paste.go",
	"loopback/response.go",
}

// A survivor is a mutant that no test of its package notices. Each is explained in
// survivors. Tests of other packages notice some of them, too; that is no excuse.
func TestMutants(t *testing.T) {
	t.Parallel()
	for file := range survivors {
		require.Contains(t, hunted, file)
		_, src := source(t, file)
		all, err := mutants(src)
		require.NoError(t, err)
		for mutation, why := range survivors[file] {
			require.NotEmpty(t, why)
			require.True(t, slices.ContainsFunc(all, func(m mutant) bool {
				return m.name(src) == mutation
			}), "%s has no mutant %q any more", file, mutation)
		}
	}
	files := strings.Split(*mutantsFlag, ",")
	switch *mutantsFlag {
	case "":
		return
	case "all":
		files = hunted
	}
	total := map[string]int{}
	for _, file := range files {
		for ending, n := range huntAll(t, file) {
			total[ending] += n
		}
	}
	t.Logf("all files: %s", tally(total))
}

// huntAll hunts the mutants of a file, and counts how they ended.
func huntAll(t *testing.T, file string) map[string]int {
	t.Helper()
	where, src := source(t, file)
	all, err := mutants(src)
	require.NoError(t, err)
	endings := map[string]int{}
	for _, m := range all {
		name := m.name(src)
		ending, by := hunt(t, map[string]string{where: m.in(src)}, path.Dir(file))
		if ending == survived && survivors[file][name] != "" {
			ending = "explained"
		}
		endings[ending]++
		t.Logf("%s %s: line %d: %s", ending, by, strings.Count(src[:m.offset], "\n")+1, name)
		if ending == survived {
			t.Errorf("no test notices this in %s: %q", file, name)
		}
	}
	t.Logf("%s: %s", file, tally(endings))
	return endings
}

const survived = "survived"

// hunt runs the tests of pkg with other texts, until the first one fails. Others may
// go on for long, if what they wait for does not come.
func hunt(t *testing.T, texts map[string]string, pkg string) (ending, by string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "mutant.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay="+overlay(t, texts), "-o", binary, "./"+pkg)
	build.Dir = root
	if build.Run() != nil {
		return "do not build", ""
	}
	defer os.Remove(binary)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, binary, "-test.v", "-test.failfast", "-test.timeout=90s", "-test.skip="+slow)
	run.Dir, run.WaitDelay = filepath.Join(root, pkg), time.Second
	output, err := run.StdoutPipe()
	require.NoError(t, err)
	run.Stderr = run.Stdout
	require.NoError(t, run.Start())
	for lines := bufio.NewScanner(output); by == "" && lines.Scan(); {
		by = failing.FindString(lines.Text())
	}
	if by != "" {
		cancel()
	}
	if run.Wait() == nil && by == "" {
		return survived, ""
	}
	return "killed", strings.TrimSpace(by)
}

// slow are tests with a real browser or keychain. No mutant needs them.
const slow = "Chromium|KeePassXC"

// tally writes counts as "12 killed, 3 explained".
func tally(endings map[string]int) string {
	var parts []string
	for _, ending := range slices.Sorted(maps.Keys(endings)) {
		parts = append(parts, fmt.Sprintf("%d %s", endings[ending], ending))
	}
	return strings.Join(parts, ", ")
}
