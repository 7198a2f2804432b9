package loopback_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/loopback"
)

// S90: another user of the computer requests the ticket and sends a response,
// also by a connection that is closed or reset at once. The real browser still
// completes the sign-in.
func TestS90AnotherUserIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can start a process as another user")
	}
	if sudo := os.Getenv("SUDO_UID"); sudo != "" {
		t.Setenv("SUDO_UID", "")
	}
	nobody := func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
			Uid: 65534, Gid: 65534,
		}}
		// Only root can enter the test binary's directory. An open file can be
		// executed all the same.
		f, err := os.Open(cmd.Path)
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		cmd.ExtraFiles = []*os.File{f}
		cmd.Path, cmd.Dir = "/proc/self/fd/3", "/"
	}
	target := func(s *loopback.Server, u string) string {
		return addr(t, s) + " " + strings.TrimPrefix(u, "http://"+addr(t, s))
	}
	for name, cfg := range map[string]loopback.Config{
		"IPv4": {}, "IPv6": {Addr: "[::1]:0"}, "localhost": {Localhost: true},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "IPv6" && !has("::1") {
				t.Skip("skipped: this machine has no IPv6 loopback address")
			}
			s, ticket := start(t, cfg)
			steal := good(s)
			for _, u := range []string{ticket, steal} {
				out, _ := startAttacker(t, "get", target(s, u), nobody)
				require.Contains(t, line(t, out), "403")
				out, _ = startAttacker(t, "vanish", target(s, u), nobody)
				require.Equal(t, "vanished", line(t, out))
				require.Never(t, func() bool {
					select {
					case <-loopback.Decided(s):
						return true
					default:
						return false
					}
				}, 300*time.Millisecond, 10*time.Millisecond)
			}
			require.Equal(t, 302, send(t, "GET", ticket, "").StatusCode, "the ticket is unused")
			complete(t, s)
		})
	}
	t.Run("named in the error", func(t *testing.T) {
		s, ticket := start(t, loopback.Config{})
		out, _ := startAttacker(t, "get", target(s, ticket), nobody)
		require.Contains(t, line(t, out), "403")
		require.NoError(t, s.Close())
		_, err := s.Wait(t.Context())
		require.ErrorContains(t, err, "AllowOtherUsers")
	})
	t.Run("AllowOtherUsers", func(t *testing.T) {
		s, ticket := start(t, loopback.Config{AllowOtherUsers: true})
		out, _ := startAttacker(t, "get", target(s, ticket), nobody)
		require.Contains(t, line(t, out), "302")
	})
	t.Run("SUDO_UID", func(t *testing.T) {
		t.Setenv("SUDO_UID", "65534")
		s, ticket := start(t, loopback.Config{})
		out, _ := startAttacker(t, "get", target(s, ticket), nobody)
		require.Contains(t, line(t, out), "302")
	})
}
