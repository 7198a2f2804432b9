package browser_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/browser"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// S1, S3: one launcher is started with one argument. The argument has no
// character on which a shell would act, and no other process is started.
func TestS1S3OneArgument(t *testing.T) {
	dir := t.TempDir()
	out, proof := filepath.Join(dir, "argv"), filepath.Join(dir, "proof")
	launcher(t, `printf '%s\n' "$#" "$@" >>`+out)
	evil := "https://h.example/$(touch${IFS}" + proof + ")/`touch " + "x`"
	evil = strings.ReplaceAll(evil, " ", "%20") + "?a=1&touch%20" + proof + "&b=';|<>^\"(c)*!{}"
	require.NoError(t, browser.OpenFor(t.Context(), evil, patient, nil))

	lines := strings.Split(strings.TrimSpace(read(t, out)), "\n")
	require.Len(t, lines, 2, "one call with one argument")
	require.Equal(t, "1", lines[0])
	require.True(t, strings.HasPrefix(lines[1], "https://h.example/%24%28"), lines[1])
	require.NotRegexp(t, "[`$()'\";|<>^{}*!\\\\]", lines[1])
	require.NoFileExists(t, proof)

	want, err := url.Parse(evil)
	require.NoError(t, err)
	got, err := url.Parse(lines[1])
	require.NoError(t, err)
	require.Equal(t, want.Path, got.Path, "the server sees what was meant")
	q, err := url.ParseQuery(got.RawQuery)
	require.NoError(t, err)
	require.Equal(t, "1", q.Get("a"))
}

// S2: an unsafe URL reaches no launcher.
func TestS2AnUnsafeURLReachesNoLauncher(t *testing.T) {
	out := filepath.Join(t.TempDir(), "argv")
	launcher(t, `echo "$@" >>`+out)
	for _, raw := range []string{
		"", "javascript:x", "file://localhost/x", "ssh://127.0.0.1/x", "ms-msdt:", `\\h\s`,
		"-version", "https:x", "https:///p", "https://u:p@h", "https://h:99999",
		"http://h.example/", "https://h/#f", "https://h/\x1b[2J", "https://h/a b",
	} {
		err := browser.Open(t.Context(), raw)
		require.ErrorIs(t, err, wire.ErrUnsafeURL, "%q", raw)
		if raw != "" && raw != "-version" {
			require.NotContains(t, err.Error(), raw)
		}
	}
	require.Empty(t, read(t, out))
	require.NoError(t, browser.OpenFor(t.Context(), "http://127.0.0.1:1/ticket", patient, nil))
	require.Equal(t, "http://127.0.0.1:1/ticket\n", read(t, out))
}

// S3: a launcher in the working directory is not run, whatever the PATH is.
func TestS3APlantedLauncherIsNotRun(t *testing.T) {
	dir := t.TempDir()
	real, planted := filepath.Join(dir, "real"), filepath.Join(dir, "planted")
	launcher(t, "echo real >>"+real)
	chosen := os.Getenv("BROWSER")
	work := filepath.Join(dir, "work")
	require.NoError(t, os.Mkdir(work, 0o700))
	for _, name := range []string{"xdg-open", "open", "x-www-browser", "www-browser"} {
		require.NoError(t, os.WriteFile(filepath.Join(work, name),
			[]byte("#!/bin/sh\necho planted >>"+planted+"\n"), 0o700))
	}
	t.Chdir(work)

	for _, first := range []string{"./xdg-open", "../work/open", "work/../www-browser"} {
		t.Setenv("BROWSER", first+":"+chosen)
		require.NoError(t, browser.OpenFor(t.Context(), "https://h.example/", patient, nil))
	}
	require.Equal(t, "real\nreal\nreal\n", read(t, real))

	t.Setenv("BROWSER", "www-browser:xdg-open")
	t.Setenv("DISPLAY", ":0")
	for _, path := range []string{".", "", ":/nonexistent", "./", "../work"} {
		t.Setenv("PATH", path)
		err := browser.OpenFor(t.Context(), "https://h.example/", patient, nil)
		require.ErrorIs(t, err, browser.ErrNone, "%q", path)
	}
	require.Empty(t, read(t, planted))
}

// A launcher that fails after a while is reported once. One that succeeds is
// not.
func TestALateFailureIsReported(t *testing.T) {
	for script, want := range map[string]bool{"sleep 0.5; exit 3": true, "sleep 0.5": false} {
		launcher(t, script)
		late := make(chan error, 2)
		require.NoError(t, browser.OpenFor(t.Context(), "https://h.example/", 10*time.Millisecond,
			func(err error) { late <- err }))
		if !want {
			time.Sleep(time.Second)
			require.Empty(t, late)
			continue
		}
		select {
		case err := <-late:
			require.ErrorIs(t, err, browser.ErrLauncher)
		case <-time.After(patient):
			t.Fatal("the failure was not reported")
		}
	}
}

func TestAvailableNeedsADisplayAndALauncher(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		require.NoError(t, browser.Available())
		return
	}
	bin := t.TempDir()
	for _, name := range []string{"xdg-open", "firefox", "lynx"} {
		require.NoError(t,
			os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nexit 0\n"), 0o700))
	}
	require.NoError(t, os.Symlink("lynx", filepath.Join(bin, "mine")))
	for name, tc := range map[string]struct {
		path, display, wayland, chosen string
		want                           string
	}{
		"no display: lynx or w3m would start": {path: bin, want: "DISPLAY"},
		"X":                                   {path: bin, display: ":0"},
		"Wayland":                             {path: bin, wayland: "wayland-0"},
		"chosen by the user":                  {path: bin, chosen: "firefox"},
		"chosen, without xdg-open":            {path: "/nonexistent", chosen: bin + "/firefox"},
		"a text browser":                      {path: bin, chosen: "lynx", want: "in the terminal"},
		"a link to one":                       {path: bin, chosen: "mine", want: "in the terminal"},
		"a relative path":                     {path: bin, chosen: "./firefox", want: "relative"},
		"not there":                           {path: bin, chosen: "chrome", want: "PATH"},
		"the second":                          {path: bin, chosen: "lynx:firefox -x"},
		"refused, but there is xdg-open":      {path: bin, display: ":0", chosen: "lynx"},
		"itself chosen":                       {path: bin, chosen: "xdg-open", want: "DISPLAY"},
		"no launcher": {
			path: "/nonexistent", display: ":0", want: "xdg-utils",
		},
	} {
		t.Run(name, func(t *testing.T) {
			noDisplay(t)
			t.Setenv("PATH", tc.path)
			t.Setenv("DISPLAY", tc.display)
			t.Setenv("WAYLAND_DISPLAY", tc.wayland)
			t.Setenv("BROWSER", tc.chosen)
			err := browser.Available()
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, browser.ErrNone)
			require.ErrorContains(t, err, tc.want)
			require.ErrorIs(t, browser.Open(t.Context(), "https://h.example/"), browser.ErrNone)
		})
	}
}

// S3: BROWSER is split into words, but no shell reads it. It comes before xdg-open.
func TestS3BrowserIsSplitWithoutAShell(t *testing.T) {
	out := filepath.Join(t.TempDir(), "argv")
	launcher(t, `printf '%s\n' "$#" "$@" >>`+out)
	t.Setenv("DISPLAY", ":0")
	const url = "https://h.example/?a=1&b=2"
	for args, want := range map[string]string{
		"":                              "1\n" + url,
		` --class="my app" $(id) a\ b;`: "4\n--class=my app\n$(id)\na b;\n" + url,
		" 'x:y' --url=%s -n":            "3\nx:y\n--url=" + url + "\n-n",
	} {
		require.NoError(t, os.WriteFile(out, nil, 0o600))
		t.Run(args, func(t *testing.T) {
			t.Setenv("BROWSER", os.Getenv("BROWSER")+args)
			require.NoError(t, browser.OpenFor(t.Context(), url, patient, nil))
			require.Equal(t, want+"\n", read(t, out))
		})
	}
}

// Ctrl-C goes to the processes of the terminal's session. The launcher has another
// one, and what BROWSER refused does not reach it.
func TestTheLauncherHasASessionOfItsOwn(t *testing.T) {
	out := filepath.Join(t.TempDir(), "session")
	launcher(t, "ps -o sid= -p $$ >"+out+"; echo \"=$BROWSER\" >>"+out)
	require.NoError(t, browser.OpenFor(t.Context(), "https://h.example/", patient, nil))
	own, err := exec.Command("ps", "-o", "sid=", "-p", strconv.Itoa(os.Getpid())).Output()
	require.NoError(t, err)
	fields := strings.Fields(read(t, out))
	require.Len(t, fields, 2)
	require.NotEqual(t, strings.TrimSpace(string(own)), fields[0])
	require.Equal(t, "=", fields[1])
}

// S5: a launcher that fails at once is reported, without the URL.
func TestS5AFailureIsReportedWithoutTheURL(t *testing.T) {
	launcher(t, "echo boom; echo boom >&2; exit 7")
	err := browser.OpenFor(t.Context(), "https://h.example/canary", patient, nil)
	require.ErrorIs(t, err, browser.ErrLauncher)
	require.NotContains(t, err.Error(), "canary")
	require.ErrorContains(t, err, "by hand")
}

// A browser in the foreground does not hold the program up, and ctx is obeyed.
func TestOpenDoesNotWaitForAForegroundBrowser(t *testing.T) {
	dir := t.TempDir()
	pids, stop := filepath.Join(dir, "pids"), filepath.Join(dir, "stop")
	// It lives until the file is there.
	launcher(t, "echo $$ >>"+pids+"; while [ ! -e "+stop+" ]; do sleep 0.05; done")
	t.Cleanup(func() {
		require.NoError(t, os.WriteFile(stop, nil, 0o600))
		require.Eventually(t, func() bool {
			stacks := make([]byte, 1<<20)
			return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("internal/browser.open.func1"))
		}, patient, 5*time.Millisecond, "each launcher's goroutine ends with it")
	})
	require.NoError(t, browser.OpenFor(t.Context(), "https://h.example/", 50*time.Millisecond, nil))

	launchers := func() int { return len(strings.Fields(read(t, pids))) }
	require.Eventually(t, func() bool { return launchers() == 1 }, patient, 5*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	require.ErrorIs(t, browser.OpenFor(ctx, "https://h.example/", patient, nil), context.Canceled)
	require.Eventually(t, func() bool { return launchers() == 2 }, patient, 5*time.Millisecond)
	require.ErrorIs(t, browser.OpenFor(ctx, "https://h.example/", patient, nil), context.Canceled,
		"an ended ctx starts nothing")
	require.Len(t, strings.Fields(read(t, pids)), 2)
}

// A launcher's output does not mix with the program's, as another process sees
// it.
func TestChatterStaysOffTheTerminal(t *testing.T) {
	launcher(t, "echo chatter; echo chatter >&2")
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "BROWSER_TEST_OPEN=https://h.example/")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Run(), out.String())
	require.Empty(t, out.String())
}

func TestOpenIsSafeForConcurrentUse(t *testing.T) {
	out := filepath.Join(t.TempDir(), "argv")
	launcher(t, `echo "$1" >>`+out)
	errs := make(chan error)
	for i := range 4 {
		go func() {
			errs <- browser.OpenFor(t.Context(), "https://h.example/"+strconv.Itoa(i), patient, nil)
		}()
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
	require.Len(t, strings.Fields(read(t, out)), 4)
}

// S1: the whole way, through the real xdg-open to the real Chromium.
func TestS1ChromiumIsOpenedThroughXdgOpen(t *testing.T) {
	chromium := realparts.Need(t, "chromium")[0]
	realparts.Need(t, "xdg-open")
	dir := t.TempDir()
	// Without a desktop, xdg-open starts x-www-browser.
	launcher(t, "exec "+chromium+" --headless=new --no-sandbox --disable-gpu --disable-quic "+
		"--no-first-run --disable-background-networking --disable-component-update "+
		"--disable-sync --user-data-dir="+
		dir+"/profile --dump-dom \"$@\" >"+dir+"/dom 2>/dev/null")
	require.NoError(t, os.Symlink(os.Getenv("BROWSER"), filepath.Join(dir, "x-www-browser")))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("BROWSER", "")
	t.Setenv("DISPLAY", ":0")
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS", "XDG_CONFIG_HOME"} {
		t.Setenv(name, dir) // no handler of a desktop
	}
	seen := make(chan *http.Request, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		_, _ = w.Write([]byte("<p>hello"))
	}))
	defer srv.Close()
	// --dump-dom makes Chromium end by itself.
	require.NoError(t,
		browser.OpenFor(t.Context(), srv.URL+"/ticket?a=$(x)&b=`y`", 2*time.Minute, nil))
	r := <-seen
	require.Equal(t, "/ticket", r.URL.Path)
	require.Equal(t, url.Values{"a": {"$(x)"}, "b": {"`y`"}}, r.URL.Query())
	require.Contains(t, read(t, filepath.Join(dir, "dom")), "hello")
}

func FuzzEncode(f *testing.F) {
	f.Add("https://h/$(x)?a=`b`&c='d'")
	f.Add("https://例え.jp/ü?q=ü")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(raw)
		if err != nil {
			return
		}
		s := browser.Encode(u)
		require.NotRegexp(t, "[^!-~]|[`$()'\";|<>^{}*!\\\\]", s)
		require.Regexp(t, "^https?://", s)
	})
}
