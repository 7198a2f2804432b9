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

// versionText is what version and --version print.
func versionText() string {
	return fmt.Sprintf("nativeoauth %s %s %s/%s\n",
		version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// version returns the module's version, which the go command writes into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
