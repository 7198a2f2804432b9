package browser

// find returns the system call that opens a URL, which is always there.
func find() (launcher, error) { return desktop, nil }
