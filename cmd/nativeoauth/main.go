// Command nativeoauth signs users in to OAuth 2.0 and OpenID Connect providers from
// a terminal, stores their sessions, and prints their tokens. It is also an example
// of a program that uses package oauthclient, and needs nothing that other programs
// cannot use.
//
// `nativeoauth --help` lists the commands. `nativeoauth login --demo` needs no
// provider.
//
// # How it is built
//
// Each command has a file with its flags, its help and its code: login.go,
// token.go, status.go and so on. These files stand on four others:
//
//   - flags.go has the table of settings. A setting has one row there, with its
//     flag, its environment variable and its effect on the SDK's configuration.
//   - settings.go decides which provider, client and account a run is about, and
//     makes the oauthclient.Client for it.
//   - profile.go reads and writes the configuration file with the profiles.
//   - exit.go turns an error into one line with the next step, and an exit code.
//
// # Rules
//
// Stdout has the result of a command and nothing else, so that it can be piped.
// Everything for the user goes to stderr.
//
// No secret is the value of a flag, is stored in the configuration, or is left in
// the environment for a browser to inherit (S49, S67).
//
// Only login opens a browser for a sign-in. Every other command uses the stored
// session, and exits with 4 if only a login helps. Scripts and credential helpers
// depend on that.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

//go:generate go test -run TestManPages -update

func main() { os.Exit(start()) }

// start runs the command in this process. It is apart from main because os.Exit
// would skip its deferred calls, and because the tests start it too.
func start() int {
	env := takeEnviron()
	if err := checkLimits(); err != nil {
		fmt.Fprintf(os.Stderr, "nativeoauth: %v\n", err)
		return exitError
	}
	ctx, stop := withSignals(context.Background())
	defer stop()
	return run(ctx, arguments(os.Args), os.Stdin, os.Stdout, os.Stderr, env)
}

// arguments returns the arguments of the command, which knows the name by which
// Docker calls it.
func arguments(args []string) []string {
	if strings.TrimSuffix(filepath.Base(args[0]), ".exe") == dockerHelper {
		return append([]string{"docker-credential"}, args[1:]...)
	}
	return args[1:]
}

// run is the whole command. It returns the exit code. If a signal ends ctx, the exit
// code is that of the signal.
func run(
	ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env environ,
) int {
	a := &app{
		stdin: stdin, stdout: output{stdout}, screen: interactive(stdout),
		console: newConsole(stderr, env), env: env,
	}
	root := a.root(args) // it needs stdout and the width of the terminal
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.helpErr
	}
	return a.exit(ctx, err)
}

// environ is the environment at the start of the process.
type environ map[string]string

// secretVariable may hold a client secret.
const secretVariable = "NATIVEOAUTH_CLIENT_SECRET"

// takeEnviron reads the environment, and removes the client secret from it: a
// browser that is started later would inherit it (S67).
func takeEnviron() environ {
	env := environ{}
	for _, kv := range os.Environ() {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	_ = os.Unsetenv(secretVariable) // fails only for a malformed name
	return env
}
