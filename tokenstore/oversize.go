package tokenstore

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// A value that is too large for an item lies in a sealed file. Each Put writes a new one, under a new name and a new key,
// and the item that names it is the commit: replacing the file in place would lose the value at a crash before the item.

func (op *operation) sealedFile(key, id string) string {
	return op.files.file(key, id+".sealed")
}

// binding ties a file to its item: another program's, or another key's, does not open.
func (op *operation) binding(key string) string { return op.service + ":" + key }

// writeSealed makes the file durable before the item exists.
func (op *operation) writeSealed(key string, data []byte) (item, error) {
	var it item
	var id [16]byte
	_, _ = rand.Read(it.key[:]) // never fails
	_, _ = rand.Read(id[:])
	it.file = hex.EncodeToString(id[:])
	if err := securefile.WriteFile(op.sealedFile(key, it.file), sealBytes(it.key, op.binding(key), data)); err != nil {
		return item{}, unavailable(fmt.Errorf("sealed file: %w", err))
	}
	return it, nil
}

// readSealed's error is fs.ErrNotExist where there is no such file.
func (op *operation) readSealed(key string, it item) ([]byte, error) {
	sealed, err := securefile.ReadFile(op.sealedFile(key, it.file), maxPut+sealOverhead)
	if err != nil {
		return nil, unavailable(fmt.Errorf("sealed file: %w", err))
	}
	return openBytes(it.key, op.binding(key), sealed)
}

// sweep deletes the sealed files that earlier values of key left, but not keep's. It is for the end of a write that is
// known to have succeeded, under the write lock: only then is nobody else's file, and nothing that the item names, among them.
// What cannot be deleted waits for the next sweep.
func (op *operation) sweep(key, keep string) {
	names, err := securefile.List(string(op.files))
	if err != nil {
		return
	}
	for _, name := range names {
		id, sealed := strings.CutSuffix(name, ".sealed")
		id, ours := strings.CutPrefix(id, filePrefix+key+".")
		if sealed && ours && isFileID(id) && id != keep {
			_ = securefile.Remove(op.sealedFile(key, id))
		}
	}
}
