// Makes text from a server safe to show on a terminal or a page (S5).
//
// Such text could clear the screen, move the cursor, set the terminal's title,
// or use bidirectional controls to show another address than it holds.

package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// SafeText returns s on one line with at most max characters; max < 1 means
// 200. White space becomes a space. Control characters, terminal escapes,
// bidirectional and other invisible controls, and bad UTF-8 become "�". A
// longer text ends in "…".
func SafeText(s string, max int) string {
	if max < 1 {
		max = 200
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == max {
			b.WriteRune('…')
			break
		}
		b.WriteRune(safeRune(r))
		n++
	}
	return strings.TrimSpace(b.String())
}

// safeRune returns what stands for r in a safe text.
func safeRune(r rune) rune {
	switch {
	case r == '\n' || r == '\r' || r == '\t' || unicode.Is(unicode.Zs, r):
		return ' '
	case r == utf8.RuneError, !unicode.IsGraphic(r), invisible(r):
		return '�'
	}
	return r
}

// invisible reports graphic characters that draw nothing (the Hangul fillers
// and the blank Braille pattern among them), or that stack without bound on
// their neighbour.
func invisible(r rune) bool {
	switch r {
	case 0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800:
		return true
	}
	return unicode.Is(unicode.Variation_Selector, r) || unicode.Is(unicode.Me, r)
}
