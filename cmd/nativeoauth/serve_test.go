package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A program that knows nothing but the line that serve prints signs in there.
func TestServeSignsAProgramIn(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		args := []string{"serve", "--port", "0", "--lifetime", "90s"}
		ended <- run(ctx, args, strings.NewReader(""), in, io.Discard, environ{})
		_ = in.Close()
	}()
	issuer, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	issuer = strings.TrimSpace(issuer)

	user := authserver.NewUser(issuer, "zoë")
	c, err := oauthclient.New(oauthclient.Config{
		Issuer: issuer, ClientID: devClient, Scopes: []string{"openid", "offline_access"},
		Store: &tokenstore.Memory{}, UI: oauthclient.UI{OpenURL: func(_ context.Context, url string) error {
			go func() { _ = user.SignIn(ctx, url) }()
			return nil
		}},
	})
	require.NoError(t, err)
	defer c.Close()
	s, err := c.Login(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "zoë", s.Account().Subject)
	require.NoError(t, s.Refresh(ctx))

	stop()
	require.NotZero(t, <-ended, "it was interrupted")
}

func TestServeRejectsWhatCannotBe(t *testing.T) {
	for _, args := range [][]string{
		{"--port", "70000"}, {"--lifetime", "1500ms"}, {"--redirect-uri", "not a URI"}, {"extra"},
	} {
		var said strings.Builder
		code := run(t.Context(), append([]string{"serve"}, args...), strings.NewReader(""), io.Discard, &said, environ{})
		require.Equal(t, exitUsage, code, "%v: %s", args, said.String())
	}
}
