// Package security holds docs/security.md to the code. Every item of its table has
// a defence that exists and tests that carry its number (TestTable). The tests
// fail if the defence is taken away (TestRemovals).
package security
