package tokenstore

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// A value that is too large for an item is in a sealed file. Each Put writes a
// new file under a new name and a new key. The item that names the file commits
// the change. If the file were replaced in place, a crash before the item is
// written would lose the value.

// sealedFile returns the path of one of key's sealed files. The id is random, so
// that the name reveals nothing and is never used twice.
func (op *operation) sealedFile(key, id string) string {
	return op.files.file(key, id+"."+sealedKind)
}

// binding ties a file to its item. A file of another service or another key does
// not open.
func (op *operation) binding(key string) string { return op.service + ":" + key }

// writeSealed makes the file durable and returns the item that will name it.
func (op *operation) writeSealed(key string, data []byte) (item, error) {
	var it item
	var id [16]byte
	_, _ = rand.Read(it.key[:]) // never fails
	_, _ = rand.Read(id[:])
	it.file = hex.EncodeToString(id[:])
	sealed := sealBytes(it.key, op.binding(key), data)
	if err := securefile.WriteFile(op.sealedFile(key, it.file), sealed); err != nil {
		return item{}, unavailable(fmt.Errorf("sealed file: %w", err))
	}
	return it, nil
}

// readSealed returns an error that matches fs.ErrNotExist if there is no such
// file.
func (op *operation) readSealed(key string, it item) ([]byte, error) {
	sealed, err := securefile.ReadFile(op.sealedFile(key, it.file), maxPut+sealOverhead)
	if err != nil {
		return nil, unavailable(fmt.Errorf("sealed file: %w", err))
	}
	return openBytes(it.key, op.binding(key), sealed)
}

// sweep deletes the sealed files that earlier values of key left behind, except
// the file keep. It runs under the write lock, at the end of a write that is known
// to have succeeded. Only then is none of them a file of another writer or one
// that the item names. A file that cannot be deleted waits for the next sweep.
func (op *operation) sweep(key, keep string) {
	names, err := securefile.List(string(op.files))
	if err != nil {
		return
	}
	for _, name := range names {
		id, sealed := strings.CutSuffix(name, "."+sealedKind)
		id, ours := strings.CutPrefix(id, filePrefix+key+".")
		if sealed && ours && isFileID(id) && id != keep {
			_ = securefile.Remove(op.sealedFile(key, id))
		}
	}
}
