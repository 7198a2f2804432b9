package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

type token struct {
	AccessToken string `json:"access_token"`
	Type        string `json:"token_type"`
}

// S51, S77: exact names, no duplicates, no trailing data, valid UTF-8.
func TestS51S77JSONIsStrict(t *testing.T) {
	var ok token
	require.NoError(t, wire.UnmarshalJSON([]byte(`{"access_token":"a","ACCESS_TOKEN":"b","token_type":"Bearer"}`), &ok))
	require.Equal(t, "a", ok.AccessToken, "another case is another name")

	for name, tc := range map[string]struct {
		in   string
		want error
	}{
		"duplicate":        {`{"access_token":"a","access_token":"b"}`, wire.ErrJSON},
		"nested duplicate": {`{"x":{"a":1,"a":2}}`, wire.ErrJSON},
		"trailing":         {`{"access_token":"a"}{}`, wire.ErrJSON},
		"truncated":        {`{"access_token":"a`, wire.ErrJSON},
		"empty":            {``, wire.ErrJSON},
		"wrong type":       {`{"access_token":7}`, wire.ErrJSON},
		"utf8":             {"{\"access_token\":\"\xff\"}", wire.ErrUTF8},
		"deep":             {strings.Repeat(`[`, 1<<20), wire.ErrDepth},
		"deep object":      {strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), wire.ErrDepth},
	} {
		t.Run(name, func(t *testing.T) {
			var v token
			err := wire.UnmarshalJSON([]byte(tc.in), &v)
			require.ErrorIs(t, err, tc.want)
			if name != "wrong type" {
				var m map[string]any
				require.ErrorIs(t, wire.UnmarshalJSON([]byte(tc.in), &m), tc.want)
			}
		})
	}
	var m map[string]any
	require.NoError(t, wire.UnmarshalJSON([]byte(`{"a":"]]]}}}\"[[["}`), &m))
}

// What this program has written can be damaged, and another program of the user can
// change it. It is no danger then either.
func TestUnmarshalOwn(t *testing.T) {
	var ok token
	require.NoError(t, wire.UnmarshalOwn([]byte(`{"access_token":"a","ACCESS_TOKEN":"b","token_type":"Bearer","x":[{}]}`), &ok))
	require.Equal(t, token{"a", "Bearer"}, ok, "another case is another name")
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	require.NoError(t, wire.UnmarshalOwn([]byte(`{"x":`+deep+`,"access_token":"c"}`), &ok), "it is not read")
	require.Equal(t, "c", ok.AccessToken)
	for name, damaged := range map[string]string{
		"trailing": `{"access_token":"a"}{}`, "truncated": `{"access_token":"a`, "empty": "",
		"wrong type": `{"access_token":7}`, "duplicate": `{"access_token":"a","access_token":"b"}`,
		"utf8": "{\"access_token\":\"\xff\"}", "utf8 in a name": "{\"\xffx\":1}",
		"deep": strings.Repeat(`[`, 1<<20), "deep member": `{"x":` + strings.Repeat(`[`, 1<<20) + strings.Repeat(`]`, 1<<20) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			var v token
			require.Equal(t, wire.ErrJSON, wire.UnmarshalOwn([]byte(damaged), &v))
		})
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"a":1,"A":2}`))
	f.Add([]byte(`{"a":"\u00e9\"","b":[{}]}`))
	f.Add([]byte(`[[[["a\\"]]]]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m map[string]any
		if wire.UnmarshalJSON(data, &m) != nil {
			return
		}
		var std map[string]any
		require.NoError(t, json.Unmarshal(data, &std), "what is accepted here is JSON everywhere")
		require.Equal(t, len(std), len(m))
	})
}
