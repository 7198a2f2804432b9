package structure

import (
	"slices"
	"strings"
)

// layer is a group of packages of equal rank.
type layer struct {
	name     string
	packages []string // a name that ends with /... stands for a directory and all below it
}

// layers hold all packages of the repository. A package imports packages of
// lower layers only. So no import goes up, packages of one layer do not import
// each other, and there is no cycle between layers.
//
// The order has these consequences:
//   - pkce, loopback and tokenstore are each useful alone;
//   - only programs and tests use the test helpers and the test server;
//   - the test server shares no code with the client that is tested against it,
//     but for wire, so that one mistake cannot hide in both.
var layers = []layer{
	{"programs", []string{"cmd/...", "examples/...", "internal/bench/...", "internal/interop/..."}},
	{"beside the SDK", []string{
		"oauthclient/oauthtest", "oauthclient/inspect", "tokenstore/storetest",
		"internal/fetch/fetchtest", "internal/jose/josetest", "internal/realparts",
		"internal/macos/...", "internal/model", "internal/security", "internal/structure",
	}},
	{"the SDK", []string{"oauthclient"}},
	{"the stored session", []string{"internal/session"}},
	{"parts", []string{"loopback", "oauthclient/workload", "pkce", "tokenstore"}},
	{"OpenID Connect", []string{"internal/oidc"}},
	{"OAuth 2.0", []string{"internal/oauth"}},
	{"signatures", []string{"internal/jose"}},
	{"HTTP", []string{"internal/fetch", "internal/authserver"}},
	{"the system", []string{"internal/browser", "internal/peer", "internal/securefile"}},
	{"bytes", []string{"internal/wire", "internal/words"}},
}

// rank returns the index of pkg's layer; -1: it is in none.
func rank(pkg string) int {
	return slices.IndexFunc(layers, func(l layer) bool {
		return slices.ContainsFunc(l.packages, func(name string) bool {
			dir, tree := strings.CutSuffix(name, "/...")
			return name == pkg || tree && (pkg == dir || strings.HasPrefix(pkg, dir+"/"))
		})
	})
}

// violations returns a sentence for each import that does not go down, and for
// each package that is in no layer.
func violations(imports map[string][]string) []string {
	var found []string
	for from, list := range imports {
		if rank(from) < 0 {
			found = append(found, from+" is in no layer; add it to layers_test.go")
			continue
		}
		for _, to := range list {
			if rank(from) == 0 && program(from) == program(to) {
				continue // a program may consist of several packages
			}
			if rank(to) <= rank(from) {
				found = append(found, from+" must not import "+to)
			}
		}
	}
	slices.Sort(found)
	return found
}

// program returns the directory of the program that pkg belongs to.
func program(pkg string) string {
	parts := strings.SplitN(pkg, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}
