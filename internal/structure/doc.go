// Package structure draws the imports of this repository into docs/house.md, and
// checks that they run one way. It consists of tests. Draw the picture again
// after a package or an import was added or removed:
//
//	go test ./internal/structure -run Picture -update
package structure
