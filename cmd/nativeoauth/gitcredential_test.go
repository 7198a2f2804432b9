package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// S46: a host is compared as DNS does. A letter that Unicode folds to another one
// leads to another host.
func TestS46GitHostsAreFoldedAsInDNS(t *testing.T) {
	t.Parallel()
	servers := gitServers{https: []string{"git.example.com"}, smtp: []string{"mail.example.com"}}
	for _, c := range []credential{
		{protocol: "https", host: "GIT.example.com"}, {protocol: "smtp", host: "MAIL.example.com:465"},
	} {
		require.True(t, c.isFor(servers), c.host)
	}
	for _, c := range []credential{
		{protocol: "https", host: "gİt.example.com"}, {protocol: "smtp", host: "maİl.example.com:465"},
	} {
		require.False(t, c.isFor(servers), c.host)
	}
}

// S92: a control character in git's request is refused, also where a reader of
// lines would drop it. Git refuses carriage returns since CVE-2024-52006; an older
// git passes them on.
func TestS92ControlCharactersAreRefused(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"CR at the end":         "protocol=https\nhost=git.example.com\r\n\n",
		"CR at the end, no LF":  "protocol=https\nhost=git.example.com\r",
		"CR in the host":        "protocol=https\nhost=git.example.com\revil.example\n",
		"CR of another line":    "protocol=https\r\nhost=git.example.com\n",
		"CR alone":              "protocol=https\nhost=git.example.com\n\r\n",
		"NUL in the host":       "protocol=https\nhost=git.example.com\x00.evil.example\n",
		"NUL in the name":       "protocol=https\nho\x00st=git.example.com\n",
		"escape in a username":  "protocol=https\nhost=git.example.com\nusername=\x1b[2J\n",
		"C1 control in a value": "protocol=https\nhost=git.example.com\npath=\u009b2J\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readCredential(strings.NewReader(request))
			require.ErrorContains(t, err, "control character")
		})
	}
}

// S93: a request that is too long is refused. A part of it may not be taken as the
// whole: a later line could name another host, for which the token is not meant.
func TestS93ACutRequestIsRefused(t *testing.T) {
	t.Parallel()
	head := "protocol=https\nhost=git.example.com\n"
	tail := "host=evil.example\n\n"
	filler := strings.Repeat("wwwauth[]=x\n", maxCredential/12+1)
	for name, request := range map[string]string{
		"many lines":                head + filler + tail,
		"one long line":             head + "path=" + strings.Repeat("x", maxCredential) + "\n" + tail,
		"cut between two lines":     head + filler[:maxCredential-len(head)-12] + strings.Repeat("x", 11) + "\n" + tail,
		"cut in the middle of host": head + filler[:maxCredential-len(head)-4] + tail,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := readCredential(strings.NewReader(request))
			require.Error(t, err)
			require.Empty(t, c)
		})
	}
	c, err := readCredential(strings.NewReader(head + "\n" + strings.Repeat("x", 2*maxCredential)))
	require.NoError(t, err, "what follows the empty line is no part of the request")
	require.Equal(t, "git.example.com", c.host)
}
