package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionCmd prints what a bug report needs first.
func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: `  nativeoauth version`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.output(versionText())
		},
	}
}

// versionText is what version and --version print: the version, the commit if the
// program was built in a clone of the repository, and what it was built with.
func versionText() string {
	info, _ := debug.ReadBuildInfo()
	return fmt.Sprintf("nativeoauth %s%s %s %s/%s\n",
		versionOf(info), commitOf(info), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// version returns the module's version.
func version() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(info)
}

// versionOf returns the module's version, which the go command writes into the
// binary: the tag, or a pseudo-version if the commit has no tag. Without it, or if
// info is nil, it returns "(devel)".
func versionOf(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// commitOf returns " (commit …)", or "" if info is nil or names no commit. "go
// install" of a version builds from the module cache, which has none.
func commitOf(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	var revision, changed string
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			revision = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			changed = ", with changes"
		}
	}
	if revision == "" {
		return ""
	}
	return " (commit " + revision[:min(12, len(revision))] + changed + ")"
}
