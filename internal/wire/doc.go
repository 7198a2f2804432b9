// Package wire holds what every package here reads and writes with: URLs that
// are safe to open, JSON that is read strictly, secrets that do not print, text
// that is safe to show, and the one error for an invalid answer. It does not
// import net/http.
package wire
