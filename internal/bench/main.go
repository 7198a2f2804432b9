// Command bench measures this SDK beside what a program would use instead, on
// the same work and in one run. It writes docs/benchmarks.md with its pictures.
// All figures there are from that run.
//
//	cd internal/bench && go run .            # about a quarter of an hour; wants a machine that does nothing else
//	cd internal/bench && go run . -quick -only warm,storm -out /tmp
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// bench is one run.
type bench struct {
	dir   string // for everything that the run makes
	root  string // of the repository
	quick bool   // to try the code; its figures say little
	bin   string // where the programs are built
}

// pick returns n, or few in a quick run.
func (b *bench) pick(n, few int) int {
	if b.quick {
		return few
	}
	return n
}

type measure struct {
	name string
	run  func(*bench) (section, error)
}

var measures = []measure{
	{"warm", warm}, {"expiry", expiry}, {"login", logins}, {"storm", storms}, {"cold", cold},
	{"store", stores}, {"sessions", sessions}, {"flood", floods}, {"weight", weight}, {"fresh", fresh},
	{"network", networks},
}

func main() {
	testing.Init()
	quick := flag.Bool("quick", false, "few and short runs, to try the code")
	only := flag.String("only", "", "names of measures, separated by commas (default all)")
	out := flag.String("out", "", "directory of the document (default docs of the repository)")
	flag.Parse()
	log.SetFlags(0)
	if len(flag.Args()) > 0 && flag.Arg(0) == "junk" {
		junk(flag.Arg(1))
		return
	}
	if err := run(*quick, *only, *out); err != nil {
		log.Fatal(err)
	}
}

func run(quick bool, only, out string) error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	b := &bench{quick: quick, root: filepath.Dir(filepath.Dir(wd))}
	if filepath.Base(wd) != "bench" {
		return errors.New("start it in internal/bench with: go run")
	}
	if out == "" {
		out = filepath.Join(b.root, "docs")
	}
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	start, before := time.Now(), load()
	if err := b.build(); err != nil {
		return err
	}
	var sections []section
	for _, m := range measures {
		if only != "" && !slices.Contains(strings.Split(only, ","), m.name) {
			continue
		}
		began := time.Now()
		s, err := m.run(b)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		log.Printf("%s: %s", m.name, time.Since(began).Round(time.Second))
		for _, r := range s.reaches {
			log.Printf("  %-70s goal %-22s got %-40s %s", r.what, r.goal, r.got, r.verdict())
		}
		sections = append(sections, s)
	}
	return write(out, head(start, before, quick), sections)
}

// build compiles every program once: stripped and without cgo, as it would be
// shipped.
func (b *bench) build() error {
	b.bin = filepath.Join(b.dir, "bin")
	for _, at := range []struct{ dir, pkg string }{{".", "./programs/..."}, {b.root, "./cmd/nativeoauth"}} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.bin+"/", at.pkg)
		cmd.Dir = at.dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", at.pkg, err, text)
		}
	}
	return nil
}

func (b *bench) program(name string) string { return filepath.Join(b.bin, name) }

// head returns the head of the document: what was measured, and on which
// machine.
func head(start time.Time, before string, quick bool) string {
	var t strings.Builder
	t.WriteString("# Benchmarks\n\nWritten by one run of `cd internal/bench && go run .`; every figure is from that run.\n")
	if quick {
		t.WriteString("\n**This was a quick run (-quick), which is for trying the code: its figures say little.**\n")
	}
	t.WriteString("Each measure runs the SDK and its peers in turn, round by round, so that what the machine does meanwhile meets all of them. ")
	t.WriteString("A figure is the median, with the middle half of the runs in brackets.\n\n")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	fmt.Fprintf(&t, "- When: %s, for %s\n", start.UTC().Format("2006-01-02 15:04 UTC"), time.Since(start).Round(time.Second))
	fmt.Fprintf(&t, "- Machine: %s, %d cores, %s memory, Linux %s, %s/%s\n", cpu(), runtime.NumCPU(), memory(), strings.TrimSpace(string(kernel)), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(&t, "- Load average (1, 5, 15 minutes): %s before, %s after, this run's own work in it\n", before, load())
	fmt.Fprintf(&t, "- %s; programs built with CGO_ENABLED=0, -trimpath, -ldflags='-s -w'\n", runtime.Version())
	if info, ok := debug.ReadBuildInfo(); ok {
		var peers []string
		for _, m := range info.Deps {
			peers = append(peers, m.Path+" "+m.Version)
		}
		for _, want := range peerModules {
			if !slices.ContainsFunc(peers, func(p string) bool { return strings.HasPrefix(p, want+" ") }) {
				peers = append(peers, want+" "+versionOf(want))
			}
		}
		peers = slices.DeleteFunc(peers, func(p string) bool { path, _, _ := strings.Cut(p, " "); return !slices.Contains(peerModules, path) })
		slices.Sort(peers)
		fmt.Fprintf(&t, "- Peers: %s\n", strings.Join(peers, ", "))
	}
	return t.String()
}

var peerModules = []string{
	"golang.org/x/oauth2", "github.com/coreos/go-oidc/v3", "github.com/int128/oauth2cli", "github.com/zitadel/oidc/v3", "github.com/hashicorp/cap",
	"github.com/AzureAD/microsoft-authentication-library-for-go", "github.com/zalando/go-keyring",
}

// versionOf returns the version in go.mod of a module that only the programs
// link.
func versionOf(module string) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(out))
}

func load() string {
	data, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(data))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

func procLine(file, prefix string) string {
	data, _ := os.ReadFile(file)
	for l := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == prefix {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}

func cpu() string { return procLine("/proc/cpuinfo", "model name") }

func memory() string {
	var kib float64
	fmt.Sscanf(procLine("/proc/meminfo", "MemTotal"), "%f", &kib)
	return number(kib/(1<<20)) + " GiB"
}

// host stands in for the test that realparts needs. There is none in this
// command.
type host struct {
	testing.TB
	cleanups []func()
}

type failed struct{ reason string }

func (h *host) Helper()                   {}
func (h *host) Cleanup(f func())          { h.cleanups = append(h.cleanups, f) }
func (h *host) Fatal(args ...any)         { panic(failed{fmt.Sprint(args...)}) }
func (h *host) Fatalf(f string, a ...any) { panic(failed{fmt.Sprintf(f, a...)}) }
func (h *host) Skipf(f string, a ...any)  { panic(failed{fmt.Sprintf(f, a...)}) }

func (h *host) end() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
}
