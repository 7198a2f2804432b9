package tokenstore

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every item is printable ASCII. What decodes is exactly what encode returns.
func FuzzItem(f *testing.F) {
	for _, seed := range []string{"", " ", "a ", "plain", "ü\x00\n", itemText, itemData + "AA", itemData + "AB", itemFile + strings.Repeat("0", 32) + ":" + strings.Repeat("A", 43),
		itemFile + "../x:" + strings.Repeat("A", 43), itemFile + strings.Repeat("A", 32) + ":" + strings.Repeat("A", 43)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text := item{data: ownCopy(data)}.encode()
		require.Equal(t, strings.TrimSpace(text), text)
		for _, c := range []byte(text) {
			require.True(t, c >= ' ' && c <= '~')
		}
		back, err := decodeItem(text)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, back.data))
		require.NotNil(t, back.data)

		if foreign, err := decodeItem(string(data)); err == nil {
			require.True(t, foreign.data != nil || isFileID(foreign.file))
			// Another version might write text as base64. Nothing else has two spellings.
			if !strings.HasPrefix(string(data), itemData) {
				require.Equal(t, string(data), foreign.encode())
			}
		} else {
			require.ErrorIs(t, err, ErrWrongKey)
		}
	})
}

// The directory depends on the home alone.
func TestStateDirDependsOnTheHomeAlone(t *testing.T) {
	t.Setenv("HOME", "/home/x")
	t.Setenv("USERPROFILE", `C:\Users\x`)
	t.Setenv("XDG_RUNTIME_DIR", "/run/elsewhere")
	t.Setenv("XDG_STATE_HOME", "/state/elsewhere")
	dir, err := stateDir()
	require.NoError(t, err)
	switch runtime.GOOS {
	case "windows":
		require.Equal(t, `C:\Users\x\AppData\Local\nativeoauth`, dir)
	case "darwin":
		require.Equal(t, "/home/x/Library/Application Support/nativeoauth", dir)
	default:
		require.Equal(t, "/home/x/.local/state/nativeoauth", dir)
	}
	for _, home := range []string{"", "relative"} {
		t.Setenv("HOME", home)
		t.Setenv("USERPROFILE", home)
		var k Keyring
		for _, err := range []error{k.Put(t.Context(), "a", nil), k.Probe(t.Context())} {
			require.ErrorIs(t, err, ErrUnavailable)
			require.ErrorContains(t, err, homeVariable(runtime.GOOS))
		}
		_, _, err = k.Lock(t.Context(), "a")
		require.ErrorIs(t, err, ErrUnavailable)
	}
}

// The command that is piped to security(1) fits into the 4,096 bytes that
// it reads, even for the longest names.
func TestNamesFitEverySystem(t *testing.T) {
	for _, service := range []string{"", strings.Repeat("s", 64), strings.Repeat("s", 65), `a\b"c`, "sha256-x", "A"} {
		name := serviceName(service)
		require.True(t, plainName(name) && len(name) <= 71, name)
		require.Greater(t, systemLimit(name, strings.Repeat("k", MaxKey)), 2048)
	}
	require.NotEqual(t, serviceName("A"), serviceName("a"))
	require.NotEqual(t, serviceName("sha256-x"), "sha256-x")
	require.NotEqual(t, serviceName(serviceName("A")), serviceName("A"), "no name stands for another")
}

// A panic in a call is an error, even if nobody waits for the call any more.
func TestQueueSurvivesPanics(t *testing.T) {
	var q queue
	turn, err := q.wait(t.Context())
	require.NoError(t, err)
	done, err := turn.call(t.Context(), func() error { panic("go-keyring") })
	require.Nil(t, done)
	require.ErrorIs(t, err, ErrUnavailable)

	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	cancel()
	released := false
	turn.later(func() { released = true })
	done, err = turn.call(ctx, func() error { <-hold; panic("go-keyring") })
	require.ErrorIs(t, err, context.Canceled)
	turn.leave()
	_, err = q.wait(t.Context())
	require.ErrorIs(t, err, ErrBusy)
	close(hold)
	<-done
	require.True(t, released, "what the turn held is released before done is closed")
	turn, err = q.wait(t.Context())
	require.NoError(t, err)
	turn.leave()
}
