// Package session is the life of a stored session: its tokens in memory, its
// refreshes, and its end, across goroutines, processes and crashes.
//
// Rotating refresh tokens with reuse detection (RFC 9700 §4.14) turn a race, or a
// save that was half done, into a sign-out of the user. So refresh, login and
// logout share one protocol. Each of its rules stands for an order of events that
// loses sessions without it; a model of all interleavings found them.
//
// # Words
//
//   - The refresh lock and the login lock are the store's locks for one key. The
//     order is login lock first, then refresh lock, never the reverse.
//   - The [Journal] is a small file beside the lock, without secrets. Only the
//     holder of the refresh lock writes it. It tells the next holder what was
//     under way.
//   - Every stored [Grant] carries its generation. It is allotted under the refresh
//     lock, one above everything known. "Newer" means a higher generation, never a
//     later expiry.
//   - An open operation is a refresh, login or logout that the journal says has
//     begun. "Settled" means that its process gave up alive, with no call of the
//     store outstanding.
//   - A tombstone is the generation of a logout. A value at or below it does not
//     exist.
//
// A read that failed, was locked or timed out is not "absent".
//
// # A token
//
//  1. A token that is valid in memory is returned. Memory holds only tokens that
//     are known to be stored. (account.go, cached.go)
//  2. One goroutine of a process refreshes. It reads journal and value without the
//     lock, and adopts a newer valid token, unless an open refresh names the stored
//     refresh token: then step 3 follows even if the access token is still valid,
//     or the provider's grace period would pass while everyone goes on with the old
//     token, and the next refresh would be a reuse. A process that lives long looks
//     at the journal every few seconds. (refresh.go, early.go)
//  3. It takes the refresh lock. While another process holds it, the journal is
//     watched, and what that process stores is adopted without the lock. At the
//     deadline step 2 is done once more; the error is then [ErrBusy]. A refresh
//     without the lock never happens. An early refresh only tries the lock,
//     and does nothing on a store that would prompt the user.
//  4. It reads journal and value again, under the lock.
//     a. There is no session, or its refresh token is marked dead: an error.
//     b. The open operation's own generation is stored: it landed. It is closed.
//     c. The value is newer than memory and valid, and no open refresh names it: it
//     is adopted.
//     d. Otherwise this refresh token is sent. If an open refresh names it, this is
//     the recovery attempt: what became of the first request is unknown.
//  5. It makes sure that the store can be written. A store that prompts does so
//     now, before anything can be lost. It opens the operation in the journal,
//     durably, before anything is sent.
//  6. It sends the refresh token, bounded by a deadline and not by the caller.
//     a. Nothing left this machine, or the provider refused the request but not the
//     token: the operation is closed. In a recovery attempt it stays open, settled.
//     b. Nobody knows what became of it (reset, timeout, 5xx): one more attempt under
//     the lock; then it stays open, settled. After 429 or 503 the journal says until
//     when everybody waits.
//     c. invalid_grant: the value is read again. A newer generation is adopted or
//     sent, once. Otherwise the token is marked dead. Nothing is deleted.
//  7. The new value is written with its generation, and the store reads it back. A
//     missing refresh token is carried forward (RFC 6749 §6).
//  8. The operation is closed in the journal. Only then is the token published and
//     the lock given back.
//  9. If the write fails, the lock is kept, the token is not published, and the
//     write is tried again. The old refresh token is never sent, and the lock is
//     never given back while a call of the store is outstanding.
//
// # A login (signin.go)
//
//  10. It takes the login lock, so that one process at a time prompts the user. A
//     stored session that satisfies the caller is adopted. The failure of another
//     login is adopted only if it is later than this call's start.
//  11. After all checks it takes the refresh lock, reads again, opens the operation
//     with a generation allotted now, and follows steps 7 to 9.
//
// # A logout (signout.go)
//
//  12. Under the refresh lock, one write of the journal sets the tombstone and opens
//     the operation: from here on the session is gone for everyone. Then the tokens
//     are revoked and the value is deleted. After a crash the next holder finishes.
//
// # Listing (list.go)
//
// Steps 13 and 14 concern values over a keychain's limit; package tokenstore does
// them.
//
//  15. The journal also holds a row for listing. It is trusted if nothing is under
//     way; otherwise the value decides.
package session
