package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setHelp makes the help of every command fit the terminal. Cobra's templates would
// do it too, but they make the binary 2 MiB larger.
func (a *app) setHelp(root *cobra.Command) {
	width := a.console.width()
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		var b strings.Builder
		text := cmd.Long
		if text == "" {
			text = cmd.Short
		}
		for _, paragraph := range strings.Split(text, "\n\n") {
			// Lines with tabs are to be typed: cobra's completion commands have them.
			if !strings.Contains(paragraph, "\t") {
				paragraph = strings.Join(wrap(paragraph, width), "\n")
			}
			b.WriteString(strings.Trim(paragraph, "\n") + "\n\n")
		}
		writeUsage(&b, cmd, width)
		a.helpErr = a.output(b.String())
	})
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		var b strings.Builder
		writeUsage(&b, cmd, width)
		_, err := io.WriteString(cmd.OutOrStderr(), b.String())
		return err
	})
}

// writeUsage writes usage, examples, commands and flags.
func writeUsage(b *strings.Builder, cmd *cobra.Command, width int) {
	b.WriteString("Usage:\n")
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(b, "  %s COMMAND [flags]\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(b, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		indent := strings.Repeat(" ", 4+cmd.Commands()[0].NamePadding())
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				short := wrap(sub.Short, width-len(indent))
				fmt.Fprintf(b, "  %-*s  %s\n", sub.NamePadding(), sub.Name(),
					strings.Join(short, "\n"+indent))
			}
		}
	}
	// The flags of the command itself come first: they are why a user reads its help.
	for _, of := range []struct {
		title string
		flags *pflag.FlagSet
	}{{"Flags", cmd.LocalFlags()}, {"Flags of every command", cmd.InheritedFlags()}} {
		if of.flags.HasAvailableFlags() {
			usages := strings.TrimRight(of.flags.FlagUsagesWrapped(width), " \n")
			fmt.Fprintf(b, "\n%s:\n%s\n", of.title, usages)
		}
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(b, "\nFor more about a command: %s COMMAND --help\n", cmd.CommandPath())
	}
}
