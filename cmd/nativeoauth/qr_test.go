package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"rsc.io/qr"
)

// readQR turns a drawing back into modules, as a camera does that looks at the
// screen. True is dark.
func readQR(t testing.TB, drawing string) [][]bool {
	var modules [][]bool
	require.True(t, strings.HasSuffix(drawing, "\n"))
	for _, line := range strings.Split(strings.TrimSuffix(drawing, "\n"), "\n") {
		line, ok := strings.CutPrefix(line, "\x1b[38;5;16;48;5;231m")
		require.True(t, ok, "each line sets dark and light itself")
		line, ok = strings.CutSuffix(line, "\x1b[0m")
		require.True(t, ok, "and gives the terminal its own back")
		var top, bottom []bool
		for _, r := range line {
			require.Contains(t, " ▀▄█", string(r))
			top, bottom = append(top, r == '▀' || r == '█'), append(bottom, r == '▄' || r == '█')
		}
		modules = append(modules, top, bottom)
	}
	return modules
}

// checkQR checks that drawing is the code of text, with its margin.
func checkQR(t testing.TB, text, drawing string) {
	code, err := qr.Encode(text, qr.L)
	require.NoError(t, err)
	modules := readQR(t, drawing)
	side := code.Size + 8
	require.Len(t, modules, (side+1)/2*2)
	for y, row := range modules {
		require.Len(t, row, side)
		for x, dark := range row {
			inside := x >= 4 && x < 4+code.Size && y >= 4 && y < 4+code.Size
			require.Equal(t, inside && code.Black(x-4, y-4), dark, "module %d,%d", x-4, y-4)
		}
	}
	// A reader finds a QR code by three patterns, seven modules wide, and no fourth.
	finder := func(x0, y0 int) bool {
		for y := range 7 {
			for x := range 7 {
				ring := max(x-3, 3-x, y-3, 3-y)
				if modules[y0+4+y][x0+4+x] != (ring != 2) {
					return false
				}
			}
		}
		return true
	}
	require.True(t, finder(0, 0))
	require.True(t, finder(code.Size-7, 0))
	require.True(t, finder(0, code.Size-7))
	require.False(t, finder(code.Size-7, code.Size-7))
}

func TestQRCodeCanBeRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"https://as.example/device?user_code=WDJB-MJHT", "x", "HTTPS://H/", "123456", "日本語",
		strings.Repeat("https://", 60),
	} {
		checkQR(t, text, drawQR(text, 500, 0))
	}
}

func TestQRCodeIsLeftOutIfItDoesNotFit(t *testing.T) {
	t.Parallel()
	const text = "https://as.example/device?user_code=WDJB-MJHT"
	code, err := qr.Encode(text, qr.L)
	require.NoError(t, err)
	side, height := code.Size+8, (code.Size+9)/2
	checkQR(t, text, drawQR(text, side, height))
	require.Empty(t, drawQR(text, side-1, 0))
	require.Empty(t, drawQR(text, side, height-1))
	require.NotEmpty(t, drawQR(text, 0, 0), "80 columns are enough for a real one")
	require.LessOrEqual(t, height, 24, "and 24 rows")
	require.Empty(t, drawQR("", 500, 0))
	require.Empty(t, drawQR(strings.Repeat("a", 4000), 1<<20, 0), "no code holds that")
	require.Empty(t, drawQR(strings.Repeat("a", 1000), 0, 0))
}

func FuzzQRCode(f *testing.F) {
	f.Add("https://as.example/device?user_code=WDJB-MJHT", 80)
	f.Add("\x1b[2J", 80)
	f.Fuzz(func(t *testing.T, text string, columns int) {
		drawing := drawQR(text, columns%300, 0)
		if drawing != "" {
			checkQR(t, text, drawing) // nothing of the text itself comes through
		}
	})
}
