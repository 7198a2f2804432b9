package loopback

// headerFilter shortens the headers of one request on their way to net/http.
//
// Cookies ignore ports (RFC 6265 §8.5). A browser therefore sends this listener
// the cookies of every other server on 127.0.0.1, which can be hundreds of
// kilobytes. Refusing them would end the sign-in of a user that has done
// nothing wrong, and keeping them would let every local program fill this
// process's memory (S17). So they are read and thrown away: Cookie loses its
// value, and every other value is cut at maxValue. Nothing that this package
// reads is longer, and a cut value is at most refused. The names of headers and
// the request line stay whole, so that net/http refuses what is malformed.
//
// What is kept is limited to maxHeader, and what is read to maxSent.
type headerFilter struct {
	sent, kept int  // bytes of the request line and the headers so far
	lines      int  // that have ended
	inLine     int  // bytes of this line so far, without carriage returns
	inValue    bool // after the colon of this line
	cookie     bool // this line is, so far, the beginning of "Cookie:"
	value      int  // bytes of this value that were kept
	ended      bool // after the empty line; the rest is the body
}

const (
	// maxSent is the number of bytes in the request line and the headers as the
	// browser sends them. Chromium and Firefox keep at most 180 cookies of
	// 4 KiB for a host, which is 720 KiB.
	maxSent = 1 << 20
	// maxValue is the number of bytes of a header's value that are kept.
	maxValue = 512
)

// filter moves the bytes to keep to the beginning of b and returns their number.
// It reports false if the headers are too large.
func (f *headerFilter) filter(b []byte) (n int, ok bool) {
	for i, c := range b {
		if f.ended {
			return n + copy(b[n:], b[i:]), true
		}
		f.sent++
		if f.keep(c) {
			b[n] = c
			n++
			f.kept++
		}
		if f.sent > maxSent || f.kept > maxHeader {
			return 0, false
		}
	}
	return n, true
}

// keep reports whether c is kept, and moves on by one byte.
func (f *headerFilter) keep(c byte) bool {
	const name = "cookie:"
	switch {
	case c == '\n':
		f.ended = f.lines > 0 && f.inLine == 0
		f.lines++
		f.inLine = 0
		return true
	case c == '\r' && f.inLine == 0, f.lines == 0:
		if c != '\r' {
			f.inLine++
		}
		return true
	}
	if f.inLine == 0 {
		// A line that begins with a space goes on with the value of the line
		// before (RFC 9112 §5.2). It must not be a way around the limits. The
		// space is kept, because an empty line would end the headers.
		if f.inValue = c == ' ' || c == '\t'; f.inValue {
			f.inLine++
			return true
		}
		f.cookie, f.value = true, 0
	}
	if !f.inValue {
		f.cookie = f.cookie && f.inLine < len(name) && c|0x20 == name[f.inLine]|0x20
		f.inLine++
		f.inValue = c == ':'
		return true
	}
	f.inLine++
	if f.cookie {
		return false
	}
	f.value++
	return f.value <= maxValue
}
