package main

import (
	"strings"
	"unicode"
)

// wrap breaks text at spaces into lines of at most width columns, and Chinese and
// Japanese text between its characters. A longer word, such as a URL, stays whole.
func wrap(text string, width int) []string {
	width = max(width, 20)
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		space := " "
		for _, piece := range pieces(word) {
			switch {
			case line == "":
				line = piece
			case columnsOf(line)+len(space)+columnsOf(piece) > width:
				lines, line = append(lines, line), piece
			default:
				line += space + piece
			}
			space = ""
		}
	}
	return append(lines, line)
}

// Characters at which a line neither begins nor ends.
const (
	neverFirst = "、。，．：；！？）」』】〉》ーぁぃぅぇぉっゃゅょァィゥェォッャュョ"
	neverLast  = "（「『【〈《"
)

// pieces splits a word at the places at which a line may end: beside wide characters
// that are not Korean, because Korean has spaces.
func pieces(word string) []string {
	var list []string
	start, before := 0, rune(0)
	for i, r := range word {
		if i > 0 && (spaceless(r) || spaceless(before)) &&
			!strings.ContainsRune(neverFirst, r) && !strings.ContainsRune(neverLast, before) {
			list, start = append(list, word[start:i]), i
		}
		before = r
	}
	return append(list, word[start:])
}

// spaceless reports a character of a script that is written without spaces.
func spaceless(r rune) bool { return wide(r) && !unicode.Is(unicode.Hangul, r) }

// columnsOf returns how many columns of a terminal text takes.
func columnsOf(text string) int {
	n := 0
	for _, r := range text {
		n++
		if wide(r) {
			n++
		}
	}
	return n
}

// clip returns as much of text as fits into width columns.
func clip(text string, width int) string {
	for i, r := range text {
		if width--; wide(r) {
			width--
		}
		if width < 0 {
			return text[:i]
		}
	}
	return text
}

// wide reports a character that takes two columns (Unicode's East Asian Width, in whole
// blocks).
func wide(r rune) bool {
	switch {
	case r < 0x1100:
		return false
	case r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff01 && r <= 0xff60,
		r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return true
	}
	return false
}
