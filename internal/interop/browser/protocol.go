//go:build linux

package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/coder/websocket"
)

// protocol is a connection to a browser. Firefox (WebDriver BiDi) and Chromium (its
// DevTools protocol) exchange the same kind of messages. It is safe for concurrent
// use.
type protocol struct {
	conn    *websocket.Conn
	mu      sync.Mutex
	last    int
	waiting map[int]chan reply
}

type reply struct {
	ID      int             `json:"id"`
	Type    string          `json:"type"` // Firefox says "error" here
	Result  json.RawMessage `json:"result"`
	Error   json.RawMessage `json:"error"`
	Message string          `json:"message"`
}

func connect(ctx context.Context, address string) (*protocol, error) {
	conn, _, err := websocket.Dial(ctx, address, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(-1)
	r := &protocol{conn: conn, waiting: map[int]chan reply{}}
	go r.read()
	return r, nil
}

// read passes replies to those that wait for them, until the browser ends.
func (r *protocol) read() {
	for {
		_, data, err := r.conn.Read(context.Background())
		if err != nil {
			break
		}
		var got reply
		if json.Unmarshal(data, &got) != nil || got.ID == 0 { // an event
			continue
		}
		r.mu.Lock()
		if c := r.waiting[got.ID]; c != nil {
			c <- got
			delete(r.waiting, got.ID)
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.waiting {
		close(c)
	}
	r.waiting = nil
}

// call sends a command and stores its result. session is for Chromium. result may
// be nil.
func (r *protocol) call(ctx context.Context, session, method string, params, result any) error {
	c := make(chan reply, 1)
	r.mu.Lock()
	if r.waiting == nil {
		r.mu.Unlock()
		return errors.New("the browser has ended")
	}
	r.last++
	id := r.last
	r.waiting[id] = c
	r.mu.Unlock()
	message := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		message["sessionId"] = session
	}
	data, err := json.Marshal(message)
	if err == nil {
		err = r.conn.Write(ctx, websocket.MessageText, data)
	}
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	case got, ok := <-c:
		switch {
		case !ok:
			return errors.New("the browser has ended")
		case got.Error != nil:
			return fmt.Errorf("%s: %s %s", method, got.Error, got.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(got.Result, result)
	}
}
