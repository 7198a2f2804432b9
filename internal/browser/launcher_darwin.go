package browser

// find returns the launcher: what BROWSER names, else open.
func find() (launcher, error) {
	chosen, refused := chosen()
	switch {
	case chosen != nil:
		return chosen, nil
	case lookPath("open"):
		return command("open"), nil
	}
	return nil, none("open is not on the PATH; add /usr/bin to it, or open the URL by hand" + refused)
}
