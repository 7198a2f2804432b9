package storetest_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/nativeoauth/nativeoauth/tokenstore/storetest"
)

// A test of a store of your own. In your package it is a function TestMyStore.
func ExampleRun() {
	testMyStore := func(t *testing.T) {
		var store tokenstore.Memory // in place of your own store
		storetest.Run(t, func(t *testing.T) tokenstore.Store {
			return &store // another handle on the same store, as another process has one
		})
	}

	fmt.Println("passed:", passes(testMyStore))
	// Output: passed: true
}

// passes runs a test inside an example. With -v its lines would be in the output.
func passes(test func(*testing.T)) bool {
	verbose := flag.Lookup("test.v").Value.String()
	_ = flag.Set("test.v", "false")
	defer func() { _ = flag.Set("test.v", verbose) }()
	every := func(_, _ string) (bool, error) { return true, nil }
	return testing.RunTests(every, []testing.InternalTest{{Name: "TestMyStore", F: test}})
}
