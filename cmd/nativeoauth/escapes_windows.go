package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// escapes makes the console understand escape sequences, and reports whether it
// does. A console of Windows prints them as text until it is asked; cmd.exe does
// not ask.
func escapes(f *os.File) bool {
	var mode uint32
	console := windows.Handle(f.Fd())
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return mode&windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING != 0 ||
		windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
