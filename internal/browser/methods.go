package browser

// Capabilities are what the program and the provider make possible.
type Capabilities struct {
	// Opener means that the program opens URLs itself, and knows how.
	Opener bool
	// NoBrowser is why the system's browser cannot be opened, from [Available].
	// If nil, it can.
	NoBrowser error
	// Instruct means that the user can be shown a text, and can paste one.
	Instruct bool
	// Device means that the provider has a device authorization endpoint
	// (RFC 8628).
	Device bool
}

// Methods are the methods of signing in to offer at the same time.
type Methods struct {
	// Browser opens a browser on this machine, which reaches the listener.
	Browser bool
	// Paste shows the authorization URL and takes the URL at which the browser
	// ends. The listener waits too: its port may be forwarded.
	Paste bool
	// Device shows a code to enter on another device.
	Device bool
	// Why says what decided, in words to show to the user.
	Why string
}

// None reports whether no method is possible.
func (m Methods) None() bool { return !m.Browser && !m.Paste && !m.Device }

// Choose returns the methods for an environment. The first row that applies
// decides. Paste and device need a user that can be instructed, and device needs
// a provider that supports it.
//
//	the program opens URLs itself       browser
//	Codespaces, Gitpod                  paste, device
//	another remote editor, an opener    browser, paste, device
//	CI, no opener                       paste, device
//	SSH                                 paste, device
//	WSL, an opener                      browser, paste
//	a container, an opener              browser, paste, device
//	a container                         paste, device
//	no display, or no opener            paste, device
//	else: a desktop                     browser
//
// Some rows need a reason. In Codespaces the editor may be a browser tab, which
// cannot reach 127.0.0.1 here. In CI there may be no user; the login then ends at
// its deadline. Over SSH a display does not help: it is another machine's screen,
// or a stale DISPLAY of tmux. WSL offers paste because localhost may not be
// forwarded from Windows. A container with an opener is toolbox or distrobox,
// which share the network, or has a BROWSER that was set on purpose.
//
// It is safe to offer paste: what is pasted passes the same checks as a request.
// If the browser is the only method, the caller still has to show the URL if
// opening it fails.
func (e Environment) Choose(can Capabilities) Methods {
	opener := can.NoBrowser == nil
	told := func(why string) Methods {
		return Methods{Paste: can.Instruct, Device: can.Instruct && can.Device, Why: why}
	}
	all := func(why string) Methods {
		m := told(why)
		m.Browser = true
		return m
	}
	switch {
	case can.Opener:
		return Methods{Browser: true, Why: "the program opens the browser itself"}
	case e.WebEditor != "":
		return told("a workspace in the cloud (" + e.WebEditor + "): a browser may not reach it")
	case e.Editor != "" && opener:
		return all("a remote editor (" + e.Editor + "), which opens the browser at your side")
	case e.CI != "" && !opener:
		return told("continuous integration (" + e.CI + "): there may be nobody at a browser")
	case e.SSH != "":
		return told("a remote shell (" + e.SSH + "): a browser would open on the other machine")
	case e.WSL != "" && opener:
		m := all("the Windows Subsystem for Linux (" + e.WSL + ")")
		m.Device = false
		return m
	case e.Container != "" && opener:
		return all("a container with an opener (" + e.Container + ")")
	case e.Container != "":
		return told("a container (" + e.Container + "): no browser reaches it")
	case e.NoDisplay != "" && !opener:
		return told("no display (" + e.NoDisplay + ")")
	case !opener:
		return told("nothing here opens a browser")
	}
	return Methods{Browser: true, Why: "a browser on this machine"}
}
