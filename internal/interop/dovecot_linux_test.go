package interop

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// dovecot is Debian's mail server: IMAP, and a submission service that passes
// messages on. It accepts only access tokens, about which it asks the provider
// (RFC 7662), and only over TLS. Each message comes back into the mailbox of its
// recipient.
type dovecot struct {
	IMAP, SMTP uint16      // ports of localhost, with TLS from the first byte
	CA         string      // file with the certificate
	Log        string      // file
	Sent       chan string // messages that were sent and delivered

	mail  string // directory with a home for each user
	owner *syscall.Credential
}

// dovecotConfig runs without root. Otherwise it is what Debian's files have.
const dovecotConfig = `base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = %[1]s/log
auth_verbose = yes
listen = 127.0.0.1
hostname = localhost
protocols = imap submission
default_internal_user = %[2]s
default_internal_group = %[3]s
default_login_user = %[2]s
first_valid_uid = 1
mail_location = maildir:~/Maildir
ssl = required
ssl_cert = <%[1]s/cert.pem
ssl_key = <%[1]s/key.pem
auth_mechanisms = oauthbearer xoauth2 plain login
passdb {
  driver = oauth2
  args = %[1]s/oauth2.conf
}
userdb {
  driver = static
  args = uid=%[2]s gid=%[3]s home=%[1]s/mail/%%u
}
submission_relay_host = 127.0.0.1
submission_relay_port = %[6]d
service imap-login {
  chroot =
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = %[4]d
    ssl = yes
  }
}
service submission-login {
  chroot =
  inet_listener submission {
    port = 0
  }
  inet_listener submissions {
    port = %[5]d
    ssl = yes
  }
}
service anvil {
  chroot =
}
`

// dovecotOAuth2 is dovecot-oauth2.conf.ext. Without a grant_url, the password of
// PLAIN and LOGIN is taken for a token too.
const dovecotOAuth2 = `introspection_mode = post
introspection_url = %s
force_introspection = yes
username_attribute = username
active_attribute = active
active_value = true
`

// startDovecot starts a server that asks the provider at issuer, where it has
// registered itself. It ends with the test.
func startDovecot(t *testing.T, issuer string) *dovecot {
	t.Helper()
	// A user's PATH may be without /usr/sbin.
	program := realparts.Need(t,
		"/usr/sbin/dovecot", "/usr/lib/dovecot/imap", "/usr/lib/dovecot/submission")[0]
	dir, err := os.MkdirTemp("", "dovecot-") // a socket's path must be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &dovecot{
		IMAP: realparts.FreePort(t), SMTP: realparts.FreePort(t),
		CA: filepath.Join(dir, "cert.pem"), Log: filepath.Join(dir, "log"),
		Sent: make(chan string, 10), mail: filepath.Join(dir, "mail"),
	}
	d.configure(t, dir, issuer)
	d.run(t, program, filepath.Join(dir, "dovecot.conf"))
	return d
}

// configure writes all files that dovecot needs into dir.
func (d *dovecot) configure(t *testing.T, dir, issuer string) {
	t.Helper()
	name, group := d.unprivileged(t)
	for _, sub := range []string{"run", "mail"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	certificate(t, d.CA, filepath.Join(dir, "key.pem"))
	for file, text := range map[string]string{
		"dovecot.conf": fmt.Sprintf(dovecotConfig, dir, name, group, d.IMAP, d.SMTP, d.relay(t)),
		"oauth2.conf":  fmt.Sprintf(dovecotOAuth2, introspectionURL(t, issuer)),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
	}
	d.give(t, dir)
}

// run starts dovecot, and waits until it listens.
func (d *dovecot) run(t *testing.T, program, config string) {
	t.Helper()
	cmd := exec.Command(program, "-F", "-c", config)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	endWithUs(cmd)
	cmd.SysProcAttr.Credential = d.owner
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // and its services
		_ = cmd.Wait()
		if log, _ := os.ReadFile(d.Log); t.Failed() {
			t.Logf("dovecot said: %s\nand logged:\n%s", said.String(), log)
		}
	})
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(d.SMTP)))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		require.True(t, time.Now().Before(deadline), "dovecot did not start")
	}
}

// unprivileged returns the user and group that dovecot runs as. Root becomes nobody.
func (d *dovecot) unprivileged(t *testing.T) (name, group string) {
	t.Helper()
	who, err := user.Current()
	require.NoError(t, err)
	if os.Getuid() == 0 {
		who, err = user.Lookup("nobody")
		require.NoError(t, err)
		uid, err := strconv.ParseUint(who.Uid, 10, 32)
		require.NoError(t, err)
		gid, err := strconv.ParseUint(who.Gid, 10, 32)
		require.NoError(t, err)
		d.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	g, err := user.LookupGroupId(who.Gid)
	require.NoError(t, err)
	return who.Username, g.Name
}

// give makes the user that dovecot runs as the owner of dir and all that is in it.
func (d *dovecot) give(t *testing.T, dir string) {
	t.Helper()
	if d.owner == nil {
		return
	}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, int(d.owner.Uid), int(d.owner.Gid))
	}))
}

// introspectionURL registers dovecot as a client of the provider. It has a secret,
// and so may ask about every token.
func introspectionURL(t *testing.T, issuer string) string {
	t.Helper()
	resp, err := http.Post(issuer+"/register", "application/json",
		strings.NewReader(`{"client_name":"dovecot","grant_types":["refresh_token"]}`))
	require.NoError(t, err)
	defer resp.Body.Close()
	var client struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&client))
	require.NotEmpty(t, client.Secret)
	u, err := url.Parse(issuer + "/introspect")
	require.NoError(t, err)
	u.User = url.UserPassword(client.ID, client.Secret)
	return u.String()
}

// certificate writes a certificate for localhost, and its key.
func certificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
}

// relay starts the server to which dovecot passes messages, and returns its port.
func (d *dovecot) relay(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go d.receive(conn, n)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// receive speaks as much SMTP as dovecot needs (RFC 5321), and delivers what comes.
func (d *dovecot) receive(conn net.Conn, n int) {
	defer conn.Close()
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 relay ESMTP")
	lines := bufio.NewScanner(conn)
	var to []string
	for lines.Scan() {
		verb, _, _ := strings.Cut(strings.ToUpper(lines.Text()), " ")
		switch verb {
		case "RCPT":
			_, rest, _ := strings.Cut(lines.Text(), "<")
			address, _, _ := strings.Cut(rest, ">")
			to = append(to, address)
			say("250 ok")
		case "DATA":
			say("354 go on")
			var message strings.Builder
			for lines.Scan() && lines.Text() != "." {
				message.WriteString(strings.TrimPrefix(lines.Text(), ".") + "\n")
			}
			if err := d.deliver(to, message.String(), n); err != nil {
				say("451 " + err.Error())
				continue
			}
			say("250 ok")
			d.Sent <- message.String()
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// deliver writes a message into the mailboxes of its recipients.
func (d *dovecot) deliver(to []string, message string, n int) error {
	for _, address := range to {
		home := filepath.Join(d.mail, address)
		box := filepath.Join(home, "Maildir")
		for _, dir := range []string{home, box, box + "/cur", box + "/tmp", box + "/new"} {
			if err := d.make(dir, func() error { return os.Mkdir(dir, 0o700) }); err != nil {
				return err
			}
		}
		file := filepath.Join(box, "tmp", strconv.Itoa(n))
		err := d.make(file, func() error { return os.WriteFile(file, []byte(message), 0o600) })
		if err == nil { // a reader sees whole messages only
			name := fmt.Sprintf("%d.%d.localhost", time.Now().Unix(), n)
			err = os.Rename(file, filepath.Join(box, "new", name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// make makes a file or directory that dovecot owns, unless there is one.
func (d *dovecot) make(path string, do func() error) error {
	if err := do(); err != nil && !os.IsExist(err) {
		return err
	}
	if d.owner == nil {
		return nil
	}
	return os.Chown(path, int(d.owner.Uid), int(d.owner.Gid))
}

// message returns the next message that was sent.
func (d *dovecot) message(t *testing.T) string {
	t.Helper()
	select {
	case message := <-d.Sent:
		return message
	case <-time.After(time.Minute):
		t.Fatal("no message was sent")
		return ""
	}
}

// logged returns the log.
func (d *dovecot) logged(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(d.Log)
	require.NoError(t, err)
	return string(log)
}

// authenticate signs in over IMAP with the initial response of a mechanism (RFC
// 9051, section 6.2.2), and returns the answer.
func (d *dovecot) authenticate(t *testing.T, mechanism, response string) string {
	t.Helper()
	cert, err := os.ReadFile(d.CA)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cert))
	conn, err := tls.Dial("tcp", fmt.Sprintf("localhost:%d", d.IMAP), &tls.Config{RootCAs: roots})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	lines := bufio.NewScanner(conn)
	require.True(t, lines.Scan(), "%v", lines.Err()) // the greeting
	_, err = fmt.Fprintf(conn, "a AUTHENTICATE %s %s\r\n", mechanism, response)
	require.NoError(t, err)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "a ") {
			return lines.Text()
		}
	}
	t.Fatalf("the server hung up: %v", lines.Err())
	return ""
}
