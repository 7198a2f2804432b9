// Daemon works in the background for a user that signed in with another program.
// It never opens a browser. It waits until somebody signs in, stops its work when
// the user signs out, and begins again for the next user.
//
//	go run ./cmd/nativeoauth login --issuer https://login.example.com --client-id my-cli
//	go run ./examples/daemon https://login.example.com my-cli https://api.example.com/me
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: daemon ISSUER CLIENT_ID API_URL")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := oauthclient.New(oauthclient.Config{
		// Issuer, client, account and store are those of the program that signs in.
		Issuer: os.Args[1], ClientID: os.Args[2],
	})
	if err != nil {
		log.Fatal(err)
	}
	d := daemon{client: client, api: os.Args[3], every: time.Minute, poll: 5 * time.Second}
	d.run(ctx)
	// A refresh that is under way is stored before the process ends.
	if err := client.Close(); err != nil {
		log.Print(err)
	}
}

type daemon struct {
	client *oauthclient.Client
	api    string
	every  time.Duration // between two calls of the API
	poll   time.Duration // between two looks for a session, and at the clock
}

// run works until ctx ends.
func (d *daemon) run(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		session, err := d.client.Session(ctx, "")
		if err != nil {
			// ErrLoginRequired, or a keychain that is locked until the user comes.
			if said != err.Error() {
				said = err.Error()
				log.Printf("waiting: %v", err)
			}
			sleep(ctx, d.poll)
			continue
		}
		said = ""
		user := session.Account()
		log.Printf("working for %s", user.Username)
		err = d.workFor(ctx, session)
		switch {
		case errors.Is(err, oauthclient.ErrAccountMismatch):
			log.Printf("another user has signed in; forgetting what belongs to %s", user.Username)
		case errors.Is(err, oauthclient.ErrLoginRequired):
			log.Printf("stopped: %v", err)
		}
	}
}

// workFor works until the session or ctx ends, and returns why.
func (d *daemon) workFor(ctx context.Context, session *oauthclient.Session) error {
	tick := time.NewTicker(d.poll)
	defer tick.Stop()
	var last time.Time
	for {
		if now := time.Now(); due(last, now, d.every) {
			last = now
			err := d.work(ctx, session)
			if errors.Is(err, oauthclient.ErrLoginRequired) {
				return err
			}
			if err != nil { // the network, as after a suspend: the next time will do
				log.Printf("trying again in %s: %v", d.every, err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-session.Done(): // a logout, or another user, in whatever process
			return session.Err()
		case <-tick.C:
		}
	}
}

// due reports whether the work is to be done again. A ticker counts the time in
// which the computer is awake. So the wall clock decides (Round(0) removes the
// other reading), and after a suspend the work is done within one poll.
func due(last, now time.Time, every time.Duration) bool {
	return now.Round(0).Sub(last.Round(0)) >= every
}

// work is one call of the API. An access token that expired while the computer
// slept is renewed first.
func (d *daemon) work(ctx context.Context, session *oauthclient.Session) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.api, nil)
	if err != nil {
		return err
	}
	resp, err := session.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answered %s", resp.Status)
	}
	log.Print("done")
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
