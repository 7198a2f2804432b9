package words

import (
	"slices"
	"strings"
)

// Words are the sentences in one language. A name in braces stands for a value; see
// [Fill]. The comments say what the braces can be.
type Words struct {
	Lang string // BCP 47 tag, as that of the pages

	// What TerminalUI says.
	Before   string // until when an address works: {time}
	Opened   string // {before}: Before, or nothing
	Open     string // {before}
	Device   string // before the address for a device code
	OrDevice string // the same, after another way
	Code     string // between that address and the code
	OwnCode  string // the warning about codes of others
	Paste    string
	Until    string // {time}
	Refused  string // {why}, in English

	// What the command adds.
	Waiting     string // before the time that is left
	Left        string // {time}
	Elsewhere   string
	Answer      string
	SignedIn    string // {as}: As, or nothing; {issuer}
	Already     string // {as}, {issuer}
	As          string // {user}
	Memory      string
	Kept        string // {store}, {profile}: Profile, or nothing
	Profile     string // {name}
	NoKey       string
	Refreshed   string // {command}
	NoRefresh   string // {time}, or nothing if it is not known
	Keychain    string
	Passphrase  string
	New         string // {count}
	Again       string
	TooShort    string
	NotTheSame  string
	UnknownTime string // in the place of {time}
}

// Fill puts the values of names into text. pairs are names and values in turn.
func Fill(text string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		pairs[i] = "{" + pairs[i] + "}"
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// For returns the words in the language of messages that env names, by LC_ALL,
// LC_MESSAGES and LANG, of which the first that is set counts (POSIX). They are in
// English if it names no language, one that is not here, or a character set other than
// UTF-8.
func For(env func(name string) string) *Words {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if locale = env(name); locale != "" {
			break
		}
	}
	locale, _, _ = strings.Cut(strings.ToLower(locale), "@")
	locale, charset, _ := strings.Cut(locale, ".")
	if charset != "" && charset != "utf-8" && charset != "utf8" {
		return &table[0]
	}
	lang, territory, _ := strings.Cut(locale, "_")
	switch lang {
	case "iw": // the tag of Hebrew until 1989, which some systems still use
		lang = "he"
	case "zh":
		lang = "zh-Hans"
		if slices.Contains([]string{"tw", "hk", "mo"}, territory) {
			lang = "zh-Hant"
		}
	}
	for i := range table {
		if table[i].Lang == lang {
			return &table[i]
		}
	}
	return &table[0]
}

// Languages returns the tags of all languages. The first is English.
func Languages() (tags []string) {
	for i := range table {
		tags = append(tags, table[i].Lang)
	}
	return tags
}
