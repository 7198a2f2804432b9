//go:build !windows

package main

import "os"

// escapes reports whether the terminal understands escape sequences. Every
// terminal does that is not dumb.
func escapes(*os.File) bool { return true }
