// Command nativeoauth signs people in to OAuth 2.0 and OpenID Connect providers from a terminal, keeps their sessions, and hands out
// their tokens. It is also the example of a program that uses package oauthclient: whatever it does, a program can do.
//
// `nativeoauth --help` tells the commands; `nativeoauth login --demo` needs nothing else.
package main

import (
	"context"
	"io"
	"os"
	"strings"
)

//go:generate go test -run TestManPages -update

func main() { os.Exit(start()) }

func start() int {
	env := takeEnviron()
	ctx, stop := withSignals(context.Background())
	defer stop()
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, env)
}

// run is the whole command. It returns the exit code, and ends with the cause of ctx where that is a signal.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env environ) int {
	a := &app{stdin: stdin, stdout: output{stdout}, screen: interactive(stdout), console: newConsole(stderr, env), env: env}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.helpErr
	}
	return a.exit(ctx, err)
}

// environ is the environment as it was at the start.
type environ map[string]string

// secretVariable may hold a client secret. A browser, a pager or a helper that is started later would inherit it.
const secretVariable = "NATIVEOAUTH_CLIENT_SECRET"

// takeEnviron reads the environment, and unsets what no child process may see (S67).
func takeEnviron() environ {
	env := environ{}
	for _, kv := range os.Environ() {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	_ = os.Unsetenv(secretVariable) // fails for names that are malformed, and this one is not
	return env
}
