package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// networks runs the tests that sign in over a bad network, and reads what they
// measured. They need root, and say why they skip.
func networks(b *bench) (section, error) {
	s := section{
		title: "11. The network as it is",
		about: "A whole login with a user who takes no time, in a network namespace of its own: `go test ./oauthclient -run TestLogin(WithoutIPv6|WithPacketLoss|OnADeadConnection) -v`. " +
			"The name of the provider has an IPv6 address that leads nowhere, or one of each 50 packets is lost, or the connection that the metadata came over is dead when the user comes back from the browser.",
	}
	cmd := exec.Command("go", "test", "-count=1", "-v", "-run", "^TestLogin(WithoutIPv6|WithPacketLoss|OnADeadConnection)$", "./oauthclient")
	cmd.Dir = filepath.Clean(b.root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return s, fmt.Errorf("%w\n%s", err, out)
	}
	t := table{head: []string{"", "in the middle", "at most"}}
	for _, m := range []struct{ name, line string }{
		{"IPv6 that leads nowhere", `3 logins took (\S+) in the middle and (\S+) at most`},
		{"one of 50 packets lost", `25 logins took (\S+) in the middle and (\S+) at most`},
		{"a dead connection, from the callback", `away for 0s; from the callback to the end: ((\S+)),`},
	} {
		found := regexp.MustCompile(m.line).FindSubmatch(out)
		if found == nil {
			s.notes = append(s.notes, m.name+" was not measured: it needs root, and a kernel with a packet filter.")
			continue
		}
		middle, most := string(found[1]), string(found[2])
		took, err := time.ParseDuration(most)
		if err != nil {
			return s, err
		}
		t.add(m.name, middle, most)
		s.reaches = append(s.reaches, reach{"11 Login, " + m.name, "≤ 5 s", number(took.Seconds()) + " s", took <= 5*time.Second, ""})
	}
	s.tables = []table{t}
	return s, nil
}
