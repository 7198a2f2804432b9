package browser

import (
	"context"
	"time"
)

var (
	Encode = encode
	// WatchFor is Watch with the length of Open's own watch.
	WatchFor = open
)

// OpenWatching is Open with the length of its watch, for a machine that is busy with other tests.
func OpenWatching(ctx context.Context, rawURL string, notice time.Duration) error {
	return open(ctx, rawURL, notice, nil)
}
