// Package security holds docs/security.md to the tree: every item of its table has a defence that exists and tests that carry its number
// (TestTable), and the tests fail where the defence is taken away (TestRemovals).
package security
