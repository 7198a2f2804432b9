// Command hello is the least that a Go program can be: the floor of size, memory and time to start.
package main

import "os"

func main() { os.Stdout.WriteString("hello\n") }
