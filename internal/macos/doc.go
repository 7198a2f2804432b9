// Package macos runs the code that is for macOS on Linux. It has tests only.
//
// No machine of this project runs macOS. An overlay of the go command puts the
// files for darwin in the place of those for Linux: the keychain of tokenstore,
// the launcher of internal/browser, and internal/peer. The program
// internal/macos/security stands in for Apple's security(1).
//
// This shows what our code does with the answers of security(1). It does not show
// that the answers are right: they were read in Apple's published source.
package macos
