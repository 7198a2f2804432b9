// Package session is the life of a stored session: its tokens in memory, its
// refreshes, and its end, across goroutines, processes and crashes.
//
// Rotating refresh tokens with reuse detection (RFC 9700 §4.14) turn a race, or a
// save that was half done, into a sign-out of the user. So refresh, login and
// logout share one protocol. Each of its rules stands for an order of events that
// loses sessions without it; a model checker that played all interleavings found
// them.
//
// # Words
//
//   - The refresh lock and the login lock are the store's locks for one key. The
//     order is login lock first, then refresh lock, never the reverse.
//   - The [Journal] is a small note beside the lock, without secrets. Only the
//     holder of the refresh lock writes it. It tells the next holder what was
//     under way.
//   - Every stored [Grant] carries its generation. It is allotted under the refresh
//     lock, one above everything known. "Newer" means a higher generation, never a
//     later expiry.
//   - An open operation is a refresh, login or logout that the journal says has
//     begun.
//   - A tombstone is the generation of a logout. A value at or below it does not
//     exist.
//
// A read that failed, was locked or timed out is not "absent". A value below the
// generation that the journal says was stored is an older copy, as from a backup. It
// counts as absent, because its refresh token is spent.
//
// # A token
//
//  1. A token that is valid in memory is returned. Memory holds only tokens that
//     are known to be stored. (token.go, cached.go)
//  2. One goroutine of a process refreshes. It reads journal and value without the
//     lock, and adopts a newer valid token, unless an open refresh names the stored
//     refresh token: then step 3 follows even if the access token is still valid,
//     or the provider's grace period would pass while everyone goes on with the old
//     token, and the next refresh would be a reuse. While Token is called,
//     a process reads the journal every five seconds. (token.go, refresh.go, backoff.go)
//  3. It takes the refresh lock. While another process holds it, the journal is
//     watched, and what that process stores is adopted without the lock. At the
//     deadline step 2 is done once more; the error is then [ErrBusy]. A refresh
//     without the lock never happens. An early refresh only tries the lock,
//     and does nothing on a store that would prompt the user.
//  4. It reads journal and value again, under the lock.
//     a. There is no session, or the whole session is known to have ended: an error.
//     An access token that has not expired is not handed out any more, once a process
//     has read of it.
//     b. The open operation's own generation is stored: it landed. It is closed.
//     c. The value is newer than memory and valid, and no open refresh names it: it
//     is adopted. An ID token that was not checked yet is checked first.
//     d. Otherwise this refresh token is sent. If an open refresh names it, this is
//     the recovery attempt: what became of the first request is unknown.
//  5. It makes sure that the store can be written. A store that prompts does so
//     now, before anything can be lost. It opens the operation in the journal,
//     durably, before anything is sent.
//  6. It sends the refresh token, bounded by a deadline and not by the caller.
//     a. Nothing left this machine, or the provider refused the request but not the
//     token: the operation is closed. In a recovery attempt it stays open.
//     b. Nobody knows what became of it (reset, timeout, 5xx): one more attempt under
//     the lock; then it stays open. After 429 or 503 the journal says until
//     when everybody waits.
//     c. invalid_grant: if less than the whole session was asked for, the whole is
//     asked for once, and if that succeeds, only the narrower token is refused.
//     Otherwise the value is read again. A newer generation is adopted or sent, once.
//     Otherwise the token is marked dead in the journal, for every process. Nothing
//     is deleted.
//     d. Another refusal that may mean the token (send.go says which): the whole is
//     asked for as in c, and if it is refused too, the journal counts it. Two in a
//     row, some seconds apart, mean that a login is needed. There
//     is no dead mark: the token is tried again later, and a success clears the count.
//  7. The new value is written with its generation. A missing refresh token is
//     carried forward (RFC 6749 §6).
//  8. The operation is closed in the journal. Only then is the token published and
//     the lock given back.
//  9. If the write fails, the lock is kept, the token is not published, and the
//     write is tried again. The old refresh token is never sent, and the lock is
//     never given back while a call of the store is outstanding.
//
// After a failure nothing is sent for a while, and callers get the last error at
// once. What the provider said (429, 5xx) is in the journal, for everyone. What never
// left this machine pauses this process, and what concerns one narrower token pauses
// that one. While an operation is open the pauses are short, so that the retries stay
// inside the 30 seconds of grace that providers give.
//
// # Many processes at once (queue.go)
//
// A process that loads a session reads the journal before the value. If the tokens
// have expired, or a refresh of another process is under way, it waits for that
// process, for a second at most, and reads the value once. So a keychain, which
// answers one process at a time, is not read by everyone before the refresh and
// again after it. The wait changes nothing and ends in step 2.
//
// # A refreshed ID token
//
// It is verified after step 7, or in step 4c if that was not possible then: always
// under the lock, and the journal says how it ended. Until then its tokens are not
// handed out, and no refresh is made for that reason alone.
//
//   - It is not the issuer's, not for this client or about another user: the session
//     has ended.
//   - It fails any other check: it is dropped, and the earlier ID token is kept.
//   - None of the provider's keys verifies it: the provider may have changed its keys
//     since, or not publish the new one yet. For a minute it is only checked again.
//     Then one more refresh is made, and if that brings no better one, the session has
//     ended.
//
// # A login (signin.go)
//
//  10. It takes the login lock, so that one process at a time prompts the user. A
//     stored session that satisfies the caller is adopted. The failure of another
//     login is adopted only if it is later than this call's start.
//     A logout that was left half done is finished before the user is prompted.
//  11. After all checks it takes the refresh lock, reads again, opens the operation
//     with a generation allotted now, and follows steps 7 to 9.
//
// # A logout (signout.go)
//
//  12. Under the refresh lock, one write of the journal sets the tombstone and opens
//     the operation: from here on the session is gone for everyone. Then the tokens
//     are revoked and the value is deleted. The caller's deadline bounds the
//     revocation and not the deletion. After a crash the next holder finishes, but a
//     login that finds it in step 11 deletes without revoking: the revocation could
//     end the session that has just begun.
//
// # Listing (list.go)
//
// There are no steps 13 and 14 here. They concern values over a keychain's limit,
// which package tokenstore stores.
//
//  15. The journal also holds a row for listing. It is trusted if nothing is under
//     way; otherwise the value decides.
//
// # An import (import.go)
//
// A refresh token of another program becomes the session of an account that has none.
//
//  16. If the account has a session, whoever it belongs to, it is returned. If the
//     account was signed out, or this token was imported before or refused for good,
//     that is the error. Nothing is sent. This is looked at without a lock first,
//     because programs import at every start.
//  17. It takes the login lock and the refresh lock, reads again, and follows steps 5
//     to 9 with the token that it was given. An open import that names the same token
//     is sent once more, as in 4d. When it has landed, the journal keeps the token's
//     hash.
//
// # The provider cache (providercache.go)
//
// It is no part of the protocol: it saves a process the requests for metadata and
// keys, and a session does not depend on it. It needs no lock.
//
// # Without a user (obtain.go)
//
// A session without a user is not stored, and none of the steps above is for it. What
// brought its token brings the next one. An answer that came while the session's tokens
// were revoked is not used, since other tokens of the session came with it.
package session
