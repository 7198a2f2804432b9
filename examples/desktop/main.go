// Desktop is a program with a window: it signs a user in with the browser, shows
// the user's name and picture, and calls an API in the background. Sign-in can be
// cancelled. If the session ends, the window offers to sign in again.
//
//	go run . https://login.example.com my-app https://api.example.com/me
//
// main.go has the sign-in, window.go what the window shows. The toolkit, Gio, needs
// cgo on Linux and macOS; the SDK does not.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"net/http"
	"os"
	"sync"

	"gioui.org/app"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: desktop ISSUER CLIENT_ID API_URL")
		os.Exit(2)
	}
	client, err := oauthclient.New(oauthclient.Config{
		Issuer: os.Args[1], ClientID: os.Args[2],
		Scopes: []string{"openid", "profile", "offline_access"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "desktop:", err)
		os.Exit(1)
	}
	p := &program{client: client, api: os.Args[3]}
	go func() {
		err := p.runWindow()
		p.cancelSignIn()
		// A refresh that is under way is stored before the process ends.
		if err := cmp.Or(err, client.Close()); err != nil {
			fmt.Fprintln(os.Stderr, "desktop:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}()
	app.Main()
}

// program does what takes time in goroutines of its own, so that the window never
// waits. They set what it shows with update.
type program struct {
	client *oauthclient.Client
	api    string
	redraw func() // draws the window again
	raise  func() // brings the window to the front

	mu      sync.Mutex
	cancel  context.CancelFunc // of the login that waits; nil: none does
	session *oauthclient.Session
	view    view
}

// view is what the window shows.
type view struct {
	screen  screen
	name    string
	picture image.Image // nil: none
	message string      // the newest answer or error
}

type screen int

const (
	signedOut screen = iota
	signingIn
	signedIn
	ended // the session is over, and only signing in helps
)

func (p *program) update(change func(*view)) {
	p.mu.Lock()
	change(&p.view)
	p.mu.Unlock()
	p.redraw()
}

// resume uses the session of an earlier run. It never opens the browser.
func (p *program) resume() {
	session, err := p.client.Session(context.Background(), "")
	switch {
	case errors.Is(err, oauthclient.ErrNoSession):
	case errors.Is(err, oauthclient.ErrLoginRequired):
		p.update(func(v *view) { v.screen, v.message = ended, err.Error() })
	case err != nil: // such as a keychain that is locked
		p.update(func(v *view) { v.message = err.Error() })
	default:
		p.use(session)
	}
}

// signIn opens the browser and waits. cancelSignIn ends it.
func (p *program) signIn() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before, ok := p.startSignIn(cancel)
	if !ok {
		return // a double click
	}
	session, err := p.client.Login(ctx, nil)
	if err != nil {
		message := err.Error()
		switch {
		case errors.Is(err, context.Canceled): // the user knows
			message = ""
		case errors.Is(err, oauthclient.ErrAccessDenied):
			message = "You did not allow access. Nothing has changed."
		case errors.Is(err, oauthclient.ErrAccountMismatch):
			message = "Another user signed in. Sign out first to change the user."
		}
		p.update(func(v *view) { v.screen, v.message = before, message })
	} else {
		p.use(session)
	}
	p.raise() // the browser has covered it
}

// startSignIn returns the screen to go back to if nobody signs in. ok is false if a
// login waits already.
func (p *program) startSignIn(cancel context.CancelFunc) (before screen, ok bool) {
	p.update(func(v *view) {
		if ok = v.screen != signingIn; ok {
			before = v.screen
			p.cancel, v.screen, v.message = cancel, signingIn, ""
		}
	})
	return before, ok
}

func (p *program) cancelSignIn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
	}
}

// use shows the user of session, and watches over the session until it ends.
func (p *program) use(session *oauthclient.Session) {
	name := session.Account().Username
	var claims struct {
		Name string `json:"name"`
	}
	if session.Claims(&claims) == nil {
		name = cmp.Or(claims.Name, name)
	}
	p.mu.Lock()
	p.session, p.view = session, view{screen: signedIn, name: name}
	p.mu.Unlock()
	p.redraw()
	go p.loadPicture(session)
	go func() {
		<-session.Done() // a logout in any program, another user, or the provider's no
		p.sessionEnded(session, session.Err())
	}()
}

// sessionEnded offers to sign in again, unless the window is past that session.
func (p *program) sessionEnded(session *oauthclient.Session, why error) {
	p.update(func(v *view) {
		if p.session != session || v.screen != signedIn {
			return
		}
		v.screen, v.message = ended, why.Error()
		if errors.Is(why, oauthclient.ErrAccountMismatch) {
			v.name, v.picture = "", nil // they belong to the user before
		}
	})
}

// loadPicture shows the user's picture. Its address is the provider's word, so the
// request has no token, and the answer's size is limited.
func (p *program) loadPicture(session *oauthclient.Session) {
	var user struct {
		Picture string `json:"picture"`
	}
	if session.UserInfo(context.Background(), &user) != nil || user.Picture == "" {
		return
	}
	picture, err := fetchImage(user.Picture)
	if err != nil {
		return // the name will do
	}
	p.update(func(v *view) {
		if p.session == session {
			v.picture = picture
		}
	})
}

// callAPI refreshes the access token first if that is due.
func (p *program) callAPI() {
	p.mu.Lock()
	session := p.session
	p.mu.Unlock()
	answer, err := get(session.HTTPClient(), p.api)
	if errors.Is(err, oauthclient.ErrLoginRequired) {
		p.sessionEnded(session, err)
		return
	}
	if err != nil {
		answer = err.Error() // the network, mostly: the user may try again
	}
	p.update(func(v *view) {
		if p.session == session {
			v.message = answer
		}
	})
}

func (p *program) signOut() {
	message := "You are signed out."
	if err := p.client.Logout(context.Background(), "", nil); err != nil {
		message = err.Error() // ErrNotRevoked: signed out here, perhaps not at the provider
	}
	p.update(func(v *view) { p.session, *v = nil, view{message: message} })
}

const maxAnswer = 1 << 20 // bytes

func get(client *http.Client, url string) (string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the API answered %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return string(body), err
}
