//go:build unix

package securefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	nonblock = syscall.O_NONBLOCK // opening a FIFO does not wait for its writer
	nofollow = syscall.O_NOFOLLOW
)

// checkOwner returns an error if another user owns the file or may reach it, or if
// it has a second name, under which another program could change it.
func checkOwner(path string, info fs.FileInfo, _ *os.File) error {
	return checkOwnerOf(os.Geteuid(), path, info)
}

// checkOwnerOf is checkOwner for a process of uid.
func checkOwnerOf(uid int, path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return insecure(path, "its owner is unknown", "use a local directory")
	}
	if int(st.Uid) != uid {
		return insecure(path,
			fmt.Sprintf("belongs to uid %d, and this process runs as uid %d", st.Uid, uid),
			"run as its owner (without sudo), or use another directory")
	}
	if mode := info.Mode(); mode.Perm()&0o077 != 0 {
		want := 0o600
		if mode.IsDir() {
			want = 0o700
		}
		return insecure(path,
			fmt.Sprintf("mode is %#o, so that other users may reach it", mode.Perm()),
			fmt.Sprintf("if nobody else has used it: chmod %o %s", want, Quote(path)))
	}
	// A file has no name if a writer replaced it after it was opened. That is
	// allowed.
	if n := uint64(st.Nlink); !info.IsDir() && n > 1 {
		return insecure(path, fmt.Sprintf("has %d names (hard links)", n),
			"remove it, or the other names")
	}
	return nil
}

// checkParent returns an error if the new directory dir would lock the owner of its
// parent out: this process is root's, and the parent is another user's.
func checkParent(dir string) error {
	home, _ := os.UserHomeDir() // "": the remedy does not mention it
	return checkParentOf(os.Geteuid(), home, dir)
}

// checkParentOf is checkParent for a process of uid with this home.
func checkParentOf(uid int, home, dir string) error {
	parent := filepath.Dir(dir)
	info, err := os.Stat(parent)
	if uid != 0 || err != nil {
		return nil // the system decides; a missing parent is made first
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	// The parent was named on purpose, such as a volume. A directory that root has made
	// there is root's wish.
	remedy := "run as that user, or make root's own directory there: mkdir -m 700 " + Quote(dir)
	if home != "" && (parent == home || strings.HasPrefix(parent, home+"/")) {
		remedy = "run without sudo, or set HOME to root's own directory (sudo -H)"
	}
	return insecure(parent,
		fmt.Sprintf("belongs to uid %d, and what root makes there would lock that user out", st.Uid),
		remedy)
}

// checkLink refuses a symbolic link that another user owns, who can change it.
func checkLink(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid()) {
		return nil
	}
	return insecure(path, "is a symbolic link of another user",
		"put the real file or directory in its place")
}

// checkUnchangeable refuses a file or directory that another user than root can
// change.
func checkUnchangeable(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return insecure(path, "its owner is unknown", "use a local directory")
	}
	if uid := os.Geteuid(); st.Uid != 0 && int(st.Uid) != uid {
		return insecure(path,
			fmt.Sprintf("belongs to uid %d, and this process runs as uid %d", st.Uid, uid),
			"run as its owner (without sudo), or use another directory")
	}
	if mode := info.Mode(); mode.Perm()&0o022 != 0 {
		return insecure(path,
			fmt.Sprintf("mode is %#o, so that other users may change it", mode.Perm()),
			fmt.Sprintf("if nobody else has: chmod go-w %s", Quote(path)))
	}
	return nil
}

// checkSecret is the check of ReadGiven. dir is the directory of the file, nil for a
// descriptor.
func checkSecret(path string, file, dir fs.FileInfo) error {
	return checkSecretOf(os.Geteuid(), path, file, dir)
}

// checkSecretOf is checkSecret for a process of uid.
func checkSecretOf(uid int, path string, file, dir fs.FileInfo) error {
	st, ok := file.Sys().(*syscall.Stat_t)
	if ok && st.Uid == 0 && file.Mode().Perm()&0o077 != 0 && file.Mode().Perm()&0o022 == 0 &&
		(dir == nil || keepsNames(uid, dir)) {
		return nil
	}
	return checkOwnerOf(uid, path, file)
}

// checkIssued is the check of ReadIssued.
func checkIssued(path string, file, dir fs.FileInfo) error {
	return checkIssuedOf(os.Geteuid(), path, file, dir)
}

// checkIssuedOf is checkIssued for a process of uid.
func checkIssuedOf(uid int, path string, file, dir fs.FileInfo) error {
	st, ok := file.Sys().(*syscall.Stat_t)
	if ok && int(st.Uid) == uid && file.Mode().Perm()&0o027 == 0 && st.Nlink == 1 &&
		keepsNames(uid, dir) {
		return nil
	}
	return checkSecretOf(uid, path, file, dir)
}

// keepsNames reports whether no other user but root can exchange a file of this user
// or root in the directory. The sticky bit keeps users from that in directories that all may
// write to, such as those of Kubernetes.
func keepsNames(uid int, dir fs.FileInfo) bool {
	st, ok := dir.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == uid) &&
		(dir.Mode().Perm()&0o022 == 0 || dir.Mode()&fs.ModeSticky != 0)
}

// checkOpened is for Windows. On Unix the other checks see everything.
func checkOpened(string, *os.File) error { return nil }

func remove(root *os.Root, name string) error { return root.Remove(name) }

// inUse is for Windows. On Unix an open file can be replaced.
func inUse(error) bool { return false }

// cannotSync reports whether err means that the file system does not flush
// directories. Some cannot, and some do not need to.
func cannotSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)
}

// lacksLocks reports whether err means that the file system has no locks: NFS
// without lockd, SMB, and some FUSE and container mounts.
func lacksLocks(err error) bool {
	return errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.EOPNOTSUPP) ||
		errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS)
}

// interrupted reports whether a signal interrupted the call, which is then
// repeated.
func interrupted(err error) bool { return errors.Is(err, syscall.EINTR) }

// refusedLink reports whether O_NOFOLLOW met a link, which appeared after the name
// was checked: ELOOP, or EMLINK on FreeBSD.
func refusedLink(err error) bool {
	return errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK)
}
