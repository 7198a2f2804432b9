package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

func cores() string { return fmt.Sprintf("%d cores", runtime.NumCPU()) }

// coldProgram is a program that prints its stored token.
type coldProgram struct {
	name string
	ours bool
	path string
	args []string
	env  []string
}

// start runs the program once and returns how long it took, in ms.
func (c *coldProgram) start() (float64, error) {
	cmd := exec.Command(c.path, c.args...)
	cmd.Env = append(os.Environ(), c.env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	began := time.Now()
	err := cmd.Run()
	took := ms(time.Since(began))
	if err != nil || out.Len() == 0 {
		return 0, fmt.Errorf("%s: %v %s", c.name, err, said.String())
	}
	return took, nil
}

// cold starts a program that has a valid session stored, to print its token.
func cold(b *bench) (section, error) {
	p, err := startProvider(b.dir, terms{Lifetime: 24 * time.Hour})
	if err != nil {
		return section{}, err
	}
	defer p.Close()
	home, err := os.MkdirTemp(b.dir, "home-")
	if err != nil {
		return section{}, err
	}
	_, keyFile, key, err := sealedDir(b.dir)
	if err != nil {
		return section{}, err
	}
	dir := home + "/.local/state/nativeoauth/sealed" // the directory of the command
	client, _, err := p.session(tokenstore.NewFile(dir, key))
	if err != nil {
		return section{}, err
	}
	client.Close()
	token, err := p.tokens(context.Background())
	if err != nil {
		return section{}, err
	}
	file := home + "/token.json"
	if err := os.WriteFile(file, []byte(tokenFile(token)), 0o600); err != nil {
		return section{}, err
	}
	who := []string{"NATIVEOAUTH_ISSUER=" + p.Issuer(), "NATIVEOAUTH_CLIENT_ID=" + clientID, "BENCH_ISSUER=" + p.Issuer(), "BENCH_CLIENT=" + clientID}
	with := func(env ...string) []string { return append(append([]string{}, who...), env...) }
	sealed := with("HOME="+home, "NATIVEOAUTH_STORE=file", "NATIVEOAUTH_KEY_FILE="+keyFile)
	programs := []*coldProgram{
		{name: "Go hello-world (the floor)", path: b.program("hello")},
		{name: "nativeoauth token, sealed file", ours: true, path: b.program("nativeoauth"), args: []string{"token"}, env: sealed},
		{name: "ten lines with this SDK, sealed file", ours: true, path: b.program("sdk"), env: with("HOME="+home, "BENCH_FILE="+dir, "BENCH_KEY="+keyFile)},
		{name: "oauth2cli + go-oidc (kubelogin-like), plain file", path: b.program("oauth2cli"), env: with("BENCH_FILE=" + file)},
		{name: "x/oauth2 + go-oidc, plain file", path: b.program("xoauth2"), env: with("BENCH_FILE=" + file)},
	}
	session, end, ok := desktop()
	defer end()
	if ok {
		in := with(session.Env...)
		err := inSession(session, func() error {
			c, _, err := p.session(&tokenstore.Keyring{})
			if err == nil {
				c.Close()
			}
			return err
		})
		if err != nil {
			return section{}, err
		}
		seed := exec.Command("secret-tool", "store", "--label=bench", "service", "bench", "username", clientID)
		seed.Env, seed.Stdin = session.Environ(), strings.NewReader(strings.TrimSpace(tokenFile(token)))
		if text, err := seed.CombinedOutput(); err != nil {
			return section{}, fmt.Errorf("secret-tool: %w %s", err, text)
		}
		programs = append(programs,
			&coldProgram{name: "nativeoauth token, Secret Service", ours: true, path: b.program("nativeoauth"), args: []string{"token"}, env: in},
			&coldProgram{name: "ten lines with this SDK, Secret Service", ours: true, path: b.program("sdk"), env: in},
			&coldProgram{name: "x/oauth2 + go-oidc + go-keyring", path: b.program("xoauth2"), env: in},
		)
	}
	rounds := b.pick(60, 8)
	wall, over, rss := make([]sample, len(programs)), make([]sample, len(programs)), make([]sample, len(programs))
	for round := range rounds {
		var floor float64
		for i, c := range programs {
			took, err := c.start()
			if err != nil {
				return section{}, err
			}
			if i == 0 {
				floor = took
			}
			wall[i], over[i] = append(wall[i], took), append(over[i], took-floor)
			if round < 9 {
				launch := exec.Command(b.program("launch"), append([]string{c.path}, c.args...)...)
				launch.Env = append(os.Environ(), c.env...)
				out, err := launch.Output()
				if err != nil {
					return section{}, err
				}
				var kib float64
				fmt.Sscan(string(out), &kib)
				rss[i] = append(rss[i], kib/1024)
			}
		}
	}
	s := section{
		title: "5. Cold start",
		about: "A program with a valid session stored prints its token: from exec to exit, in ms, beside a Go program that prints hello. Peak resident memory by the kernel's count.",
	}
	t := table{head: []string{"", "ms", "ms over hello-world", "peak memory, MiB", "binary, MiB"}}
	pl := plot{file: "bench-cold.svg", title: "From exec to the token on stdout, over a hello-world", unit: "ms"}
	byName := map[string]int{}
	for i, c := range programs {
		byName[c.name] = i
		info, err := os.Stat(c.path)
		if err != nil {
			return s, err
		}
		t.add(c.name, wall[i].text(), over[i].text(), rss[i].text(), number(float64(info.Size())/(1<<20)))
		if i > 0 {
			pl.bars = append(pl.bars, bar{c.name, over[i].median(), c.ours})
		}
	}
	s.tables, s.plots = []table{t}, []plot{pl}
	inits, ownInit, err := inittrace(programs[1])
	if err != nil {
		return s, err
	}
	s.notes = append(s.notes, fmt.Sprintf("GODEBUG=inittrace=1 of `nativeoauth token`: %d packages do work before main, %s ms in all; of this module: %s.", inits.packages, number(inits.ms), ownInit))
	file1 := over[1]
	s.reaches = append(s.reaches, reach{"5 Cold start, sealed file", "≤ 3 ms over hello", file1.text() + " ms", file1.median() <= 3,
		fmt.Sprintf("of it %s ms are the initialisation of %d packages that the command links (inittrace, above)", number(inits.ms), inits.packages)})
	if i, ok := byName["nativeoauth token, Secret Service"]; ok {
		bare := over[byName["x/oauth2 + go-oidc + go-keyring"]]
		s.reaches = append(s.reaches, reach{"5 Cold start, Secret Service", "≤ 6.5 ms over hello", over[i].text() + " ms", over[i].median() <= 6.5,
			fmt.Sprintf("a bare go-keyring read takes %s ms in the same rounds: its D-Bus calls and gnome-keyring's answers", number(bare.median()))})
	} else {
		s.notes = append(s.notes, "There was no gnome-keyring on this machine, so the Secret Service was not measured.")
	}
	info, err := os.Stat(b.program("nativeoauth"))
	if err != nil {
		return s, err
	}
	ten, err := os.Stat(b.program("sdk"))
	if err != nil {
		return s, err
	}
	s.reaches = append(s.reaches,
		reach{"5 Size of nativeoauth, stripped", "≤ 10.5 MB", number(float64(info.Size())/1e6) + " MB", info.Size() <= 10.5e6,
			fmt.Sprintf("a program of ten lines with the SDK has %s MB; the commands, cobra and the provider of login --demo are the rest", number(float64(ten.Size())/1e6))},
		reach{"5 Work of the SDK's packages before main", "none", ownInit, ownInit == "none", ""})
	return s, nil
}

type initWork struct {
	packages int
	ms       float64
}

var initLine = regexp.MustCompile(`(?m)^init (\S+) @\S+ ms, (\S+) ms clock, (\d+) bytes, (\d+) allocs`)

// inittrace reads the runtime's report on the work that packages do before
// main.
func inittrace(c *coldProgram) (initWork, string, error) {
	cmd := exec.Command(c.path, c.args...)
	cmd.Env = append(append(os.Environ(), c.env...), "GODEBUG=inittrace=1")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	if err := cmd.Run(); err != nil {
		return initWork{}, "", fmt.Errorf("%w: %s", err, said.String())
	}
	var all initWork
	var own []string
	for _, m := range initLine.FindAllStringSubmatch(said.String(), -1) {
		var took float64
		fmt.Sscan(m[2], &took)
		all.packages++
		all.ms += took
		if strings.HasPrefix(m[1], "github.com/nativeoauth/") && m[4] != "0" { // without allocations it copies a pointer
			own = append(own, fmt.Sprintf("%s (%s ms, %s bytes, %s allocations)", strings.TrimPrefix(m[1], "github.com/nativeoauth/nativeoauth/"), m[2], m[3], m[4]))
		}
	}
	if own == nil {
		return all, "none", nil
	}
	return all, strings.Join(own, ", "), nil
}
