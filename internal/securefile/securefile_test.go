package securefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWriteThenRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "a", "b", "file") // parents are made
	_, err := ReadFile(path, 10)
	require.ErrorIs(t, err, fs.ErrNotExist)

	for _, data := range []string{"first", "", "the second one"} {
		require.NoError(t, WriteFile(path, []byte(data)))
		got, err := ReadFile(path, 100)
		require.NoError(t, err)
		require.Equal(t, data, string(got))
	}
	names, err := List(filepath.Dir(path))
	require.NoError(t, err)
	require.Equal(t, []string{"file"}, names)

	require.NoError(t, Remove(path))
	require.NoError(t, Remove(path), "removing nothing")
	require.NoError(t, Remove(filepath.Join(tempDir(t), "none", "file")))
	_, err = ReadFile(path, 10)
	require.ErrorIs(t, err, fs.ErrNotExist)
	names, err = List(filepath.Join(tempDir(t), "none"))
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestTheSizeIsCapped(t *testing.T) {
	t.Parallel()
	path := filepath.Join(privateDir(t), "file")
	require.NoError(t, WriteFile(path, make([]byte, 100)))
	_, err := ReadFile(path, 100)
	require.NoError(t, err)
	_, err = ReadFile(path, 99)
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorContains(t, err, "file")
}

func TestAPathWithoutAName(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", ".", "..", "dir/", "dir/.", "dir/.."} {
		_, err := ReadFile(path, 1)
		require.ErrorIs(t, err, fs.ErrInvalid, path)
		require.ErrorIs(t, WriteFile(path, nil), fs.ErrInvalid, path)
		_, _, err = TryLock(filepath.FromSlash("/"))
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
	require.ErrorIs(t, EnsureDir(""), fs.ErrInvalid)
}

// S65: modes as promised, whatever the umask leaves open.
func TestS65FilesGetPrivateModes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has access lists, no modes")
	}
	dir := filepath.Join(tempDir(t), "new")
	path := filepath.Join(dir, "file")
	require.NoError(t, WriteFile(path, []byte("x")))
	unlock, err := Lock(t.Context(), filepath.Join(dir, "lock"))
	require.NoError(t, err)
	require.NoError(t, unlock())
	for name, want := range map[string]fs.FileMode{
		dir: 0o700, path: 0o600, filepath.Join(dir, "lock"): 0o600,
	} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), name)
	}
}

// S65: anything that is not a private file of this user, in a private directory
// of this user, is refused by reads and by locks. The error names the path and
// the remedy. Nothing is changed.
func TestS65AnythingNotPrivateIsRefused(t *testing.T) {
	t.Parallel()
	unix := runtime.GOOS != "windows"
	tests := []struct {
		name    string
		only    bool
		spoil   func(t *testing.T, dir, path string)
		problem string
		remedy  string
	}{
		{"file mode 0644", unix, func(t *testing.T, _, path string) {
			require.NoError(t, os.Chmod(path, 0o644))
		}, "0644", "chmod 600"},
		{"file mode 0620", unix, func(t *testing.T, _, path string) {
			require.NoError(t, os.Chmod(path, 0o620))
		}, "0620", "chmod 600"},
		{"directory mode 0755", unix, func(t *testing.T, dir, _ string) {
			require.NoError(t, os.Chmod(dir, 0o755))
		}, "0755", "chmod 700"},
		{"foreign file", unix, func(t *testing.T, _, path string) {
			chown(t, path)
		}, "uid 12345", "sudo"},
		{"foreign directory", unix, func(t *testing.T, dir, _ string) {
			chown(t, dir)
		}, "uid 12345", "sudo"},
		{"hard link", true, func(t *testing.T, dir, path string) {
			require.NoError(t, os.Link(path, filepath.Join(filepath.Dir(dir), "second")))
		}, "hard links", "remove it"},
		{"symbolic link", true, func(t *testing.T, dir, path string) {
			target := filepath.Join(dir, "target")
			require.NoError(t, os.Rename(path, target))
			link(t, target, path)
		}, "symbolic link", "real file"},
		{"symbolic link out of the directory", true, func(t *testing.T, dir, path string) {
			target := filepath.Join(filepath.Dir(dir), "target")
			require.NoError(t, os.Rename(path, target))
			link(t, target, path)
		}, "symbolic link", "real file"},
		{"dangling symbolic link", true, func(t *testing.T, dir, path string) {
			require.NoError(t, os.Remove(path))
			link(t, filepath.Join(filepath.Dir(dir), "planted"), path)
		}, "symbolic link", "real file"},
		{"directory is a symbolic link", true, func(t *testing.T, dir, _ string) {
			require.NoError(t, os.Rename(dir, dir+"-real"))
			link(t, dir+"-real", dir)
		}, "symbolic link", "real file"},
		{"directory is a file", true, func(t *testing.T, dir, _ string) {
			require.NoError(t, os.Rename(dir, dir+"-away"))
			require.NoError(t, os.WriteFile(dir, nil, 0o600))
		}, "not a directory", "move it away"},
		{"file is a directory", true, func(t *testing.T, _, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Mkdir(path, 0o700))
		}, "not a regular file", "move it away"},
		{"file is a FIFO", unix, func(t *testing.T, _, path string) {
			require.NoError(t, os.Remove(path))
			mkfifo(t, path)
		}, "not a regular file", "move it away"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !tt.only {
				t.Skip("not on " + runtime.GOOS)
			}
			dir := privateDir(t)
			path := filepath.Join(dir, "file")
			require.NoError(t, WriteFile(path, []byte("x")))
			tt.spoil(t, dir, path)

			check := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, ErrInsecure)
				require.ErrorContains(t, err, tt.problem)
				require.ErrorContains(t, err, tt.remedy)
				var e *Error
				require.ErrorAs(t, err, &e)
				require.True(t, strings.HasPrefix(path, e.Path), e.Path)
			}
			_, err := ReadFile(path, 10)
			check(err)
			// On Windows, the hard links of a lock file are not counted.
			if runtime.GOOS != "windows" || tt.name != "hard link" {
				_, _, err = TryLock(path)
				check(err)
				_, err = Lock(t.Context(), path)
				check(err)
			}
			require.NoFileExists(t, filepath.Join(filepath.Dir(dir), "planted"))
			if strings.Contains(tt.name, "directory") &&
				!strings.Contains(tt.name, "file is") && !strings.Contains(tt.name, "link out") {
				check(EnsureDir(dir))
				check(WriteFile(path, []byte("y")))
				check(Remove(path))
				_, err = List(dir)
				check(err)
			}
		})
	}
}

// S65: a write replaces the link itself. The file to which it points does not
// change.
func TestS65WriteReplacesALink(t *testing.T) {
	t.Parallel()
	dir := privateDir(t)
	victim := filepath.Join(filepath.Dir(dir), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
	path := filepath.Join(dir, "file")
	link(t, victim, path)
	require.NoError(t, WriteFile(path, []byte("new")))
	got, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "precious", string(got))
	got, err = ReadFile(path, 10)
	require.NoError(t, err)
	require.Equal(t, "new", string(got))

	require.NoError(t, Remove(path))
	link(t, victim, path)
	require.NoError(t, Remove(path))
	require.FileExists(t, victim)
}

// S94: a file that the user chose, in a directory to which others may write, is
// not what another user has put there: the target of a link is not written to, and
// neither is a file that others own or may read. Nothing of it is lost.
func TestS94APlantedFileIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the modes and owners of Unix")
	}
	shared := tempDir(t)
	require.NoError(t, os.Chmod(shared, 0o777|fs.ModeSticky))
	elsewhere := filepath.Join(tempDir(t), "elsewhere")
	path, victim := filepath.Join(shared, "trace"), filepath.Join(shared, "victim")
	plain := func() error { return os.WriteFile(path, []byte("theirs"), 0o600) }
	for name, plant := range map[string]func() error{
		"link":              func() error { return os.Symlink("victim", path) },
		"link to elsewhere": func() error { return os.Symlink(elsewhere, path) },
		"dangling link":     func() error { return os.Symlink("nothing", path) },
		"hard link":         func() error { return os.Link(victim, path) },
		"open to others":    func() error { return errors.Join(plain(), os.Chmod(path, 0o644)) },
		"another owner":     func() error { return errors.Join(plain(), os.Chown(path, 65534, 65534)) },
	} {
		for _, file := range []string{victim, elsewhere} {
			require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
		}
		if err := plant(); errors.Is(err, fs.ErrPermission) {
			t.Logf("%s: only root can make it", name)
			require.NoError(t, os.Remove(path))
			continue
		} else {
			require.NoError(t, err, name)
		}
		_, err := CreateGiven(path)
		require.ErrorIs(t, err, ErrInsecure, name)
		for _, file := range []string{victim, elsewhere} {
			got, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, "precious", string(got), name)
		}
		require.NoFileExists(t, filepath.Join(shared, "nothing"))
		require.NoError(t, os.Remove(path))
	}
}

// The user's own file is emptied, and a missing one is made for this user only.
func TestCreateGivenMakesAPrivateFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "trace")
	for _, text := range []string{"the first text", "second"} {
		f, err := CreateGiven(path)
		require.NoError(t, err)
		_, err = f.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		got, err := ReadGiven(path, 100)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	}
	_, err := CreateGiven(filepath.Join(path, "no-directory", "trace"))
	require.Error(t, err)
}

func TestLinksAmongTheParentsAreFollowed(t *testing.T) {
	t.Parallel()
	dir := privateDir(t)
	link(t, dir, filepath.Join(filepath.Dir(dir), "link"))
	path := filepath.Join(filepath.Dir(dir), "link", "deeper", "file")
	require.NoError(t, WriteFile(path, []byte("x")))
	_, err := ReadFile(path, 10)
	require.NoError(t, err)
}

func TestQuoteEscapesOnlyWhatATerminalActsOn(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		`C:\Users\Zoë\a b`: `"C:\Users\Zoë\a b"`,
		"/home/a'b":        `"/home/a'b"`,
		"a\x1b]0;x":        `"a\x1b]0;x"`,
		`a"b`:              `"a\"b"`,
		"\xff":             `"\xff"`,
		"\u202ea":          `"\u202ea"`,
		"":                 `""`,
	} {
		require.Equal(t, want, Quote(path))
	}
}

func TestAnErrorShowsNoTerminalEscapes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such names")
	}
	path := filepath.Join(privateDir(t), "\x1b]0;x\x07")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chmod(path, 0o644))
	_, err := ReadFile(path, 10)
	require.ErrorIs(t, err, ErrInsecure)
	require.NotContains(t, err.Error(), "\x1b")
}

// The temporary files of dead writers are removed. Those of live writers, and
// files with other names, stay.
func TestSweepRemovesOnlyLeftovers(t *testing.T) {
	t.Parallel()
	dir := privateDir(t)
	old := time.Now().Add(-2 * time.Hour)
	for name, when := range map[string]time.Time{
		".tmp-dead": old, ".tmp-live": time.Now(), "other": old,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), when, when))
	}
	require.NoError(t, WriteFile(filepath.Join(dir, "file"), nil))
	require.NoFileExists(t, filepath.Join(dir, ".tmp-dead"))
	require.FileExists(t, filepath.Join(dir, ".tmp-live"))
	names, err := List(dir)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"file", "other"}, names)

	// A directory is not read at each write.
	now := time.Now()
	require.False(t, due(dir, now))
	require.True(t, due(dir, now.Add(tempLife)))
	require.False(t, due(dir, now.Add(tempLife)))
}

func TestAFailedWriteLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := privateDir(t)
	path := filepath.Join(dir, "file")
	// No file can replace a directory that is not empty.
	require.NoError(t, os.MkdirAll(filepath.Join(path, "full"), 0o700))
	require.Error(t, WriteFile(path, []byte("x")))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// A value is written as one letter repeated, so that a torn one shows.
func childWrite(path string) error {
	for {
		letter := byte('a' + rand.N(26))
		if err := WriteFile(path, value(letter, 1000*int(letter-'a'+1))); err != nil {
			return err
		}
	}
}

// S65: writers are killed at random while readers read. No reader sees a torn
// or a missing value, then or later.
func TestS65KilledWritersTearNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(privateDir(t), "file")
	require.NoError(t, WriteFile(path, value('a', 1000)))
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	reads, leftovers := 0, 0
	read := func() byte {
		reads++
		data, err := ReadFile(path, 100_000)
		require.NoError(t, err)
		require.True(t, whole(data), "torn: %d bytes", len(data))
		return data[0]
	}
	for range rounds {
		before := read()
		writers := []*exec.Cmd{
			child(t, "write", path), child(t, "write", path), child(t, "write", path),
		}
		for _, w := range writers {
			require.NoError(t, w.Start())
		}
		for end := time.Now().Add(time.Minute); read() == before; {
			require.True(t, time.Now().Before(end), "the writers write nothing")
		}
		for end := time.Now().Add(rand.N(10 * time.Millisecond)); time.Now().Before(end); {
			read()
		}
		for _, w := range writers {
			require.NoError(t, w.Process.Kill())
			var exit *exec.ExitError
			require.ErrorAs(t, w.Wait(), &exit)
			require.NotEqual(t, childFailed, exit.ExitCode(), "a write failed before it was killed")
		}
		read()
	}

	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	old := time.Now().Add(-2 * time.Hour)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), tempPrefix) {
			leftovers++
			require.NoError(t,
				os.Chtimes(filepath.Join(filepath.Dir(path), entry.Name()), old, old))
		}
	}
	swept.Delete(filepath.Dir(path)) // as in a new process
	require.NoError(t, WriteFile(path, value('a', 1000)))
	entries, err = os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "leftovers were not swept")
	t.Logf("%d reads, %d leftovers of %d killed writers", reads, leftovers, 3*rounds)
}

func TestLockExcludesInOneProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(privateDir(t), "lock")
	unlock, err := Lock(t.Context(), path)
	require.NoError(t, err)

	_, ok, err := TryLock(path)
	require.NoError(t, err)
	require.False(t, ok)
	// Another spelling meets the same file.
	dir, name := filepath.Split(path)
	require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(filepath.Clean(dir)), "x"), 0o700))
	if runtime.GOOS != "windows" {
		link(t, filepath.Dir(filepath.Clean(dir)),
			filepath.Join(filepath.Dir(filepath.Clean(dir)), "alias"))
		_, ok, err = TryLock(filepath.Join(filepath.Dir(filepath.Clean(dir)), "alias", "private",
			name))
		require.NoError(t, err)
		require.False(t, ok)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = Lock(ctx, path)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "lock")

	require.NoError(t, unlock())
	require.NoError(t, unlock(), "again")
	unlock2, ok, err := TryLock(path)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, unlock(), "an old unlock does not open another's lock")
	_, ok, err = TryLock(path)
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, unlock2())
	local.mu.Lock()
	defer local.mu.Unlock()
	require.NotContains(t, local.paths, path, "the queue is forgotten when nobody is in it")
}

func TestACancelledContextTakesNoLock(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Lock(ctx, filepath.Join(privateDir(t), "lock"))
	require.ErrorIs(t, err, context.Canceled)
}

// If a lock file is deleted while it is held or waited for, two later processes
// do not both get the lock.
func TestADeletedLockFileIsNotTrusted(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("an open lock file cannot be deleted there")
	}
	path := filepath.Join(privateDir(t), "lock")
	old, err := Lock(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	fresh, err := attempt(path, ensureDir)
	require.NoError(t, err)
	require.NotNil(t, fresh)
	require.NoError(t, old())
	_, ok, err := TryLock(path)
	require.NoError(t, err)
	require.False(t, ok, "the new file's lock is held")

	// Deleted, or replaced, between the opening and the locking.
	root, err := openDir(filepath.Dir(path))
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	for _, want := range []bool{true, false, false} {
		named, err := hasName(fresh, root, "lock")
		require.NoError(t, err)
		require.Equal(t, want, named)
		if want {
			require.NoError(t, os.Remove(path))
		} else {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}
	}
	require.NoError(t, fresh.Unlock())
}

func childHold(path string) error {
	if _, err := Lock(context.Background(), path); err != nil {
		return err
	}
	fmt.Println("held")
	time.Sleep(time.Minute)
	return errors.New("not killed")
}

// SIGKILL of the holder gives the lock back, and not before.
func TestAKilledHolderReleases(t *testing.T) {
	t.Parallel()
	path := filepath.Join(privateDir(t), "lock")
	holder := child(t, "hold", path)
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	line := make([]byte, 4)
	_, err = out.Read(line)
	require.NoError(t, err)
	require.Equal(t, "held", string(line))

	_, ok, err := TryLock(path)
	require.NoError(t, err)
	require.False(t, ok)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Lock(ctx, path)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	require.NoError(t, holder.Process.Kill())
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	unlock, err := Lock(ctx, path)
	require.NoError(t, err)
	require.NoError(t, unlock())
	require.Error(t, holder.Wait())
}

var increments = 100

func init() {
	if runtime.GOOS == "windows" {
		increments = 20 // Wine takes 70 ms for one
	}
}

func childIncrement(path string) error {
	for range increments {
		unlock, err := Lock(context.Background(), path+".lock")
		if err != nil {
			return err
		}
		data, err := ReadFile(path, 100)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(data))
		if err != nil {
			return err
		}
		if err := WriteFile(path, []byte(strconv.Itoa(n+1))); err != nil {
			return err
		}
		if err := unlock(); err != nil {
			return err
		}
	}
	return nil
}

// 8 processes, with 4 goroutines in this one, count together and lose nothing.
func TestNoIncrementIsLost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(privateDir(t), "count")
	require.NoError(t, WriteFile(path, []byte("0")))
	done := make(chan error)
	for range 8 {
		cmd := child(t, "increment", path)
		go func() { done <- cmd.Run() }()
	}
	for range 4 {
		go func() { done <- childIncrement(path) }()
	}
	for range 12 {
		require.NoError(t, <-done)
	}
	data, err := ReadFile(path, 100)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(12*increments), string(data))
}

func BenchmarkWriteFile10KB(b *testing.B) {
	path := filepath.Join(tempDir(b), "private", "file")
	data := make([]byte, 10<<10)
	b.ReportAllocs()
	for b.Loop() {
		if err := WriteFile(path, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadFile10KB(b *testing.B) {
	path := filepath.Join(tempDir(b), "private", "file")
	if err := WriteFile(path, make([]byte, 10<<10)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadFile(path, 20<<10); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLock(b *testing.B) {
	path := filepath.Join(tempDir(b), "private", "lock")
	b.ReportAllocs()
	for b.Loop() {
		unlock, err := Lock(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		if err := unlock(); err != nil {
			b.Fatal(err)
		}
	}
}
