// Package qrterm draws a QR code on a terminal, for a person who signs in with their telephone.
package qrterm

import (
	"strings"

	"rsc.io/qr"
)

// quiet is the light border that a reader needs (ISO/IEC 18004 asks for four modules).
const quiet = 4

// Black 16 and white 231 of the 256-colour table: unlike the first sixteen, no theme redefines them, so the code is
// dark on light whatever the terminal's own colours are. Readers fail on the inverse.
const (
	colours = "\x1b[38;5;16;48;5;231m"
	reset   = "\x1b[0m"
)

// Render returns text as a QR code in lines that each end in "\n", two modules high and one wide to a character, in colours of its
// own. It returns "" where the code does not fit into columns (less than 1: unknown, taken as 80), is taller than rows (less
// than 1: any), or where text is too long for a code: it is a convenience beside the text itself. Not for a terminal without escapes.
func Render(text string, columns, rows int) string {
	if columns < 1 {
		columns = 80
	}
	code, err := qr.Encode(text, qr.L) // a screen is neither torn nor stained: the lowest redundancy gives the smallest code
	if err != nil || text == "" {
		return ""
	}
	side := code.Size + 2*quiet
	height := (side + 1) / 2
	if side > columns || rows > 0 && height > rows {
		return ""
	}
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString(colours)
		for x := -quiet; x < code.Size+quiet; x++ {
			switch top, bottom := code.Black(x, y), code.Black(x, y+1); { // outside the code: light
			case top && bottom:
				b.WriteString("█")
			case top:
				b.WriteString("▀")
			case bottom:
				b.WriteString("▄")
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString(reset + "\n")
	}
	return b.String()
}
