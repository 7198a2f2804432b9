package main

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// S5: an API's response cannot control the terminal, even if it comes in pieces.
func TestS5Visible(t *testing.T) {
	t.Parallel()
	const text = "a\x1b]0;owned\x07\r\nb\u009b31m\tü€😀\u202e\x7f"
	const want = "a�]0;owned�\nb�31m\tü€😀��"
	for name, r := range map[string]io.Reader{"whole": bytes.NewBufferString(text), "byte by byte": iotest.OneByteReader(bytes.NewBufferString(text))} {
		var out bytes.Buffer
		_, err := io.Copy(&visible{w: &out}, r)
		require.NoError(t, err)
		require.Equal(t, want, out.String(), name)
	}
}

// On a terminal, output without a line end gets one, and a character that was cut off
// is shown as "�".
func TestVisibleEndsTheLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "{}": "{}\n", "{}\n": "{}\n", "a\n\xe2\x82": "a\n�\n", "a\r\n\r": "a\n"} {
		var out bytes.Buffer
		v := &visible{w: &out}
		_, err := io.Copy(v, iotest.OneByteReader(bytes.NewBufferString(text)))
		require.NoError(t, err)
		require.NoError(t, v.end())
		require.Equal(t, want, out.String(), "%q", text)
	}
}

// S5: claims are printed as JSON with escapes for what a terminal would act on. A
// program reads the same values.
func TestS5JSON(t *testing.T) {
	t.Parallel()
	in := map[string]any{"sub": "a\x1b]0;owned\x07\u009b31m\u202e\x7f", "name": "Zoë 😀"}
	text, err := jsonText(in)
	require.NoError(t, err)
	for _, r := range text {
		require.False(t, acts(r), "%q", text)
	}
	require.Contains(t, text, "Zoë 😀")
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &out))
	require.Equal(t, in, out)
}
