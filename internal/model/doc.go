// Package model tests oauthclient with random sequences of operations. It
// holds no code of the SDK.
//
// A sequence is a provider with its habits, and a list of operations: sign in,
// get a token, refresh, call an API, sign out, restart, kill a process, wait,
// set the clock back, and events at the provider. The provider's answers are
// bent at random on the way. Then the network and the provider are healthy
// again, and the rule is checked:
//
//   - Every call works within a few tries and a few minutes, or it fails with
//     ErrLoginRequired. SessionOrLogin then prompts the user, and the session
//     works afterwards. It is checked at once, and again after the access
//     token has expired.
//   - A session ends only for a reason. An outage, a firewall, and a captive
//     portal are none, so they cause neither ErrLoginRequired nor a prompt.
//   - No call sends more than a bounded number of requests, and every call
//     returns within a bounded time.
//   - A Session hands out tokens of its own user only.
//   - No call revokes a session except Logout of that account.
//   - After Logout, the session is gone within a bounded time.
//   - A refresh token is sent once, unless an answer was lost.
//
// A sequence runs in a testing/synctest bubble with a provider in memory, so
// that waiting costs nothing. It follows from its seed alone. The SDK's own
// jitter does not, so a rare failure may need several runs. A sign-in with a
// browser has a real listener on the loopback address, see browser_test.go.
//
// # How to run it
//
// NATIVEOAUTH_MODEL=2m go test ./internal/model plays random sequences for two
// minutes; the default is one second. From five minutes on, real processes are
// killed too, for a tenth of that time. A failing sequence is shrunk, and
// printed as a Go test with its seed.
//
// -seed=N plays the sequence of one seed. -all goes on after a failure, and
// prints one sequence of each kind with the items that it may be about.
//
// known_test.go has the known faults, each with a sequence that shows it. Faults
// in the list open are not mended yet: their sequences are skipped, and random
// sequences that may meet one are left out. -open=none plays them all.
// -open=2,4 takes these items for open instead. TestMends in internal/security
// takes the mends of the faults away, one after the other, and the sequences must
// fail.
//
// # Decisions
//
// The rule leaves some cases open. This is how they are decided here:
//
//   - Healthy means that the network, the answers, and the clock are right. A
//     provider keeps its habits: what it calls a dead refresh token, which
//     claims it changes at a refresh, which status it sends. Revoked grants
//     and forgotten clients stay so.
//   - SessionOrLogin may return without a prompt after ErrLoginRequired if the
//     session then works. The count of two refusals is cleared by a success.
//   - A token that the API still accepts may be handed out after a refresh was
//     refused, unless the provider said invalid_grant.
//   - The token of a narrowed session may stay refused for ever if the
//     provider refuses it by habit. The whole session must not suffer.
//   - A JSON answer of status 200 with neither a token nor an error counts
//     neither as a refusal nor as an outage.
//   - While Logout says that the session may still be here, it may be used. It
//     is gone when everything is healthy again.
//   - An account name that is not valid UTF-8 may be refused with any error.
//   - A process that is killed, and an answer that is lost after the provider
//     rotated the refresh token, may cost the session.
//   - A clock that is set back is wrong until everything is healthy again. The
//     provider's clock goes on.
package model
