package main

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	const revision = "0123456789abcdef0123456789abcdef01234567"
	set := func(settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}, Settings: settings}
	}
	commit := debug.BuildSetting{Key: "vcs.revision", Value: revision}
	for name, test := range map[string]struct {
		info            *debug.BuildInfo
		version, commit string
	}{
		"no information":  {nil, "(devel)", ""},
		"no version":      {&debug.BuildInfo{}, "(devel)", ""},
		"go install":      {set(), "v0.1.0", ""},
		"a release":       {set(commit, debug.BuildSetting{Key: "vcs.modified", Value: "false"}), "v0.1.0", " (commit 0123456789ab)"},
		"a changed clone": {set(debug.BuildSetting{Key: "vcs.modified", Value: "true"}, commit), "v0.1.0", " (commit 0123456789ab, with changes)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.version, versionOf(test.info))
			require.Equal(t, test.commit, commitOf(test.info))
		})
	}
}
