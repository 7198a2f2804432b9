package tokenstore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// key returns the key that is pattern, two hexadecimal digits, 32 times.
func key(t testing.TB, pattern string) tokenstore.Key {
	t.Helper()
	k, err := tokenstore.ParseKey(strings.Repeat(pattern, 32))
	require.NoError(t, err)
	return k
}

// TestProcess is not a test. Tests start it as further processes; see process.
func TestProcess(t *testing.T) {
	role, dir := os.Getenv("TOKENSTORE_TEST_ROLE"), os.Getenv("TOKENSTORE_TEST_DIR")
	ctx := context.Background()
	switch role {
	case "":
		return
	case "increment":
		store := tokenstore.NewFile(dir, key(t, "ab"))
		for range increments {
			_, unlock, err := store.Lock(ctx, "count")
			require.NoError(t, err)
			data, err := store.Get(ctx, "count")
			require.NoError(t, err)
			n, err := strconv.Atoi(string(data))
			require.NoError(t, err)
			require.NoError(t, store.Put(ctx, "count", []byte(strconv.Itoa(n+1))))
			require.NoError(t, unlock())
		}
	case "write":
		store := tokenstore.NewFile(dir, key(t, "ab"))
		for i := os.Getpid(); ; i++ {
			require.NoError(t, store.Put(ctx, "k", []byte(strings.Repeat(strconv.Itoa(i%10), 5000))))
		}
	case "passphrase":
		store := tokenstore.NewFile(dir, tokenstore.Passphrase(func(_ context.Context, create bool) ([]byte, error) {
			fmt.Printf("\ncreate=%v\n", create)
			return []byte("correct horse"), nil
		}))
		require.NoError(t, store.Put(ctx, os.Getenv("TOKENSTORE_TEST_KEY"), []byte("v")))
	}
}

const increments = 25

// process returns a further process with this role, which is not started yet.
func process(t *testing.T, role, dir, key string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "TOKENSTORE_TEST_ROLE="+role, "TOKENSTORE_TEST_DIR="+dir, "TOKENSTORE_TEST_KEY="+key)
	return cmd
}

// all runs n processes at once and returns the output of each.
func all(t *testing.T, n int, role, dir string) []string {
	t.Helper()
	type result struct {
		out []byte
		err error
	}
	results := make(chan result)
	for i := range n {
		cmd := process(t, role, dir, strconv.Itoa(i))
		go func() {
			out, err := cmd.CombinedOutput()
			results <- result{out, err}
		}()
	}
	var outs []string
	for range n {
		r := <-results
		require.NoError(t, r.err, string(r.out))
		outs = append(outs, string(r.out))
	}
	return outs
}
