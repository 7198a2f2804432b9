package oauthtest_test

import "testing"

// exampleTB is the testing.TB of an Example, which has none.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (tb *exampleTB) Helper()                   {}
func (tb *exampleTB) Name() string              { return "Example" }
func (tb *exampleTB) Cleanup(f func())          { tb.cleanups = append(tb.cleanups, f) }
func (tb *exampleTB) Fatalf(f string, a ...any) { panic("oauthtest failed") }

func run(test func(testing.TB)) {
	tb := &exampleTB{}
	test(tb)
	for i := len(tb.cleanups) - 1; i >= 0; i-- {
		tb.cleanups[i]()
	}
}
