package structure

import (
	"flag"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

var update = flag.Bool("update", false, "draw the picture in "+page+" again")

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	imports, err := readImports(root)
	require.NoError(t, err)
	require.Contains(t, imports["oauthclient"], "internal/session", "imports are not read")
	require.Empty(t, violations(imports))
}

// The check above must find each kind of violation.
func TestViolationsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, want string }{
		{"tokenstore", "oauthclient", "tokenstore must not import oauthclient"},
		{"loopback", "pkce", "loopback must not import pkce"},
		{"internal/oauth", "internal/oidc", "internal/oauth must not import internal/oidc"},
		{"internal/wire", "internal/fetch", "internal/wire must not import internal/fetch"},
		{"internal/authserver", "internal/jose", "internal/authserver must not import internal/jose"},
		{"oauthclient", "internal/realparts", "oauthclient must not import internal/realparts"},
		{"examples/a", "examples/b", "examples/a must not import examples/b"},
		{"internal/utils", "internal/wire", "internal/utils is in no layer; add it to layers_test.go"},
	} {
		require.Equal(t, []string{c.want}, violations(map[string][]string{c.from: {c.to}}))
	}
	for from, to := range map[string]string{
		"internal/oidc":             "internal/oauth",
		"internal/session":          "tokenstore",
		"examples/etcdstore/server": "examples/etcdstore",
	} {
		require.Empty(t, violations(map[string][]string{from: {to}}))
	}
}

// These packages promise to be small: whoever uses one does not get an HTTP
// client or server with it. The go command counts what is linked indirectly.
func TestSmallPackagesDoNotLinkHTTP(t *testing.T) {
	t.Parallel()
	linked := func(system, pkg string) []string {
		cmd := exec.Command("go", "list", "-deps", "./"+pkg)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := cmd.Output()
		require.NoError(t, err, "go list -deps for %s", system)
		return strings.Fields(string(out))
	}
	require.Contains(t, linked("linux", "loopback"), "net/http", "packages are not listed")
	for _, system := range []string{"linux", "darwin", "windows"} {
		for _, pkg := range []string{"pkce", "tokenstore", "internal/wire"} {
			require.NotContains(t, linked(system, pkg), "net/http", "%s on %s", pkg, system)
		}
	}
}

func TestPictureIsCurrent(t *testing.T) {
	t.Parallel()
	imports, err := readImports(root)
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(root, page))
	require.NoError(t, err)
	redrawn, err := redraw(string(data), draw(imports))
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(filepath.Join(root, page), []byte(redrawn), 0o644))
		return
	}
	require.Equal(t, redrawn, string(data),
		"go test ./internal/structure -run Picture -update draws the picture again")
}

// An arrow is left out only if another path shows it.
func TestPictureLeavesOutDetours(t *testing.T) {
	t.Parallel()
	imports := map[string][]string{
		"oauthclient":   {"internal/wire", "pkce"},
		"pkce":          {"internal/wire"},
		"internal/wire": nil,
	}
	picture := draw(imports)
	require.Contains(t, picture, "  oauthclient --> pkce\n")
	require.Contains(t, picture, "  pkce --> internal_wire\n")
	require.NotContains(t, picture, "  oauthclient --> internal_wire\n")
}

// go-keyring's in-memory double has none of a keychain's limits and races, so
// it hides the bugs that matter. Tests use a real keychain.
func TestNoFakeKeychain(t *testing.T) {
	t.Parallel()
	var users []string
	require.NoError(t, walkGo(root, func(file string) error {
		data, err := os.ReadFile(filepath.Join(root, file))
		if strings.Contains(string(data), "Mock"+"Init") {
			users = append(users, file)
		}
		return err
	}))
	require.Empty(t, users)
}

func TestEveryDrawnPackageIsExplained(t *testing.T) {
	t.Parallel()
	imports, err := readImports(root)
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(root, page))
	require.NoError(t, err)
	var missing []string
	for pkg := range imports {
		if drawn(pkg) && !strings.Contains(string(data), "| `"+pkg+"` |") {
			missing = append(missing, pkg)
		}
	}
	slices.Sort(missing)
	require.Empty(t, missing, "the table of %s has no row for these packages", page)
}

// The refresh protocol is read file by file, so its files stay short enough for
// that.
func TestSessionFilesAreShort(t *testing.T) {
	t.Parallel()
	const limit = 500 // lines
	require.NoError(t, walkGo(root, func(file string) error {
		if path.Dir(file) != "internal/session" || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(root, file))
		if lines := strings.Count(string(data), "\n"); lines > limit {
			t.Errorf("%s has %d lines; the limit is %d", file, lines, limit)
		}
		return err
	}))
}

// The files that docs/house.md leads a reader to exist.
func TestPageNamesFilesThatExist(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, page))
	require.NoError(t, err)
	path := regexp.MustCompile("`([a-z_*/]+/[a-z_*0-9]+\\.go)`")
	names := path.FindAllStringSubmatch(string(data), -1)
	require.NotEmpty(t, names)
	for _, m := range names {
		found, err := filepath.Glob(filepath.Join(root, m[1]))
		require.NoError(t, err)
		if len(found) == 0 {
			t.Errorf("%s names %s, which does not exist", page, m[1])
		}
	}
	// The table of a refresh names files of internal/session.
	_, table, ok := strings.Cut(string(data), "| file in `internal/session` |\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	name := regexp.MustCompile("`([a-z_]+\\.go)`")
	for _, m := range name.FindAllStringSubmatch(table, -1) {
		_, err := os.Stat(filepath.Join(root, "internal/session", m[1]))
		if err != nil {
			t.Errorf("%s names internal/session/%s, which does not exist", page, m[1])
		}
	}
}
