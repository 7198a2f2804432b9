// Package words has what a terminal says during a login, in the languages of the
// pages that the browser shows (package loopback).
//
// Errors, help, logs and everything that a script reads stay in English.
package words
