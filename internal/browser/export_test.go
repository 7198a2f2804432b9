package browser

var (
	// OpenWatching is Open with the length of its watch, for a machine that is busy with other tests.
	OpenWatching = open
	Encode       = encode
)
