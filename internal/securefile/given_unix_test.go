//go:build unix

package securefile

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// S65: a secret that others may read is accepted only from root, and only if nobody
// else can change it or exchange it. Otherwise the remedy is chmod 600.
func TestS65ASecretThatOthersReadIsRoots(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make the files")
	}
	const me, other = 12345, 23456
	for _, tt := range []struct {
		name            string
		owner, dirOwner int
		mode, dirMode   fs.FileMode
		problem         string // "": accepted
	}{
		{"own, private", me, me, 0o600, 0o777, ""},
		{"own, read-only", me, me, 0o400, 0o700, ""},
		{"Kubernetes, own user and group", me, 0, 0o640, 0o755, "chmod 600"},
		{"Kubernetes, own, sticky directory", me, 0, 0o640, 0o777 | fs.ModeSticky, "chmod 600"},
		{"own, group may read, all may exchange it", me, me, 0o640, 0o777, "chmod 600"},
		{"own, group may read, another's directory", me, other, 0o640, 0o755, "chmod 600"},
		{"own, all may read", me, me, 0o644, 0o700, "chmod 600"},
		{"own, group may write", me, me, 0o620, 0o700, "chmod 600"},
		{"Kubernetes", 0, 0, 0o440, 0o755, ""},
		{"Kubernetes, sticky directory", 0, 0, 0o440, 0o777 | fs.ModeSticky, ""},
		{"Docker", 0, 0, 0o444, 0o755, ""},
		{"root's, in my directory", 0, me, 0o444, 0o755, ""},
		{"root's, group may write", 0, 0, 0o464, 0o755, "uid 0"},
		{"root's, all may write", 0, 0, 0o666, 0o755, "uid 0"},
		{"root's, all may exchange it", 0, 0, 0o444, 0o777, "uid 0"},
		{"root's, another's directory", 0, other, 0o444, 0o755, "uid 0"},
		{"another's, private", other, me, 0o600, 0o700, "uid 23456"},
		{"another's, all may read", other, 0, 0o444, 0o755, "uid 23456"},
	} {
		dir := filepath.Join(t.TempDir(), "dir")
		path := filepath.Join(dir, "key")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
		require.NoError(t, os.Chown(path, tt.owner, tt.owner))
		require.NoError(t, os.Chown(dir, tt.dirOwner, tt.dirOwner))
		require.NoError(t, os.Chmod(path, tt.mode))
		require.NoError(t, os.Chmod(dir, tt.dirMode))
		file, err := os.Stat(path)
		require.NoError(t, err)
		parent, err := os.Stat(dir)
		require.NoError(t, err)
		err = checkSecretOf(me, path, file, parent)
		issued := checkIssuedOf(me, path, file, parent)
		if tt.problem == "" {
			require.NoError(t, err, tt.name)
			require.NoError(t, issued, tt.name)
			continue
		}
		require.ErrorIs(t, err, ErrInsecure, tt.name)
		require.ErrorContains(t, err, tt.problem, tt.name)
		if strings.HasPrefix(tt.name, "Kubernetes, own") {
			require.NoError(t, issued, tt.name)
		} else {
			require.ErrorContains(t, issued, tt.problem, tt.name)
		}
	}
}

// A named pipe is not opened: that would wait for its writer. A descriptor that the
// process inherited may be one.
func TestReadGivenOpensNoFIFO(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	mkfifo(t, path)
	_, err := ReadGiven(path, 10)
	require.ErrorContains(t, err, "not a regular file")
}

func TestNamesOfDescriptors(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/dev/stdin": true, "/dev/fd/63": true, "/proc/self/fd/0": true, "/dev//fd/3": true,
		"/dev/fd/": false, "/dev/fd/3/x": false, "/dev/fd/../sda": false, "/dev/tty": false,
		"/proc/1/fd/0": false, "dev/stdin": false, "/dev/fd/x": false,
	} {
		require.Equal(t, want, Inherited(path), path)
	}
}

// S65: a descriptor of a file that others may read is refused as the file is.
func TestS65ADescriptorOfAnOpenFileIsChecked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	require.NoError(t, f.Chmod(0o666))
	_, err = ReadOpened(f, "standard input", 10)
	require.ErrorIs(t, err, ErrInsecure)
	require.NoError(t, f.Chmod(0o600))
	data, err := ReadOpened(f, "standard input", 10)
	require.NoError(t, err)
	require.Equal(t, "x", string(data))
}

// A configuration that others may read is read and changed, also through links of
// this user, which stay.
func TestTrustedFilesMayBeReadByOthersAndBehindLinks(t *testing.T) {
	t.Parallel()
	for name, modes := range map[string][2]fs.FileMode{
		"private": {0o700, 0o600}, "as a umask of 022": {0o755, 0o644}, "read-only file": {0o755, 0o444},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			real := filepath.Join(home, "dotfiles", "app")
			require.NoError(t, os.MkdirAll(real, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(real, "real.json"), []byte("old"), 0o600))
			require.NoError(t, os.Chmod(filepath.Join(real, "real.json"), modes[1]))
			require.NoError(t, os.Chmod(real, modes[0]))
			require.NoError(t, os.Symlink("real.json", filepath.Join(real, "config.json")))
			require.NoError(t, os.Symlink("dotfiles/app", filepath.Join(home, "app")))
			path := filepath.Join(home, "app", "config.json")

			unlock, err := LockTrusted(t.Context(), path)
			require.NoError(t, err)
			data, err := ReadTrusted(path, 10)
			require.NoError(t, err)
			require.Equal(t, "old", string(data))
			require.NoError(t, WriteTrusted(path, []byte("new")))
			require.NoError(t, unlock())
			data, err = ReadTrusted(path, 10)
			require.NoError(t, err)
			require.Equal(t, "new", string(data))
			info, err := os.Lstat(path)
			require.NoError(t, err)
			require.NotZero(t, info.Mode()&fs.ModeSymlink, "the link stays")
			data, err = os.ReadFile(filepath.Join(real, "real.json"))
			require.NoError(t, err)
			require.Equal(t, "new", string(data))
		})
	}
}

// S44, S65: what another user can change is not trusted.
func TestS65AFileThatOthersCanChangeIsNotTrusted(t *testing.T) {
	t.Parallel()
	foreign := func(t *testing.T, path string) {
		if err := os.Lchown(path, 12345, 12345); err != nil {
			t.Skip("only root can make it: ", err)
		}
	}
	for name, spoil := range map[string]func(t *testing.T, dir, path string){
		"group may write the file": func(t *testing.T, _, path string) {
			require.NoError(t, os.Chmod(path, 0o664))
		},
		"all may write the directory": func(t *testing.T, dir, _ string) {
			require.NoError(t, os.Chmod(dir, 0o777))
		},
		"the directory is sticky": func(t *testing.T, dir, _ string) {
			require.NoError(t, os.Chmod(dir, 0o777|fs.ModeSticky))
		},
		"foreign file":      func(t *testing.T, _, path string) { foreign(t, path) },
		"foreign directory": func(t *testing.T, dir, _ string) { foreign(t, dir) },
		"foreign link": func(t *testing.T, _, path string) {
			require.NoError(t, os.Rename(path, path+".real"))
			require.NoError(t, os.Symlink(path+".real", path))
			foreign(t, path)
		},
		"link to a foreign link": func(t *testing.T, _, path string) {
			require.NoError(t, os.Rename(path, path+".real"))
			require.NoError(t, os.Symlink(path+".real", path+".link"))
			require.NoError(t, os.Symlink(path+".link", path))
			foreign(t, path+".link")
		},
		"foreign link to the directory": func(t *testing.T, dir, _ string) {
			require.NoError(t, os.Rename(dir, dir+".real"))
			require.NoError(t, os.Symlink(dir+".real", dir))
			foreign(t, dir)
		},
		"links in a circle": func(t *testing.T, _, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink(path+".b", path))
			require.NoError(t, os.Symlink(path, path+".b"))
		},
		"FIFO": func(t *testing.T, _, path string) {
			require.NoError(t, os.Remove(path))
			mkfifo(t, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "app")
			path := filepath.Join(dir, "config.json")
			require.NoError(t, os.Mkdir(dir, 0o755))
			require.NoError(t, os.WriteFile(path, []byte("x"), 0o644))
			_, err := ReadTrusted(path, 10)
			require.NoError(t, err)
			spoil(t, dir, path)
			_, err = ReadTrusted(path, 10)
			require.ErrorIs(t, err, ErrInsecure)
		})
	}
}

// S65: the directory of a change is checked too, before a lock or a file is made.
func TestS65NothingIsWrittenWhereOthersCanChangeIt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "app")
	path := filepath.Join(dir, "config.json")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Chmod(dir, 0o777))
	require.ErrorIs(t, WriteTrusted(path, nil), ErrInsecure)
	_, err := LockTrusted(context.Background(), path)
	require.ErrorIs(t, err, ErrInsecure)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
