// Package interop starts real authorization servers for tests: npm's
// oidc-provider and better-auth, zitadel/oidc's op, Ory Hydra, and Debian's
// glewlwyd, lemonldap-ng and django-oauth-toolkit, each on a loopback port of its
// own. Its tests run the SDK against these servers, which its authors did not
// write. The user is a real Chromium (package browser) or a scripted one
// ([User]). Sessions are in a real keyring, and shared by real processes.
//
// The package is a module of its own, so that its dependencies stay out of the
// SDK's go.mod.
package interop
