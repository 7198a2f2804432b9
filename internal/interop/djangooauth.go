package interop

import (
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// DjangoOAuth is Debian's django-oauth-toolkit, in a Django project with a
// process and a database of its own. Refresh tokens rotate, PKCE is required,
// and the metadata tell of neither. It knows NativeClient and one user.
type DjangoOAuth struct {
	Issuer string
}

// djangoUser and djangoPassword are the only user.
const (
	djangoUser     = "alice"
	djangoPassword = "correct horse battery"
)

//go:embed djangooauth/server.py
var djangoServer string

// StartDjangoOAuth starts a provider that ends with the test. It needs Debian's
// package (see realparts.Need).
func StartDjangoOAuth(tb testing.TB) *DjangoOAuth {
	tb.Helper()
	needDebian(tb, "python3-django-oauth-toolkit", "1.7.")
	python := realparts.Need(tb, "/usr/bin/python3")[0] // another Python does not see the package
	private, _ := rsaKeys(tb)
	address, handed := listen(tb)
	d := &DjangoOAuth{Issuer: "http://" + address.String() + "/o"}
	options, err := json.Marshal(map[string]any{
		"issuer":    d.Issuer,
		"key":       private,
		"database":  filepath.Join(tb.TempDir(), "django.db"),
		"client":    NativeClient,
		"redirects": []string{"http://127.0.0.1/callback", "http://[::1]/callback"},
		"user":      djangoUser,
		"password":  djangoPassword,
	})
	require.NoError(tb, err)
	cmd := exec.Command(python, "-c", djangoServer, string(options))
	cmd.ExtraFiles = []*os.File{handed}
	startServer(tb, "django-oauth-toolkit", cmd, serves(tb.Context(), d.Issuer+discovery))
	return d
}

// User returns a user with an account here.
func (d *DjangoOAuth) User(issuer string) *User {
	return NewUser(issuer, djangoUser, djangoPassword)
}
