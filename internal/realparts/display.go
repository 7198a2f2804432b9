//go:build linux

package realparts

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Display starts an X server without a screen (Xvfb) and returns the value of
// DISPLAY for it. It ends with the test.
func Display(tb testing.TB) string {
	tb.Helper()
	path := Need(tb, "Xvfb")[0]
	read, write, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(path, "-displayfd", "3", "-nolisten", "tcp", "-screen", "0", "1280x800x24")
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_ = read.SetReadDeadline(time.Now().Add(30 * time.Second))
	number, err := io.ReadAll(read)
	if len(number) == 0 {
		tb.Fatalf("Xvfb did not start: %v", err)
	}
	return ":" + strings.TrimSpace(string(number))
}
