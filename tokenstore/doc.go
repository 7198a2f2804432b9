// Package tokenstore keeps the sessions of a native program. A session is a
// small secret value, such as a refresh token and what belongs to it. The
// package stores it in the keychain of the operating system, in encrypted
// files, or in memory. It never falls back to plaintext.
//
//	store := &tokenstore.Keyring{}
//	err := store.Put(ctx, "example.com-my-cli", data)
//
// A program that uses package oauthclient passes a Store in its configuration
// and does not call Put and Get itself.
//
// # What is stored
//
// A [Store] keeps one value under each key. A key is a short name, and a value
// is up to [MaxData] bytes. A store that several processes use also keeps a
// lock and a journal for each key; see [Shared]. A journal tells which operation
// on the key is under way. It contains no secrets.
//
// # Choosing a store
//
//   - [Keyring] is the keychain: macOS Keychain, Windows Credential Manager, or
//     the Secret Service of Linux and the BSDs. It is right for a program on the
//     user's own computer.
//   - [File] encrypts each value into a file of its own, with a passphrase or with
//     a [Key] that the program supplies. It is right for servers, containers and
//     CI systems.
//   - [Memory] forgets everything when the process ends. It is right for tests.
//   - [Seal] encrypts the values that another store keeps, such as a database of
//     your own.
//
// A program that runs on desktops and servers calls [Keyring.Probe] before the
// first login. It takes a File if there is no keychain, and records the choice
// in its settings. The package example shows this in a few lines. Do not choose
// again at each start. A keychain that is locked today still holds the session.
// If the program then switched to a file, the user would have to log in again, and
// the refresh token in the keychain would stay valid.
//
// # Writing a store
//
// Implement [Store]; its documentation is the whole contract. Three optional
// interfaces add to it:
//
//   - [Shared] lets several clients use the store at once, in one process or in
//     many. Without it a store is for one client in one process.
//   - [Lister] lets a program list its accounts.
//   - [Prober] lets a program fail before a login if the session could not be stored.
//
// Package storetest tests a store against the contract. It runs as part of your
// own tests, needs nothing but a function that opens the store, and skips the
// interfaces that the store does not have:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) tokenstore.Store { return open(t) })
//	}
//
// # Errors
//
// An error that a program can handle wraps one of the sentinels of this package, or
// the error of the context. Other errors are mistakes in the program, such as an
// invalid key. The text names the cause and what the user can do about it. It never
// contains a value, a passphrase or a [Key].
//
//	error           what it means               what to do
//	-----           -------------               ----------
//	ErrNotFound     there is no such value      go on without one
//	ErrUnavailable  no keychain, or no answer   show it; or choose a File before the
//	                                            first login
//	ErrDismissed    the user dismissed a        wait until the user asks for something
//	                prompt
//	ErrLocked       the user has to unlock it   tell the user, and try again
//	ErrBusy         an earlier call hangs       try again later
//	ErrDamaged      no key opens the value      delete it or put another: sign in again
//	ErrWrongKey     another key sealed it       ask for the right key; do not delete
//	ErrNewerFormat  a newer version sealed it   update the program
//	*Pending        the change may still        keep the lock until it is settled
//	                happen
//
// ErrDismissed also matches ErrLocked, and ErrDamaged also matches ErrWrongKey, so
// test them in this order.
//
// If a call was given up while its change may still happen, the error is a
// [*Pending]. The caller keeps the lock of the key until that is settled.
package tokenstore
