package tokenstore_test

import (
	"testing"

	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/nativeoauth/nativeoauth/tokenstore/storetest"
)

// The whole contract in memory.
func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	var memory tokenstore.Memory
	storetest.Run(t, func(*testing.T) tokenstore.Store { return &memory })
}

// The store of the example keeps the contract too.
func TestExampleStoreKeepsTheContract(t *testing.T) {
	one := &vault{}
	storetest.Run(t, func(*testing.T) tokenstore.Store { return one })
}
