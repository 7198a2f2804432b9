package main

import (
	"strings"

	"rsc.io/qr"
)

// qrMargin is the light border that a reader needs: four modules (ISO/IEC 18004).
const qrMargin = 4

// Black 16 and white 231 of the 256-colour table. Themes redefine the first
// sixteen colours but not these, so the code is dark on light in every terminal.
// Readers fail on the inverse.
const (
	qrColours = "\x1b[38;5;16;48;5;231m"
	qrReset   = "\x1b[0m"
)

// drawQR returns text as a QR code in lines that end in "\n". A character is one
// module wide and two high. It returns "" if the code would be wider than columns
// or taller than rows, or if text is too long for a code: the code only saves
// typing, and the text is shown too. If columns is less than 1, it is taken as
// 80; if rows is less than 1, any height will do. The terminal must understand
// escape sequences.
func drawQR(text string, columns, rows int) string {
	if columns < 1 {
		columns = 80
	}
	// A screen is neither torn nor stained: the lowest redundancy gives the smallest code.
	code, err := qr.Encode(text, qr.L)
	if err != nil || text == "" {
		return ""
	}
	side := code.Size + 2*qrMargin
	height := (side + 1) / 2
	if side > columns || rows > 0 && height > rows {
		return ""
	}
	var b strings.Builder
	for y := -qrMargin; y < code.Size+qrMargin; y += 2 {
		b.WriteString(qrColours)
		for x := -qrMargin; x < code.Size+qrMargin; x++ {
			// Black reports false for what lies outside the code, which makes the margin.
			switch top, bottom := code.Black(x, y), code.Black(x, y+1); {
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
		b.WriteString(qrReset + "\n")
	}
	return b.String()
}
