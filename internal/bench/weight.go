package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// weight measures what each library adds to a program that signs in and keeps
// its token in the keychain.
func weight(b *bench) (section, error) {
	type contestant struct {
		name, program string
		ours          bool
		modules       []string // what its go.mod requires
	}
	keychain := []string{"golang.org/x/oauth2", "github.com/zalando/go-keyring", "github.com/pkg/browser"}
	contestants := []contestant{
		{"this SDK: keychain, sealed file, DPoP", "sdk", true, []string{"github.com/nativeoauth/nativeoauth"}},
		{"x/oauth2 + go-oidc + go-keyring", "xoauth2", false, append([]string{"github.com/coreos/go-oidc/v3"}, keychain...)},
		{"oauth2cli + go-oidc + go-keyring", "oauth2cli", false, append([]string{"github.com/int128/oauth2cli", "github.com/coreos/go-oidc/v3"}, keychain...)},
		{"hashicorp/cap + go-keyring", "cap", false, append([]string{"github.com/hashicorp/cap"}, keychain...)},
		{"zitadel/oidc + go-keyring", "zitadel", false, append([]string{"github.com/zitadel/oidc/v3"}, keychain...)},
		{"MSAL + go-keyring", "msal", false, append([]string{"github.com/AzureAD/microsoft-authentication-library-for-go"}, keychain...)},
	}
	hello, err := os.Stat(b.program("hello"))
	if err != nil {
		return section{}, err
	}
	parts, err := os.Stat(b.program("parts"))
	if err != nil {
		return section{}, err
	}
	partsMiB := float64(parts.Size()-hello.Size()) / (1 << 20)
	s := section{
		title: "9. Weight",
		about: "A program that signs in and keeps its token in the keychain, with each library, less a hello-world; stripped. Modules linked are what `go version -m` lists, " +
			"modules in the build list what `go list -m all` shows in a module that requires just these. The SDK's program can bind tokens to a key (DPoP) and seal files; the others' cannot.",
	}
	t := table{head: []string{"", "MiB over hello-world", "modules linked", "modules in the build list", "packages linked"}}
	pl := plot{file: "bench-weight.svg", title: "Added to a hello-world", unit: "MiB"}
	for _, c := range contestants {
		info, err := os.Stat(b.program(c.program))
		if err != nil {
			return s, err
		}
		build, err := buildinfo.ReadFile(b.program(c.program))
		if err != nil {
			return s, err
		}
		linked := len(build.Deps)
		listed, err := b.buildList(c.modules)
		if err != nil {
			return s, err
		}
		packages, err := exec.Command("go", "list", "-deps", "./programs/"+c.program).Output()
		if err != nil {
			return s, err
		}
		mib := float64(info.Size()-hello.Size()) / (1 << 20)
		t.add(c.name, fmt.Sprintf("%.2f", mib), fmt.Sprint(linked), fmt.Sprint(listed), fmt.Sprint(bytes.Count(packages, []byte("\n"))))
		pl.bars = append(pl.bars, bar{c.name, mib, c.ours})
		if c.ours {
			names := []string{}
			for _, d := range build.Deps {
				names = append(names, d.Path)
			}
			s.reaches = append(s.reaches,
				reach{"9 Modules linked", "≤ 8", fmt.Sprint(linked), linked <= 8, "they are " + strings.Join(names, ", ")},
				reach{"9 Added to a hello-world", "≤ 6.5 MiB", fmt.Sprintf("%.2f MiB", mib), mib <= 6.5,
					fmt.Sprintf("net/http, encoding/json, log/slog, go-keyring and go-jose alone, in a program that uses them and nothing else (programs/parts), are %.2f MiB; all of the SDK is the other %.2f", partsMiB, mib-partsMiB)})
		}
	}
	s.tables, s.plots = []table{t}, []plot{pl}
	return s, nil
}

// buildList returns the number of modules in a program's build list, without
// its own.
func (b *bench) buildList(modules []string) (int, error) {
	dir, err := os.MkdirTemp(b.dir, "list-")
	if err != nil {
		return 0, err
	}
	mod := "module example.com/program\n\ngo 1.26.0\n"
	for _, m := range modules {
		version := versionOf(m)
		if m == "github.com/nativeoauth/nativeoauth" {
			version = "v0.0.0"
			mod += "replace " + m + " => " + b.root + "\n"
		}
		mod += "require " + m + " " + version + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600); err != nil {
		return 0, err
	}
	cmd := exec.Command("go", "list", "-mod=mod", "-m", "all")
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("go list -m all: %w %s", err, said.String())
	}
	n := bytes.Count(out, []byte("\n")) - 1
	return n, nil
}
