//go:build unix && !darwin

package browser

// find returns the launcher: what BROWSER names, else that of the desktop.
func find() (launcher, error) {
	chosen, refused := chosen()
	if chosen != nil {
		return chosen, nil
	}
	// Without a display, xdg-open starts a text browser in the user's terminal.
	if !isSet("DISPLAY") && !isSet("WAYLAND_DISPLAY") {
		return nil, none("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); " +
			"open the URL by hand, or set BROWSER to a browser's command" + refused)
	}
	for _, name := range []string{"xdg-open", "x-www-browser"} {
		if lookPath(name) {
			return command(name), nil
		}
	}
	return nil, none("xdg-open is not on the PATH; install xdg-utils, " +
		"set BROWSER to a browser's command, or open the URL by hand" + refused)
}
