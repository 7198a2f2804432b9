package tokenstore_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// prompting is a secret service that shows prompts, which the test answers for the
// user. A gnome-keyring without a display cannot do that. It stores one item, on a
// real session bus and under the real name.
type prompting struct {
	conn *dbus.Conn

	mu       sync.Mutex
	locked   bool
	held     bool        // the item has its own lock
	calls    int         // of methods
	secret   []byte      // nil: no item
	onUnlock func() bool // the user's answer to each prompt; false: dismissed
	onCreate func() bool // nil: no prompt
	onDelete func() bool
	prompted chan struct{} // one element for each prompt shown
	pending  func()        // what happens if the prompt is confirmed
	opens    dbus.ObjectPath
	answer   func() bool
}

const (
	fakeService    = dbus.ObjectPath("/org/freedesktop/secrets")
	fakeCollection = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	fakeItem       = dbus.ObjectPath("/org/freedesktop/secrets/collection/login/1")
	fakePrompt     = dbus.ObjectPath("/org/freedesktop/secrets/prompt/p1")
	fakeSession    = dbus.ObjectPath("/org/freedesktop/secrets/session/s1")
)

type fakeSecret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

// promptingSession gives the test a session with such a service and a display.
func promptingSession(t *testing.T) (*realparts.Session, *prompting) {
	t.Helper()
	s := realparts.SecretService(t, realparts.NoService)
	s.Setenv(t)
	t.Setenv("DISPLAY", ":99")
	conn, err := dbus.Connect(s.Address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	p := &prompting{conn: conn, prompted: make(chan struct{}, 100)}
	require.NoError(t, conn.Export(fakeServiceAPI{p}, fakeService, "org.freedesktop.Secret.Service"))
	require.NoError(t, conn.Export(fakePropertiesAPI{p}, fakeService, "org.freedesktop.DBus.Properties"))
	require.NoError(t, conn.Export(fakeCollectionAPI{p}, fakeCollection, "org.freedesktop.Secret.Collection"))
	require.NoError(t, conn.Export(fakePropertiesAPI{p}, fakeCollection, "org.freedesktop.DBus.Properties"))
	require.NoError(t, conn.Export(fakeItemAPI{p}, fakeItem, "org.freedesktop.Secret.Item"))
	require.NoError(t, conn.Export(fakePromptAPI{p}, fakePrompt, "org.freedesktop.Secret.Prompt"))
	require.NoError(t, conn.Export(fakeSessionAPI{}, fakeSession, "org.freedesktop.Secret.Session"))
	_, err = conn.RequestName("org.freedesktop.secrets", dbus.NameFlagDoNotQueue)
	require.NoError(t, err)
	return s, p
}

// set changes how the service behaves from now on.
func (p *prompting) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *prompting) prompt(answer func() bool, then func()) dbus.ObjectPath {
	p.answer, p.pending = answer, then
	return fakePrompt
}

type fakeServiceAPI struct{ p *prompting }

func (f fakeServiceAPI) OpenSession(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	f.p.set(func() { f.p.calls++ })
	return dbus.MakeVariant(""), fakeSession, nil
}

func (fakeServiceAPI) ReadAlias(string) (dbus.ObjectPath, *dbus.Error) { return fakeCollection, nil }

func (f fakeServiceAPI) Unlock(objects []dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.p.calls++
	f.p.opens = objects[0]
	switch {
	case f.p.locked:
		return nil, f.p.prompt(f.p.onUnlock, func() { f.p.locked = false }), nil
	case f.p.held && objects[0] == fakeItem:
		return nil, f.p.prompt(f.p.onUnlock, func() { f.p.held = false }), nil
	}
	return objects, "/", nil
}

type fakePropertiesAPI struct{ p *prompting }

func (f fakePropertiesAPI) Get(_, name string) (dbus.Variant, *dbus.Error) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.p.calls++
	if name == "Locked" {
		return dbus.Variant{}, dbus.NewError("gnome-keyring would be gone", nil)
	}
	return dbus.MakeVariant([]dbus.ObjectPath{fakeCollection}), nil
}

type fakeCollectionAPI struct{ p *prompting }

func (f fakeCollectionAPI) SearchItems(map[string]string) ([]dbus.ObjectPath, *dbus.Error) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.p.calls++
	if f.p.secret == nil {
		return nil, nil
	}
	return []dbus.ObjectPath{fakeItem}, nil
}

func (f fakeCollectionAPI) CreateItem(_ map[string]dbus.Variant, secret fakeSecret, _ bool) (dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	store := func() { f.p.secret = secret.Value }
	if f.p.onCreate != nil {
		return "/", f.p.prompt(f.p.onCreate, store), nil
	}
	store()
	return fakeItem, "/", nil
}

type fakeItemAPI struct{ p *prompting }

func (f fakeItemAPI) GetSecret(session dbus.ObjectPath) (fakeSecret, *dbus.Error) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.p.calls++
	if f.p.held {
		return fakeSecret{}, dbus.NewError("org.freedesktop.Secret.Error.IsLocked", nil)
	}
	return fakeSecret{session, []byte{}, f.p.secret, "text/plain"}, nil
}

func (f fakeItemAPI) Delete() (dbus.ObjectPath, *dbus.Error) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	if f.p.onDelete != nil {
		return f.p.prompt(f.p.onDelete, func() { f.p.secret = nil }), nil
	}
	f.p.secret = nil
	return "/", nil
}

type fakePromptAPI struct{ p *prompting }

func (f fakePromptAPI) Prompt(string) *dbus.Error {
	f.p.mu.Lock()
	answer, then, opened := f.p.answer, f.p.pending, f.p.opens
	f.p.mu.Unlock()
	go func() {
		time.Sleep(100 * time.Millisecond) // until the caller has the reply
		f.p.prompted <- struct{}{}
		granted := answer()
		f.p.mu.Lock()
		if granted {
			then()
		}
		f.p.mu.Unlock()
		result := []dbus.ObjectPath{}
		if granted {
			result = append(result, opened)
		}
		_ = f.p.conn.Emit(fakePrompt, "org.freedesktop.Secret.Prompt.Completed", !granted, dbus.MakeVariant(result))
	}()
	return nil
}

type fakeSessionAPI struct{}

func (fakeSessionAPI) Close() *dbus.Error { return nil }

func dismiss() bool { return false }
func allow() bool   { return true }

// If a prompt is dismissed, Set and Delete of go-keyring report success. The Keyring
// does not.
func TestKeyringDismissedPromptIsAnError(t *testing.T) {
	_, p := promptingSession(t)
	store := &tokenstore.Keyring{Timeout: time.Minute}
	p.set(func() { p.onCreate = dismiss })
	err := store.Put(t.Context(), "a", []byte("new"))
	require.ErrorIs(t, err, tokenstore.ErrLocked)
	require.ErrorContains(t, err, "confirm it")
	_, err = store.Get(t.Context(), "a")
	require.ErrorIs(t, err, tokenstore.ErrNotFound)

	p.set(func() { p.onCreate = allow })
	require.NoError(t, store.Put(t.Context(), "a", []byte("old")))
	p.set(func() { p.onCreate = dismiss })
	require.ErrorIs(t, store.Put(t.Context(), "a", []byte("new")), tokenstore.ErrLocked)
	got, err := store.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "old", string(got))

	p.set(func() { p.onDelete = dismiss })
	require.ErrorIs(t, store.Delete(t.Context(), "a"), tokenstore.ErrLocked)
	_, err = store.Get(t.Context(), "a")
	require.NoError(t, err)
	keys, err := store.List(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, keys)
	p.set(func() { p.onDelete = allow })
	require.NoError(t, store.Delete(t.Context(), "a"))
}

// If the keyring is locked and there is a display, Probe and the first call prompt
// the user.
func TestKeyringPromptsToUnlock(t *testing.T) {
	_, p := promptingSession(t)
	store := &tokenstore.Keyring{}
	p.set(func() { p.locked, p.onUnlock = true, dismiss })
	for _, err := range []error{store.Probe(t.Context()), store.Put(t.Context(), "a", nil), store.Delete(t.Context(), "a")} {
		require.ErrorIs(t, err, tokenstore.ErrLocked)
		require.ErrorContains(t, err, "unlock it and try again")
	}
	// The user may take longer than an unattended call.
	p.set(func() {
		p.onUnlock = func() bool { time.Sleep(tokenstore.Unattended + 500*time.Millisecond); return true }
	})
	require.NoError(t, store.Probe(t.Context()))
	p.set(func() { require.False(t, p.locked, "prompted before anything depends on it") })
	require.NoError(t, store.Put(t.Context(), "a", []byte("x")))
}

// A Get sends four requests: the lock, the item, a session and the secret.
func TestKeyringGetSendsFourRequests(t *testing.T) {
	_, p := promptingSession(t)
	store := &tokenstore.Keyring{}
	require.NoError(t, store.Put(t.Context(), "a", []byte("x")))
	p.set(func() { p.calls = 0 })
	_, err := store.Get(t.Context(), "a")
	require.NoError(t, err)
	p.set(func() { require.Equal(t, 4, p.calls) })
}

// An item may have its own lock in a keyring that is open (KeePassXC). The user is
// prompted for it.
func TestKeyringPromptsForAnItemWithItsOwnLock(t *testing.T) {
	_, p := promptingSession(t)
	store := &tokenstore.Keyring{Timeout: time.Minute}
	require.NoError(t, store.Put(t.Context(), "a", []byte("x")))
	p.set(func() { p.held, p.onUnlock = true, dismiss })
	_, err := store.Get(t.Context(), "a")
	require.ErrorIs(t, err, tokenstore.ErrLocked)
	p.set(func() { p.onUnlock = allow })
	got, err := store.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}

// If nobody answers the prompt, the call ends in time. The prompt and its goroutine
// end when the bus dies. go-keyring then dereferences nil, which must not end the
// program.
func TestKeyringSurvivesADeadBusUnderAPrompt(t *testing.T) {
	s, p := promptingSession(t)
	store := &tokenstore.Keyring{Timeout: 2 * time.Second}
	never, end := context.WithCancel(t.Context())
	defer end()
	wait := func() bool { <-never.Done(); return false }
	p.set(func() { p.locked, p.onUnlock = true, wait })

	err := store.Put(t.Context(), "a", []byte("x"))
	require.ErrorIs(t, err, tokenstore.ErrLocked)
	require.ErrorContains(t, err, "nobody answered the keychain's prompt within 2s")
	var pending *tokenstore.Pending
	require.ErrorAs(t, err, &pending)
	<-p.prompted
	before := runtime.NumGoroutine()
	for range 100 {
		require.ErrorIs(t, store.Put(t.Context(), "a", nil), tokenstore.ErrBusy)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	require.Empty(t, p.prompted, "one prompt, not a hundred")
	s.StopBus()
	within(t, pending.Done)

	// The same while a caller still waits.
	s, p = promptingSession(t)
	store = &tokenstore.Keyring{Timeout: time.Minute}
	p.set(func() { p.locked, p.onUnlock = true, wait })
	failed := make(chan error, 1)
	go func() {
		_, err := store.Get(context.WithoutCancel(t.Context()), "a")
		failed <- err
	}()
	<-p.prompted
	s.StopBus()
	select {
	case err := <-failed:
		require.ErrorIs(t, err, tokenstore.ErrUnavailable)
		require.ErrorContains(t, err, "connection to the keychain broke")
	case <-time.After(30 * time.Second):
		t.Fatal("the call outlives the bus")
	}
}

// gnome-keyring cannot show its prompt on this display.
func TestKeyringIsLockedIfThePromptCannotBeShown(t *testing.T) {
	realparts.SecretService(t, realparts.Locked).Setenv(t)
	t.Setenv("DISPLAY", ":99")
	store := &tokenstore.Keyring{Timeout: 20 * time.Second}
	_, err := store.Get(t.Context(), "a")
	require.ErrorIs(t, err, tokenstore.ErrLocked)
	require.ErrorIs(t, store.Probe(t.Context()), tokenstore.ErrLocked)
}
