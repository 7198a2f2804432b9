package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const canary = "canary-3f9a"

type hidden struct {
	Name string
	s    wire.Secret
}

// S66: no verb or encoder shows the secret, also not as an unexported field.
func TestS66NothingPrintsTheSecret(t *testing.T) {
	s := wire.NewSecret(canary)
	for _, v := range []any{s, &s, hidden{"n", s}, &hidden{"n", s}, []wire.Secret{s}, map[string]wire.Secret{"k": s}, struct{ S wire.Secret }{s}} {
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

func TestZeroSecretIsNone(t *testing.T) {
	var zero wire.Secret
	require.True(t, zero.IsZero())
	require.Equal(t, "", zero.Reveal())
	require.Equal(t, "", fmt.Sprint(zero))
	require.Equal(t, zero, wire.NewSecret(""))
	require.Equal(t, canary, wire.NewSecret(canary).Reveal())
	require.True(t, wire.NewSecret(canary).Equal(wire.NewSecret(canary)))
	require.False(t, wire.NewSecret(canary).Equal(zero))
	require.True(t, zero.Equal(zero))
}
