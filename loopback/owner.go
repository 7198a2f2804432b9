package loopback

// whose is what the system tells about the other end of a connection (S90 of docs/security.md).
type whose int

const (
	unknown  whose = iota // the system does not tell
	friend                // this process's user, root, or the user who called sudo
	stranger              // another user, or one who closed their end so as not to be seen
)
