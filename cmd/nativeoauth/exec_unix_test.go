//go:build unix

package main

import (
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// Any number of kubectl processes that need a new ID token make one refresh, whether
// they come before, during or after it.
func TestManyKubectlsMakeOneRefresh(t *testing.T) {
	t.Parallel()
	// The clock of the provider is behind at the login, so that the ID token expires soon.
	var behind atomic.Int64
	behind.Store(int64(-5*time.Minute + 12*time.Second)) // 10 of them are too few for a cluster
	p := newPlace(t, authserver.Config{Now: func() time.Time { return time.Now().Add(time.Duration(behind.Load())) }})
	p.login()
	behind.Store(0)
	time.Sleep(3 * time.Second)
	p.Delay(authserver.Token, 500*time.Millisecond)
	before := p.Stats().Refreshes

	var all []*process
	for range 30 {
		all = append(all, p.start(nil, "exec-credential"))
		time.Sleep(20 * time.Millisecond)
	}
	tokens := map[string]bool{}
	for _, cmd := range all {
		require.Equal(t, 0, cmd.code(), cmd.text())
		var got execCredential
		require.NoError(t, json.Unmarshal(cmd.stdout.Bytes(), &got))
		require.True(t, got.Status.Expiry.After(time.Now().Add(time.Minute)))
		tokens[got.Status.Token] = true
	}
	require.Len(t, tokens, 1)
	require.Equal(t, before+1, p.Stats().Refreshes)
}
