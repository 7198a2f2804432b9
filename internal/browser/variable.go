package browser

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// unsuitable are commands that run in the terminal, or that start such a command if
// there is no display. Their input and output are not connected here.
var unsuitable = []string{
	"lynx", "w3m", "links", "links2", "elinks", "browsh", "carbonyl", "chawan", "cha",
	"www-browser", "sensible-browser", "xdg-open",
}

// fromVariable returns the command for a value of BROWSER: the first usable one of
// those that colons separate. nil: there is none, and refused says why the last one
// was refused.
func fromVariable(value string) (argv []string, refused string) {
	for _, words := range split(value) {
		if argv, refused = usable(words); argv != nil {
			return argv, ""
		}
	}
	return nil, refused
}

// usable returns words with the absolute path of the command, or why it is refused.
func usable(words []string) (argv []string, refused string) {
	name := words[0]
	// Anyone who can write to the working directory could have put a command there.
	if strings.ContainsRune(name, filepath.Separator) && !filepath.IsAbs(name) {
		return nil, "its path is relative; give an absolute path"
	}
	path, err := exec.LookPath(name) // exec.ErrDot: the same through the PATH
	if err != nil {
		return nil, "its command is not on the PATH, or cannot be run"
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		target = path
	}
	for _, p := range []string{path, target} {
		if slices.Contains(unsuitable, filepath.Base(p)) {
			return nil, "it names a browser that runs in the terminal, or a launcher of one"
		}
	}
	return append([]string{path}, words[1:]...), ""
}

// split returns the commands of BROWSER, which colons separate, as words. It reads
// quotes and backslashes as a shell does, and expands nothing. A quote that is not
// closed lasts until the end.
func split(value string) (commands [][]string) {
	var words []string
	var word strings.Builder
	started, quoted, escaped := false, rune(0), false
	endWord := func() {
		if started {
			words = append(words, word.String())
		}
		word.Reset()
		started = false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 && words[0] != "" {
			commands = append(commands, words)
		}
		words = nil
	}
	for _, r := range value {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quoted != '\'':
			started, escaped = true, true
		case r == quoted:
			quoted = 0
		case quoted != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			started, quoted = true, r
		case r == ':':
			endCommand()
		case r == ' ' || r == '\t' || r == '\n':
			endWord()
		default:
			word.WriteRune(r)
			started = true
		}
	}
	endCommand()
	return commands
}
