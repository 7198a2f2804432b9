package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// task is what one run of the program does. The program uses the SDK like any
// other, with the keychain and the browser of its environment. The test binary
// becomes this program if programVariable is set.
type task struct {
	Do       string // see run
	Issuer   string
	ClientID string
	Prompt   string
	Addr     string // of the listener
	DPoP     bool
	PAR      bool
	Device   bool
	Register bool
	Scopes   []string
	Get      string        // the URL that "get" fetches
	Wait     time.Duration // before it starts, at a time that all share
}

// result is what the program prints on stdout.
type result struct {
	AccessToken string
	Expiry      time.Time
	Subject     string
	Username    string
	Store       string
	Refreshable bool
	Accounts    int
	Claims      map[string]any
	Status      int
	Error       string
	Kind        string // the sentinel that Error matches, by name
	Device      string // printed first, on a line of its own: the page to open
}

const programVariable = "NATIVEOAUTH_INTEROP_TASK"

func TestMain(m *testing.M) {
	if line, ok := os.LookupEnv(programVariable); ok {
		os.Exit(program(line))
	}
	os.Exit(m.Run())
}

func program(line string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var t task
	if err := json.Unmarshal([]byte(line), &t); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	out := json.NewEncoder(os.Stdout)
	var r result
	if err := run(ctx, t, &r, out); err != nil {
		r.Error = err.Error()
		for name, sentinel := range sentinels {
			if errors.Is(err, sentinel) {
				r.Kind = name
			}
		}
	}
	if err := out.Encode(r); err != nil {
		return 1
	}
	return 0
}

var sentinels = map[string]error{
	"ErrLoginRequired":   oauthclient.ErrLoginRequired,
	"ErrAccessDenied":    oauthclient.ErrAccessDenied,
	"ErrNoBrowser":       oauthclient.ErrNoBrowser,
	"ErrInvalidResponse": oauthclient.ErrInvalidResponse,
	"ErrNotRevoked":      oauthclient.ErrNotRevoked,
}

func run(ctx context.Context, t task, r *result, out *json.Encoder) (err error) {
	cfg := oauthclient.Config{
		Issuer:     t.Issuer,
		ClientID:   t.ClientID,
		Scopes:     t.Scopes,
		DPoP:       t.DPoP,
		RequirePAR: t.PAR,
		Loopback:   loopback.Config{Addr: t.Addr, Page: loopback.Page{AppName: "Interop"}},
	}
	opts := &oauthclient.LoginOptions{Prompt: t.Prompt}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"openid", "offline_access", "profile"}
	}
	if t.Register {
		cfg.Registration = &oauthclient.Registration{ClientName: "Interop"}
	} else if cfg.ClientID == "" {
		cfg.ClientID = NativeClient
	}
	if t.Device {
		opts.Flow = oauthclient.FlowDevice
		cfg.UI.Instruct = func(ctx context.Context, do oauthclient.Instructions) (string, error) {
			return "", out.Encode(result{Device: do.VerificationURIComplete})
		}
	}
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if t.Wait > 0 {
		time.Sleep(t.Wait - time.Duration(time.Now().UnixNano())%t.Wait)
	}

	if t.Do == "logout" || t.Do == "end session" {
		return client.Logout(ctx, "", &oauthclient.LogoutOptions{EndSession: t.Do == "end session"})
	}
	var session *oauthclient.Session
	switch t.Do {
	case "login":
		session, err = client.Login(ctx, opts)
	case "session or login":
		session, err = client.SessionOrLogin(ctx, opts)
	default:
		session, err = client.Session(ctx, "")
	}
	if err != nil {
		return err
	}
	switch t.Do {
	case "refresh":
		if err := session.Refresh(ctx); err != nil {
			return err
		}
	case "get": // through the HTTP client, as often as Wait says
		resp, err := session.HTTPClient().Get(t.Get)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if r.Status = resp.StatusCode; r.Status != http.StatusOK {
			return fmt.Errorf("%s: %s", t.Get, resp.Status)
		}
	case "userinfo":
		if err := session.UserInfo(ctx, &r.Claims); err != nil {
			return err
		}
	}
	if r.Claims == nil {
		if err := session.Claims(&r.Claims); err != nil {
			return err
		}
	}
	accounts, err := client.Accounts(ctx)
	if err != nil {
		return err
	}
	token, err := session.Token(ctx)
	if err != nil {
		return err
	}
	account := session.Account()
	r.AccessToken, r.Expiry, r.Accounts = token.AccessToken, token.Expiry, len(accounts)
	r.Subject, r.Username, r.Store, r.Refreshable = account.Subject, account.Username, account.Store, account.Refreshable
	return nil
}
