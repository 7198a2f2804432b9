package workload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

const (
	maxToken = 64 << 10 // bytes of a file; a JWT has one or two KiB
	// readings of a file that is exchanged meanwhile. Kubernetes renews a token
	// once in some minutes, so a second reading meets the new one.
	readings = 3
)

// File returns the function for a platform that writes its token to a file and
// renews it there, as Kubernetes does with a projected token. The file is read
// anew each time. White space around the token is ignored.
//
// The file must belong to this user or root, and nobody else may write to it. A file
// of this user may be readable for its group, and not for all. Symbolic links are
// followed if this user or root owns them:
// Kubernetes exchanges a token by a link. On Windows links are refused. A user
// that could change the file could choose the name in which the program acts.
func File(path string) func(ctx context.Context, audience string) (string, error) {
	return func(ctx context.Context, audience string) (string, error) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		data, err := read(path)
		if err != nil {
			return "", fmt.Errorf("workload: the token file: %w", err)
		}
		return accept(string(data), audience, "the token in "+shown(path))
	}
}

// read reads the file again if it was exchanged meanwhile: between two looks at it,
// the directory behind Kubernetes' link ..data may go.
func read(path string) (data []byte, err error) {
	for range readings {
		data, err = securefile.ReadIssued(path, maxToken)
		if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, securefile.ErrInsecure) {
			return data, err
		}
	}
	return nil, err
}
