package oauthclient_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// screen is a writer that can be read at any time.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TerminalUI shows every way that is offered, and no other. A code comes with the
// warning of S89.
func TestS89TerminalUI(t *testing.T) {
	const url, code, where = "https://login.example.com/authorize?x=1", "WDJB-MJHT", "https://login.example.com/device"
	for name, tc := range map[string]struct {
		do        oauthclient.Instructions
		says, not []string
	}{
		"opened":   {oauthclient.Instructions{URL: url, Opened: true, Paste: true}, []string{"has been opened", url}, []string{"paste", "code"}},
		"by hand":  {oauthclient.Instructions{URL: url, Paste: true}, []string{"To sign in", url, "paste"}, []string{"opened to", "enter the code"}},
		"code":     {oauthclient.Instructions{UserCode: code, VerificationURI: where}, []string{code, where, "started this sign-in yourself"}, []string{"Or, on", "paste"}},
		"all":      {oauthclient.Instructions{URL: url, Opened: true, Paste: true, UserCode: code, VerificationURI: where}, []string{"has been opened", url, "Or, on any device", code}, nil},
		"until":    {oauthclient.Instructions{URL: url, Expiry: time.Now()}, []string{"Waiting until", "Ctrl-C"}, nil},
		"refused":  {oauthclient.Instructions{URL: url, Paste: true, Refused: errors.New("its state is wrong")}, []string{"its state is wrong"}, []string{url}},
		"pushed":   {oauthclient.Instructions{URL: url, URLExpiry: time.Date(2030, 1, 1, 12, 34, 56, 0, time.Local)}, []string{"in a browser before 12:34:56"}, nil},
		"no entry": {oauthclient.Instructions{URL: url}, []string{url}, []string{"paste"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := &screen{}
			pasted, err := oauthclient.TerminalUI(out, strings.NewReader("")).Instruct(t.Context(), tc.do)
			require.NoError(t, err)
			require.Empty(t, pasted)
			for _, s := range tc.says {
				require.Contains(t, out.String(), s)
			}
			for _, s := range tc.not {
				require.NotContains(t, out.String(), s)
			}
		})
	}
}

// A user opens the address on another machine and pastes the one at which the
// browser ended. A wrong text is refused, and the next one is read.
func TestTerminalUITakesAPastedAddress(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	person := cfg.UI.Instruct
	out := &screen{}
	in, typed := io.Pipe()
	defer typed.Close()
	terminal := oauthclient.TerminalUI(out, in)
	cfg.UI = oauthclient.UI{Instruct: func(ctx context.Context, do oauthclient.Instructions) (string, error) {
		if do.Refused == nil {
			go func() {
				_, _ = io.WriteString(typed, "\nnonsense\n")
				address, err := person(ctx, do)
				if err == nil {
					_, _ = io.WriteString(typed, address+"\n")
				}
			}()
		}
		return terminal.Instruct(ctx, do)
	}}
	s, err := newClient(t, cfg).Login(t.Context(), &oauthclient.LoginOptions{Flow: oauthclient.FlowPaste})
	require.NoError(t, err)
	require.Equal(t, "alice", s.Account().Subject)
	require.Contains(t, out.String(), "That was not it")
	require.NotContains(t, out.String(), "nonsense")
}
