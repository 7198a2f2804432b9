// Package security holds docs/security.md to the code. Every item of its table has
// a defence that exists and tests that carry its number (TestTable). The tests
// fail if the defence is taken away (TestRemovals).
//
// TestMends does the same for internal/model: it takes away what mends the known
// faults of stored sessions, and the sequences that show the faults must fail.
package security
