package tokenstore

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// item is what a keychain keeps under one key: the value, or, for one that is too large, which file holds it and the key
// that opens it. It is written as printable ASCII, because keychains differ in what they take for text: KeePassXC and KWallet
// decode UTF-8, XML loses control characters, and some trim.
type item struct {
	data []byte // the value, not nil; nil: it is in a file
	file string // 32 hex digits out of the file's name
	key  [32]byte
}

const (
	itemText = "nativeoauth1:text:"
	itemData = "nativeoauth1:base64:"
	itemFile = "nativeoauth1:file:"
)

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

// isText reports whether data survives every keychain as it is.
func isText(data []byte) bool {
	for _, c := range data {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(data) == 0 || data[len(data)-1] != ' '
}

// decodeItem takes what encode gives and nothing else.
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
	return item{}, fmt.Errorf("%w: the keychain's item was not written by this version of this package", ErrDamaged)
}

// decodeBase64 reads the one spelling that encode gives: the decoder would skip line breaks and, unless strict, stray bits.
func decodeBase64(s string) ([]byte, bool) {
	data, err := base64.RawStdEncoding.Strict().DecodeString(s)
	return data, err == nil && !strings.ContainsAny(s, "\r\n")
}

// isFileID keeps an item from naming any other file.
func isFileID(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == 16 && s == strings.ToLower(s)
}
