package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every field of a profile has exactly one row in the table of settings, and every row
// that a profile keeps has a field. ClientSecretStored is not a setting: a login sets it.
func TestEveryFieldOfAProfileIsASetting(t *testing.T) {
	t.Parallel()
	var c choices
	rows := map[uintptr]string{}
	for _, s := range c.table() {
		p := reflect.ValueOf(s.value).Pointer()
		require.NotContains(t, rows, p, s.flag)
		rows[p] = s.flag
	}
	fields := reflect.ValueOf(&c.profile).Elem()
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Name
		p := fields.Field(i).Addr().Pointer()
		if name == "ClientSecretStored" {
			require.NotContains(t, rows, p)
			continue
		}
		require.Contains(t, rows, p, name)
		delete(rows, p)
	}
	for _, flag := range rows {
		require.Equal(t, loginAlone, c.setting(flag).on, "--%s is not kept by a profile", flag)
	}
}

// A variable holds one string, so only a setting that is a string may have one. The
// variable is named after its flag.
func TestVariablesAreNamedAfterTheirFlags(t *testing.T) {
	t.Parallel()
	var c choices
	for _, s := range c.table() {
		if s.env != "" {
			require.IsType(t, new(string), s.value, s.flag)
			name := strings.ToUpper(strings.ReplaceAll(s.flag, "-", "_"))
			require.Equal(t, "NATIVEOAUTH_"+name, s.env)
		}
	}
}

// An error about a field of the SDK names the flag that sets it. If two flags set it,
// the error names the one that was used.
func TestErrorsNameTheFlag(t *testing.T) {
	t.Parallel()
	used := &choices{}
	require.Equal(t, "--issuer", flagFor("Config.Issuer", used))
	require.Equal(t, "--client-secret-file", flagFor("Config.ClientAuth", used))
	used.ClientKeyFile = "key.pem"
	require.Equal(t, "--client-key", flagFor("Config.ClientAuth", used))
	require.Empty(t, flagFor("Config.UI", used))
}
