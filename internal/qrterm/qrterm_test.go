package qrterm_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"rsc.io/qr"

	"github.com/nativeoauth/nativeoauth/internal/qrterm"
)

const colours, reset = "\x1b[38;5;16;48;5;231m", "\x1b[0m"

// read turns a drawing back into modules, as a reader that looks at the screen does: true is dark.
func read(t testing.TB, drawing string) [][]bool {
	var modules [][]bool
	require.True(t, strings.HasSuffix(drawing, "\n"))
	for _, line := range strings.Split(strings.TrimSuffix(drawing, "\n"), "\n") {
		line, ok := strings.CutPrefix(line, colours)
		require.True(t, ok, "each line sets dark and light itself")
		line, ok = strings.CutSuffix(line, reset)
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

func check(t testing.TB, text, drawing string) {
	code, err := qr.Encode(text, qr.L)
	require.NoError(t, err)
	modules := read(t, drawing)
	side := code.Size + 8
	require.Len(t, modules, (side+1)/2*2)
	for y, row := range modules {
		require.Len(t, row, side)
		for x, dark := range row {
			inside := x >= 4 && x < 4+code.Size && y >= 4 && y < 4+code.Size
			require.Equal(t, inside && code.Black(x-4, y-4), dark, "module %d,%d", x-4, y-4)
		}
	}
	// What makes it a QR code to a reader: the three finder patterns, seven modules wide, and not a fourth.
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

func TestRender(t *testing.T) {
	for _, text := range []string{"https://as.example/device?user_code=WDJB-MJHT", "x", "HTTPS://H/", "123456", "日本語", strings.Repeat("https://", 60)} {
		check(t, text, qrterm.Render(text, 500, 0))
	}
}

func TestWhatDoesNotFit(t *testing.T) {
	const text = "https://as.example/device?user_code=WDJB-MJHT"
	code, err := qr.Encode(text, qr.L)
	require.NoError(t, err)
	side, height := code.Size+8, (code.Size+9)/2
	check(t, text, qrterm.Render(text, side, height))
	require.Empty(t, qrterm.Render(text, side-1, 0))
	require.Empty(t, qrterm.Render(text, side, height-1))
	require.NotEmpty(t, qrterm.Render(text, 0, 0), "80 columns are enough for a real one")
	require.LessOrEqual(t, height, 24, "and 24 rows")
	require.Empty(t, qrterm.Render("", 500, 0))
	require.Empty(t, qrterm.Render(strings.Repeat("a", 4000), 1<<20, 0), "no code holds that")
	require.Empty(t, qrterm.Render(strings.Repeat("a", 1000), 0, 0))
}

func FuzzRender(f *testing.F) {
	f.Add("https://as.example/device?user_code=WDJB-MJHT", 80)
	f.Add("\x1b[2J", 80)
	f.Fuzz(func(t *testing.T, text string, columns int) {
		drawing := qrterm.Render(text, columns%300, 0)
		if drawing != "" {
			check(t, text, drawing) // nothing of the text itself comes through
		}
	})
}
