package interop

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// The mail programs of docs/recipes.md sign in at a real dovecot with their
// settings from that page. A message goes out with msmtp and neomutt, and comes in
// with mbsync and neomutt.
func TestMailRecipe(t *testing.T) {
	t.Parallel()
	realparts.Need(t, "msmtp", "mbsync", "neomutt")
	if plugins, _ := filepath.Glob("/usr/lib/*/sasl2/libkdexoauth2.so"); plugins == nil {
		realparts.Missing(t, "libsasl2-modules-kdexoauth2")
	}
	c := newCook(t)
	server := startDovecot(t, c.issuer)
	c.replace(
		"mail.example.com:993", fmt.Sprint("localhost:", server.IMAP),
		"mail.example.com:465", fmt.Sprint("localhost:", server.SMTP),
		"Port 993", fmt.Sprintf("Port %d\nCertificateFile %s", server.IMAP, server.CA),
		"port 465", fmt.Sprintf("port %d\ntls_trust_file %s", server.SMTP, server.CA),
		"mail.example.com", "localhost",
		"set ssl_force_tls", fmt.Sprintf("set certificate_file = %q\nset ssl_force_tls", server.CA),
	)
	for _, path := range []string{"~/.msmtprc", "~/.mbsyncrc", "~/.config/neomutt/neomuttrc"} {
		c.write(path, c.block(path))
	}
	c.write("~/hello.eml", "To: alice@example.com\nSubject: hello from msmtp\n\nHello!\n")
	require.NoError(t, os.Mkdir(filepath.Join(c.session.Home, "Mail"), 0o700))

	c.login("sign in for mail, once")
	c.say("The session.", "nativeoauth status --profile mail", "alice@example.com")
	c.say("msmtp sends a message.",
		"msmtp alice@example.com <hello.eml && echo sent", "\nsent")
	require.Contains(t, server.message(t), "Subject: hello from msmtp")
	c.say("neomutt sends another.",
		"echo Hello again. | neomutt -s 'hello from neomutt' alice@example.com", "OAUTHBEARER")
	require.Contains(t, server.message(t), "Subject: hello from neomutt")
	c.say("mbsync fetches both.",
		"mbsync -q work && grep -rh Subject: Mail/INBOX | sort", "hello from msmtp")
	c.look("neomutt shows the mailbox at the server.", "neomutt", "hello from neomutt", "q")

	for _, format := range []string{"xoauth2", "oauthbearer"} {
		response := c.output("nativeoauth", "token", "--profile", "mail",
			"--format", format, "--user", "alice@example.com")
		require.Contains(t, server.authenticate(t, strings.ToUpper(format), response), "a OK")
	}
	log := server.logged(t)
	for _, signIn := range []string{
		"submission-login: Info: Login: user=<alice@example.com>, method=OAUTHBEARER", // msmtp
		"imap-login: Info: Login: user=<alice@example.com>, method=XOAUTH2",           // mbsync
		"imap-login: Info: Login: user=<alice@example.com>, method=OAUTHBEARER",       // neomutt
	} {
		require.Contains(t, log, signIn)
	}

	c.say("After the logout, msmtp shows what to do, and sends nothing.",
		"nativeoauth logout --profile mail", "Signed out")
	c.say("", "msmtp bob@example.com <hello.eml", "nativeoauth login --profile mail")
	require.Empty(t, server.Sent)
	c.serve()
}

// git clones and pushes over https with the helper of docs/recipes.md, and git
// send-email sends through dovecot, with the helper and with msmtp.
func TestGitRecipe(t *testing.T) {
	t.Parallel()
	realparts.Need(t, "git", "msmtp")
	execPath, err := exec.Command("git", "--exec-path").Output()
	require.NoError(t, err)
	programs := strings.TrimSpace(string(execPath))
	realparts.Need(t, programs+"/git-http-backend", programs+"/git-send-email")
	c := newCook(t)
	mail := startDovecot(t, c.issuer)
	web := httptest.NewTLSServer(c.gitServer(programs + "/git-http-backend"))
	defer web.Close()
	c.trust(web)
	c.replace(
		"my-git", "dev", "git.example.com", web.Listener.Addr().String(),
		"mail.example.com:465", fmt.Sprint("localhost:", mail.SMTP),
		"smtpServerPort 465", fmt.Sprint("smtpServerPort ", mail.SMTP),
		"port 465", fmt.Sprintf("port %d\ntls_trust_file %s", mail.SMTP, mail.CA),
		"mail.example.com", "localhost", "--profile mail", "--profile git",
	)
	c.write("~/.gitconfig", "[user]\nname = Alice\nemail = alice@example.com\n"+
		"[sendemail]\nconfirm = never\nsmtpSSLCertPath = "+mail.CA+"\n")
	c.sh("git over https")
	c.sh("git send-email with the credential helper")

	c.login("sign in for git, once")
	c.say("git gets the token from the helper.",
		"git clone -q "+web.URL+"/notes.git && echo cloned", "\ncloned")
	c.say("", "cd notes && echo milk >list && git add list && git commit -q -m 'A shopping list' && "+
		"git push -q origin HEAD:main && echo pushed", "\npushed")
	c.say("What git send-email is told about the mail server. sed hides the token.", fmt.Sprintf(
		`printf 'protocol=smtp\nhost=localhost:%d\nusername=alice@example.com\n' | `+
			`git credential fill | sed 's/=at_.*/=.../'`, mail.SMTP), "password=...")
	c.say("A patch goes out with the token as the password.",
		"git send-email --quiet --to bob@example.com -1 && echo sent", "\nsent")
	require.Contains(t, mail.message(t), "Subject: [PATCH] A shopping list")
	const signIn = "submission-login: Info: Login: user=<alice@example.com>, method="
	require.Regexp(t, signIn+"(PLAIN|LOGIN)", mail.logged(t))

	c.write("~/.msmtprc", c.block("~/.msmtprc"))
	c.sh("git send-email with msmtp")
	c.say("With msmtp it is an OAUTHBEARER sign-in.",
		"git send-email --quiet --to carol@example.com -1 && echo sent", "\nsent")
	require.Contains(t, mail.message(t), "To: carol@example.com")
	require.Contains(t, mail.logged(t), signIn+"OAUTHBEARER")

	c.say("Another server gets nothing.", `printf 'protocol=smtp\nhost=other.example:465\n' | `+
		`GIT_TERMINAL_PROMPT=0 git credential fill`, "could not read Username")
	c.serve()
}

// gitServer serves the empty repository notes.git to users that the provider knows.
func (c *cook) gitServer(backend string) http.Handler {
	c.t.Helper()
	dir := c.t.TempDir()
	out, err := exec.Command(
		"git", "init", "-q", "--bare", "-b", "main", filepath.Join(dir, "notes.git")).CombinedOutput()
	require.NoError(c.t, err, "%s", out)
	git := &cgi.Handler{Path: backend, Env: []string{
		"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=alice"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, token, ok := r.BasicAuth(); !ok || !c.knows(token) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		git.ServeHTTP(w, r)
	})
}
