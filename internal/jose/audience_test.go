package jose_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/jose"
)

func TestAudience(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][]string{
		`"a"`:          {"a"},
		`""`:           {""},
		`["a"]`:        {"a"},
		`["a","b"]`:    {"a", "b"},
		`[]`:           {},
		``:             nil,
		`null`:         nil,
		`7`:            nil,
		`{}`:           nil,
		`{"a":"b"}`:    nil,
		`["a",7]`:      nil,
		`["a",null]`:   nil,
		`[["secret"]]`: nil,
	} {
		var value []byte
		if raw != "" {
			value = []byte(raw)
		}
		got, err := jose.Audience(value)
		if want == nil {
			require.Error(t, err, raw)
			require.NotContains(t, err.Error(), "secret")
			continue
		}
		require.NoError(t, err, raw)
		require.Equal(t, want, got)
	}
}
