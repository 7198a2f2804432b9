package main

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// soon is how long a test waits for what takes a moment, on a machine that is busy.
const soon = 2 * time.Minute

// display is an X server without a screen and without a window manager.
type display struct {
	t      *testing.T
	number string // ":7"
	buffer string // the file that has the screen, in the format of xwd
}

func startDisplay(t *testing.T, size string) *display {
	t.Helper()
	realparts.Need(t, "Xvfb", "xdotool", "chromium")
	dir := t.TempDir()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer read.Close()
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-nolisten", "tcp", "-screen", "0", size+"x24",
		"-fbdir", dir)
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	require.NoError(t, write.Close())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.NoError(t, read.SetReadDeadline(time.Now().Add(soon)))
	number, err := io.ReadAll(read)
	require.NotEmpty(t, number, err)
	return &display{t, ":" + strings.TrimSpace(string(number)), filepath.Join(dir, "Xvfb_screen0")}
}

// do runs xdotool and returns what it prints.
func (d *display) do(args ...string) (string, error) {
	cmd := exec.Command("xdotool", args...)
	cmd.Env = append(os.Environ(), "DISPLAY="+d.number)
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// awaitTitle waits until there is a window of that title, and returns its number.
func (d *display) awaitTitle(title string) (window string) {
	d.t.Helper()
	d.await(title, func() bool {
		var err error
		window, err = d.do("search", "--name", "^"+title+"$")
		return err == nil && window != ""
	})
	return window
}

// at returns the window that is in front at a point.
func (d *display) at(p image.Point) string {
	d.t.Helper()
	_, err := d.do("mousemove", fmt.Sprint(p.X), fmt.Sprint(p.Y))
	require.NoError(d.t, err)
	out, err := d.do("getmouselocation", "--shell")
	require.NoError(d.t, err)
	_, window, _ := strings.Cut(out, "WINDOW=")
	return window
}

// awaitColour waits until a part of the screen has lines of at least that many
// pixels of a colour, and returns the rectangle around them.
func (d *display) awaitColour(c color.NRGBA, length int, part image.Rectangle) (area image.Rectangle) {
	d.t.Helper()
	d.await(fmt.Sprintf("the colour %v", c), func() bool {
		area = find(d.screen(), c, length, part)
		return area.Dy() > 10
	})
	return area
}

// await waits until something is to be seen.
func (d *display) await(what string, seen func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(soon); !seen(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(d.t, "this was not to be seen: "+what)
		}
	}
}

// click waits until a button of that colour is to be seen, and clicks its middle.
func (d *display) click(c color.NRGBA) {
	d.t.Helper()
	area := d.awaitColour(c, 100, uncovered)
	middle := area.Min.Add(area.Max).Div(2)
	_, err := d.do("mousemove", fmt.Sprint(middle.X), fmt.Sprint(middle.Y), "click", "1")
	require.NoError(d.t, err)
}

// find returns the rectangle around all horizontal lines of a colour.
func find(img *image.NRGBA, c color.NRGBA, length int, part image.Rectangle) (area image.Rectangle) {
	for y := part.Min.Y; y < part.Max.Y; y++ {
		start := part.Min.X
		for x := part.Min.X; x <= part.Max.X; x++ {
			if x < part.Max.X && alike(img.NRGBAAt(x, y), c) {
				continue
			}
			if x-start >= length {
				area = area.Union(image.Rect(start, y, x, y+1))
			}
			start = x + 1
		}
	}
	return area
}

// alike allows for the lighter shade of a button that has the focus.
func alike(a, b color.NRGBA) bool {
	near := func(a, b uint8) bool { return max(a, b)-min(a, b) < 0x30 }
	return near(a.R, b.R) && near(a.G, b.G) && near(a.B, b.B)
}

// screen returns what the display shows. X11's XWDFile.h describes the format.
func (d *display) screen() *image.NRGBA {
	d.t.Helper()
	data, err := os.ReadFile(d.buffer)
	require.NoError(d.t, err)
	field := func(i int) int { return int(binary.BigEndian.Uint32(data[4*i:])) }
	width, height, bits, stride := field(4), field(5), field(11), field(12)
	require.Equal(d.t, 32, bits)
	pixels := data[field(0)+12*field(19):]
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			p := pixels[y*stride+4*x:]
			img.SetNRGBA(x, y, color.NRGBA{R: p[2], G: p[1], B: p[0], A: 0xff})
		}
	}
	return img
}

// picture writes a part of the screen to docs/pictures, if NATIVEOAUTH_WRITE_DOCS=1.
func (d *display) picture(name string, part image.Rectangle) {
	d.t.Helper()
	if os.Getenv("NATIVEOAUTH_WRITE_DOCS") != "1" {
		return
	}
	file, err := os.Create(filepath.Join("..", "..", "docs", "pictures", name))
	require.NoError(d.t, err)
	defer file.Close()
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	require.NoError(d.t, encoder.Encode(file, d.screen().SubImage(part)))
}
