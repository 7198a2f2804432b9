package tokenstore

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// item is what a keychain stores under one key. A small value is in the item
// itself. A large value is in a sealed file, and the item has the name of the
// file and the key that opens it.
//
// An item is written as printable ASCII, because keychains differ in what they
// accept as text. KeePassXC and KWallet decode UTF-8, XML loses control
// characters, and some keychains trim spaces.
type item struct {
	data []byte // the value; nil: it is in a file
	file string // 32 hexadecimal digits of the file's name
	key  [32]byte
}

const (
	itemText = "nativeoauth1:text:"
	itemData = "nativeoauth1:base64:"
	itemFile = "nativeoauth1:file:"
)

// encode prefers plain text, because base64 is a third longer and the size of an
// item is limited.
func (it item) encode() string {
	switch {
	case it.data == nil:
		return itemFile + it.file + ":" + base64.RawStdEncoding.EncodeToString(it.key[:])
	case isText(it.data):
		return itemText + string(it.data)
	default:
		return itemData + base64.RawStdEncoding.EncodeToString(it.data)
	}
}

// isText reports whether every keychain keeps data unchanged.
func isText(data []byte) bool {
	for _, c := range data {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(data) == 0 || data[len(data)-1] != ' '
}

// decodeItem accepts what encode returns and nothing else. Another program may
// have stored something under our name.
func decodeItem(s string) (item, error) {
	if text, ok := strings.CutPrefix(s, itemText); ok && isText([]byte(text)) {
		return item{data: []byte(text)}, nil
	}
	if text, ok := strings.CutPrefix(s, itemData); ok {
		if data, ok := decodeBase64(text); ok {
			return item{data: data}, nil
		}
	}
	if text, ok := strings.CutPrefix(s, itemFile); ok {
		file, keyText, _ := strings.Cut(text, ":")
		if key, ok := decodeBase64(keyText); ok && len(key) == 32 && isFileID(file) {
			return item{file: file, key: [32]byte(key)}, nil
		}
	}
	return item{}, fmt.Errorf("%w: the keychain's item was not written "+
		"by this version of this package", ErrDamaged)
}

// decodeBase64 accepts the one spelling that encode returns. The decoder would
// skip line breaks and, unless it is strict, stray bits.
func decodeBase64(s string) ([]byte, bool) {
	data, err := base64.RawStdEncoding.Strict().DecodeString(s)
	return data, err == nil && !strings.ContainsAny(s, "\r\n")
}

// isFileID makes sure that an item cannot name any other file, such as one with
// a path.
func isFileID(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == 16 && s == strings.ToLower(s)
}
