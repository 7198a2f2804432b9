// Package interop holds real authorization servers for tests: npm's oidc-provider and zitadel/oidc's op, each on a free loopback
// port. What they are for is in this package's tests: the SDK against servers that its authors did not write, in a real
// Chromium (package browser), with sessions in a real keyring, across real processes.
//
// It is a module of its own so that what it needs stays out of the SDK's go.mod.
package interop
