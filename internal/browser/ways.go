package browser

// Can is what the program and the provider make possible.
type Can struct {
	// Opener: the program opens URLs itself, and knows where. NoBrowser is what keeps the system's browser from being opened, nil: nothing.
	Opener    bool
	NoBrowser error
	// Instruct: a person can be told something, and can paste.
	Instruct bool
	// Device: the provider has a device authorization endpoint.
	Device bool
}

// Ways are the ways to offer, together. None is a sign-in that cannot be. Why says what decided, in words to show.
type Ways struct {
	Browser bool // open one on this machine, which reaches the listener
	Paste   bool // show the authorization URL, and take the URL that it ends at; the listener waits all the same, for a forwarded port
	Device  bool // show the code
	Why     string
}

// None reports that there is no way.
func (w Ways) None() bool { return !w.Browser && !w.Paste && !w.Device }

// Choose is FlowAuto. The first row that applies decides; P and D need a person who can be told, and D a provider that can.
//
//	the program opens URLs itself             browser
//	Codespaces, Gitpod                        paste, device      the editor may be a browser tab, which reaches no 127.0.0.1 here
//	another remote editor, with an opener     browser, paste, device
//	CI, without an opener                     paste, device      nobody may be there: an end at Login's deadline
//	SSH                                       paste, device      even with a display: it is another's screen, or a stale DISPLAY of tmux
//	WSL, with an opener                       browser, paste     Windows' browser; paste where localhost is not forwarded
//	a container, with an opener               browser, paste, device   toolbox and distrobox share the network, or BROWSER was set on purpose
//	a container                               paste, device
//	no display, or no opener                  paste, device
//	else: a desktop                           browser
//
// Paste is safe wherever it is offered: what is pasted passes the same checks as a callback. Where only the browser is offered, the
// caller still shows the URL if opening fails.
func (f Facts) Choose(can Can) Ways {
	opener := can.NoBrowser == nil
	told := func(why string) Ways { return Ways{Paste: can.Instruct, Device: can.Instruct && can.Device, Why: why} }
	both := func(why string) Ways {
		w := told(why)
		w.Browser = true
		return w
	}
	switch {
	case can.Opener:
		return Ways{Browser: true, Why: "the program opens the browser itself"}
	case f.WebEditor != "":
		return told("a workspace in the cloud (" + f.WebEditor + "): a browser may not reach it")
	case f.Editor != "" && opener:
		return both("a remote editor (" + f.Editor + "), which opens the browser at your side")
	case f.CI != "" && !opener:
		return told("continuous integration (" + f.CI + "): there may be nobody at a browser")
	case f.SSH != "":
		return told("a remote shell (" + f.SSH + "): a browser would open on the other machine")
	case f.WSL != "" && opener:
		w := both("the Windows Subsystem for Linux (" + f.WSL + ")")
		w.Device = false
		return w
	case f.Container != "" && opener:
		return both("a container with an opener (" + f.Container + ")")
	case f.Container != "":
		return told("a container (" + f.Container + "): no browser reaches it")
	case f.NoDisplay != "" && !opener:
		return told("no display (" + f.NoDisplay + ")")
	case !opener:
		return told("nothing here opens a browser")
	}
	return Ways{Browser: true, Why: "a browser on this machine"}
}
