//go:build unix

package workload

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// S120: a file that another user could change, or lead to another file, is not read.
func TestS120AFileThatOthersCanChangeIsRefused(t *testing.T) {
	t.Parallel()
	foreign := func(t *testing.T, path string) {
		t.Helper()
		if err := os.Lchown(path, 12345, 12345); err != nil {
			t.Skip("only root can make it: ", err)
		}
	}
	for name, spoil := range map[string]func(t *testing.T, path string){
		"group may write": func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o620)) },
		"all may write":   func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o602)) },
		"another's file":  foreign,
		"another's link": func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+".real"))
			require.NoError(t, os.Symlink(path+".real", path))
			foreign(t, path)
		},
		"hard link": func(t *testing.T, path string) { require.NoError(t, os.Link(path, path+".other")) },
		"links in a circle": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink(path, path))
		},
		"directory": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Mkdir(path, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := tokenFile(t, jwt(t, issuer))
			_, err := File(path)(t.Context(), issuer)
			require.NoError(t, err)
			spoil(t, path)
			token, err := File(path)(t.Context(), issuer)
			require.ErrorIs(t, err, securefile.ErrInsecure)
			require.Empty(t, token)
		})
	}
}

// S120: Kubernetes' own links are followed, also while it renews the token. The
// volume is made and renewed as kubelet's AtomicWriter does it.
func TestS120AProjectedTokenIsRenewedWhileItIsRead(t *testing.T) {
	t.Parallel()
	volume := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.Mkdir(volume, 0o777))
	require.NoError(t, os.Chmod(volume, 0o777|fs.ModeSticky))
	valid := jwt(t, []string{issuer})
	last := ""
	renew := func(n int) {
		dir := fmt.Sprintf("..2026_11_27_%d", n)
		require.NoError(t, os.Mkdir(filepath.Join(volume, dir), 0o755))
		mode := fs.FileMode(0o640) // of a pod that runs as this user, with a group
		if os.Geteuid() == 0 {
			mode = 0o644
		}
		path := filepath.Join(volume, dir, "token")
		require.NoError(t, os.WriteFile(path, []byte(valid), mode))
		require.NoError(t, os.Chmod(path, mode))
		require.NoError(t, os.Symlink(dir, filepath.Join(volume, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(volume, "..data_tmp"), filepath.Join(volume, "..data")))
		if last != "" {
			require.NoError(t, os.RemoveAll(filepath.Join(volume, last)))
		}
		last = dir
	}
	renew(0)
	require.NoError(t, os.Symlink("..data/token", filepath.Join(volume, "token")))

	var done atomic.Bool
	finished := make(chan error, 1)
	go func() {
		token := File(filepath.Join(volume, "token"))
		for {
			got, err := token(t.Context(), issuer)
			if err == nil && got != valid {
				err = fmt.Errorf("a torn token")
			}
			if err != nil || done.Load() {
				finished <- err
				return
			}
		}
	}()
	for n := 1; n <= 300; n++ {
		renew(n)
	}
	done.Store(true)
	require.NoError(t, <-finished)
}
