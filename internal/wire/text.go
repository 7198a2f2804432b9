// Makes text from a server safe to show to a person, on a terminal or a page (S5).

package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// SafeText returns s on one line with at most max characters (max < 1 means 200): control characters,
// terminal escapes, bidirectional and other invisible controls, and bad UTF-8 become "�", and white space
// becomes a space. A longer text ends in "…".
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

func safeRune(r rune) rune {
	switch {
	case r == '\n' || r == '\r' || r == '\t' || unicode.Is(unicode.Zs, r):
		return ' '
	case r == utf8.RuneError, !unicode.IsGraphic(r), invisible(r):
		return '�'
	}
	return r
}

// invisible names graphic characters that draw nothing, or that stack without bound on their neighbour.
func invisible(r rune) bool {
	return r == 0x115F || r == 0x1160 || r == 0x3164 || r == 0xFFA0 || r == 0x2800 || unicode.Is(unicode.Variation_Selector, r) || unicode.Is(unicode.Me, r)
}
