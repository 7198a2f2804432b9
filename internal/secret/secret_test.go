package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/secret"
)

const canary = "canary-3f9a"

type hidden struct {
	Name string
	s    secret.String
}

// S66: no way of printing shows the secret, also not as an unexported field.
func TestS66NothingPrintsTheSecret(t *testing.T) {
	s := secret.New(canary)
	for _, v := range []any{s, &s, hidden{"n", s}, &hidden{"n", s}, []secret.String{s}, map[string]secret.String{"k": s}, struct{ S secret.String }{s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			require.NotContains(t, fmt.Sprintf(verb, v), canary, verb)
		}
		b, err := json.Marshal(v)
		require.NoError(t, err)
		require.NotContains(t, string(b), canary)
		var out bytes.Buffer
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		require.NotContains(t, out.String(), canary)
	}
	require.Equal(t, "[redacted]", fmt.Sprint(s))
	require.Equal(t, "[redacted]", fmt.Sprintf("%x", s))
}

func TestZeroAndEqual(t *testing.T) {
	var zero secret.String
	require.True(t, zero.IsZero())
	require.Equal(t, "", zero.Reveal())
	require.Equal(t, "", fmt.Sprint(zero))
	require.Equal(t, zero, secret.New(""))
	require.Equal(t, canary, secret.New(canary).Reveal())
	require.True(t, secret.New(canary).Equal(secret.New(canary)))
	require.False(t, secret.New(canary).Equal(zero))
	require.True(t, zero.Equal(zero))
}
