package tokenstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every spelling of 32 bytes is accepted, and nothing else.
func TestParseKeyAcceptsEverySpelling(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte{0xfb, 0xef, 0x3f, 0x01}, 8) // with both characters in which the alphabets differ
	for _, s := range []string{
		base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw),
		base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
		hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		" \t" + base64.StdEncoding.EncodeToString(raw) + "\r\n",
	} {
		key, err := ParseKey(s)
		require.NoError(t, err, s)
		require.Equal(t, raw, (*key.state).key[:], s)
	}
	std := base64.StdEncoding.EncodeToString(raw)
	for _, s := range []string{
		"", "canary", strings.Repeat("canary-canary-pw", 2), hex.EncodeToString(raw[:31]), hex.EncodeToString(raw) + "00",
		std[:42], std + "=", std[:20] + "\n" + std[20:], std[:43] + "==", "-" + std[1:43] + "+", "+" + base64.RawURLEncoding.EncodeToString(raw)[1:],
		base64.StdEncoding.EncodeToString(raw[:31]), base64.StdEncoding.EncodeToString(append(raw, 1)),
		std[:42] + "9=",          // bits after the last byte
		strings.Repeat("zz", 32), // as long as hex
		strings.Repeat("00", 32), // a key that was never set
	} {
		key, err := ParseKey(s)
		require.Error(t, err, s)
		require.Nil(t, key.state)
		require.NotContains(t, err.Error(), "canary")
		require.ErrorContains(t, err, "openssl rand -base64 32")
	}
}

// S65: a key file that other users may read, or that is a link of another user, is
// refused.
func TestS65ReadKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755)) // the user chooses the directory of a key
	path := filepath.Join(dir, "key")
	_, err := ReadKey(path)
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, "openssl rand")

	text := strings.Repeat("ab", 32)
	require.NoError(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
	key, err := ReadKey(path)
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte{0xab}, 32), (*key.state).key[:])

	if runtime.GOOS != "windows" {
		require.NoError(t, os.Symlink(path, path+"-link"))
		if os.Lchown(path+"-link", 12345, 12345) == nil { // only root can
			_, err = ReadKey(path + "-link")
			require.ErrorIs(t, err, ErrUnavailable)
			require.ErrorContains(t, err, "symbolic link")
		}
		open := os.FileMode(0o640)
		if os.Geteuid() == 0 {
			open = 0o660 // a key of root that others may read is one that a service mounts
		}
		require.NoError(t, os.Chmod(path, open))
		_, err = ReadKey(path)
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorContains(t, err, "chmod 600")
		require.NoError(t, os.Chmod(path, 0o400))
		_, err = ReadKey(path)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(path, 0o600))
	}
	require.NoError(t, os.WriteFile(path, []byte("canary-short"), 0o600))
	_, err = ReadKey(path)
	require.ErrorContains(t, err, path)
	require.NotContains(t, err.Error(), "canary")
	require.NoError(t, os.WriteFile(path, make([]byte, 2000), 0o600))
	_, err = ReadKey(path)
	require.ErrorContains(t, err, "too large")
}

// Kubernetes mounts a secret as links of root, with mode 0440. Others may read it,
// and only root can change it.
func TestReadKeyFollowsAMountedSecret(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" || os.Geteuid() != 0 {
		t.Skip("only root can make the files")
	}
	volume := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(volume, "..2026"), 0o755))
	file := filepath.Join(volume, "..2026", "key")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("ab", 32)), 0o440))
	require.NoError(t, os.Symlink("..2026", filepath.Join(volume, "..data")))
	require.NoError(t, os.Symlink("..data/key", filepath.Join(volume, "key")))
	require.NoError(t, os.Chmod(volume, 0o777|os.ModeSticky))
	_, err := ReadKey(filepath.Join(volume, "key"))
	require.NoError(t, err)
	require.NoError(t, os.Chmod(filepath.Join(volume, "..2026"), 0o777))
	_, err = ReadKey(filepath.Join(volume, "key"))
	require.ErrorContains(t, err, "chmod 600", "others could exchange the file")
}

// A shell makes a pipe of <(command), and passes the name of its descriptor.
func TestReadKeyReadsADescriptor(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there are no such names")
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	_, err = w.WriteString(strings.Repeat("ab", 32) + "\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	key, err := ReadKey(fmt.Sprintf("/dev/fd/%d", r.Fd()))
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte{0xab}, 32), (*key.state).key[:])
}

// S66: nothing that prints a key or passphrase reveals it.
func TestS66KeysDoNotPrint(t *testing.T) {
	t.Parallel()
	secret := "canary-3f9a-canary-3f9a-canary-3"
	raw, err := ParseKey(base64.StdEncoding.EncodeToString([]byte(secret)))
	require.NoError(t, err)
	phrase := cheapPassphrase(secret, nil)
	require.NoError(t, Seal(&Memory{}, phrase).Put(t.Context(), "k", nil)) // now the passphrase is known
	for _, key := range []Key{raw, phrase} {
		type holder struct {
			Name string
			k    Key
			K    Key
		}
		for _, v := range []any{key, &key, holder{"n", key, key}, &holder{"n", key, key}, []Key{key}, NewFile("", key), Seal(&Memory{}, key)} {
			var out bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"} {
				_, _ = fmt.Fprintf(&out, verb, v)
			}
			if b, err := json.Marshal(v); err == nil {
				out.Write(b)
			}
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
			for _, form := range []string{secret, secret[:11], hex.EncodeToString([]byte(secret[:11])), strings.ToUpper(hex.EncodeToString([]byte(secret[:11]))),
				base64.StdEncoding.EncodeToString([]byte(secret[:9])), "99 97 110", "0x63, 0x61, 0x6e"} {
				require.NotContains(t, out.String(), form)
			}
		}
		require.Equal(t, "[redacted]", fmt.Sprintf("%x", key))
	}
	require.Equal(t, "", fmt.Sprint(Key{}))
}

// The default parameters are the second recommended option of RFC 9106, section 4.
func TestPassphraseUsesTheParametersOfRFC9106(t *testing.T) {
	t.Parallel()
	key := Passphrase(func(context.Context, bool) ([]byte, error) { return []byte("pw"), nil })
	require.Equal(t, derivation{time: 3, memory: 64 * 1024, threads: 4}, (*key.state).cost)
	inner := &Memory{}
	require.NoError(t, Seal(inner, key).Put(t.Context(), "k", []byte("v")))
	sealed, err := inner.Get(t.Context(), "k")
	require.NoError(t, err)
	h, err := parseHeader(sealed)
	require.NoError(t, err)
	require.NotZero(t, h.from.salt)
	h.from.salt = [16]byte{}
	require.Equal(t, (*key.state).cost, h.from)
}

func FuzzParseKey(f *testing.F) {
	f.Add(strings.Repeat("ab", 32))
	f.Add(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32)))
	f.Add(base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32)))
	f.Fuzz(func(t *testing.T, s string) {
		key, err := ParseKey(s)
		if err != nil {
			require.Nil(t, key.state)
			return
		}
		// An accepted text is one of the spellings of its key.
		raw := (*key.state).key[:]
		require.Contains(t, []string{
			hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw),
			base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
		}, normal(strings.TrimSpace(s)))
	})
}

func normal(s string) string {
	if len(s) == 64 {
		return strings.ToLower(s)
	}
	return s
}

func BenchmarkPassphrase(b *testing.B) {
	key := Passphrase(func(context.Context, bool) ([]byte, error) { return []byte("pw"), nil })
	for b.Loop() {
		if _, err := (*key.state).derive(b.Context(), (*key.state).newDerivation(), false); err != nil {
			b.Fatal(err)
		}
		clear((*key.state).keys)
	}
}
