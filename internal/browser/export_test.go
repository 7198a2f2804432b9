package browser

var (
	Encode = encode
	// OpenFor is Watch with another notice, for a machine that is busy with
	// other tests.
	OpenFor = open
)
