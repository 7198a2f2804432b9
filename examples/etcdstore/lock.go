package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// turn is the right to write. In etcd it is a key with a lease. A machine that
// waits for a lock has a turn too, which begins when no older turn is left.
type turn struct {
	store *Store
	name  string // the key of the lock; "": a single write without a lock
	outer *turn  // a lock that the caller already holds; nil: none
	held  context.Context
	lose  context.CancelCauseFunc
	kept  chan struct{} // closed when the lease is not renewed any more

	lease   clientv3.LeaseID
	key     string // in etcd
	created int64  // its CreateRevision

	writing chan struct{} // capacity 1; full during a write; guards the fields below
	rev     int64         // the key's ModRevision
	step    int64         // the number that was last written to the key
}

// mark is the context key for the innermost turn of a Store.
type mark struct{ store *Store }

func (s *Store) turnOf(ctx context.Context) *turn {
	t, _ := ctx.Value(mark{s}).(*turn)
	return t
}

// holds reports whether t or a turn around it is that of name.
func (t *turn) holds(name string) bool {
	for ; t != nil; t = t.outer {
		if t.name == name {
			return true
		}
	}
	return false
}

// Lock implements [tokenstore.Shared]. Waiting machines get the lock in the order
// in which they came.
//
// If the lease cannot be renewed in time, held ends with the cause [ErrLockLost];
// see [context.Cause]. It ends by the clock of this machine, which starts before
// that of the cluster. No other machine has the lock at that moment.
func (s *Store) Lock(
	ctx context.Context, key string,
) (held context.Context, unlock func() error, err error) {
	if err := s.check(ctx, key); err != nil {
		return nil, nil, err
	}
	for {
		t, err := s.begin(ctx, key, s.path(locks, key, "/"))
		if err != nil {
			return nil, nil, err
		}
		if err = t.wait(ctx); err == nil {
			var once sync.Once
			return t.held, func() (err error) {
				once.Do(func() { err = t.end() })
				return err
			}, nil
		}
		t.abandon()
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		// A lease that ran out in the queue did no harm, so this tries again.
		if !errors.Is(err, ErrLockLost) {
			return nil, nil, err
		}
	}
}

// begin makes a turn with its own key under dir.
func (s *Store) begin(ctx context.Context, name, dir string) (*turn, error) {
	t := &turn{
		store: s, name: name, outer: s.turnOf(ctx),
		kept: make(chan struct{}), writing: make(chan struct{}, 1),
	}
	held := context.WithValue(context.WithoutCancel(ctx), mark{s}, t)
	t.held, t.lose = context.WithCancelCause(held)
	var until time.Time
	granted, err := retry(ctx, s, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		sent := time.Now()
		granted, err := s.Client.Grant(ctx, int64(s.ttl()/time.Second))
		if err == nil {
			until = sent.Add(time.Duration(granted.TTL) * time.Second)
		}
		return granted, err
	})
	if err != nil {
		t.lose(err)
		return nil, err
	}
	t.lease, t.key = granted.ID, dir+strconv.FormatInt(int64(granted.ID), 16)
	go t.keep(until)

	// The condition makes sure that an earlier try that arrives late changes nothing.
	made, err := retry(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.Client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", 0)).
			Then(clientv3.OpPut(t.key, "0", clientv3.WithLease(t.lease))).
			Else(clientv3.OpGet(t.key)).Commit()
	})
	if err != nil {
		t.abandon()
		return nil, err
	}
	t.created = made.Header.Revision
	if !made.Succeeded {
		t.created = only(made).CreateRevision
	}
	t.rev = t.created
	return t, nil
}

// only returns the key that the one Get of a transaction found. If it found none,
// it returns a key with CreateRevision 0.
func only(resp *clientv3.TxnResponse) *mvccpb.KeyValue {
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 {
		return kvs[0]
	}
	return &mvccpb.KeyValue{}
}

// keep renews the lease until the turn ends. The time of a renewal begins when the
// request is sent, because the clock of the cluster starts later.
func (t *turn) keep(until time.Time) {
	defer close(t.kept)
	ttl := time.Until(until)
	over := time.AfterFunc(ttl, func() { t.lose(ErrLockLost) })
	defer over.Stop()
	for next := ttl / 3; ; {
		sleep(t.held, next)
		if t.held.Err() != nil {
			return
		}
		sent := time.Now()
		try, cancel := context.WithTimeout(t.held, ttl/3)
		renewed, err := t.store.Client.KeepAliveOnce(try, t.lease)
		cancel()
		switch {
		case err == nil:
			until, next = sent.Add(time.Duration(renewed.TTL)*time.Second), ttl/3
			over.Reset(time.Until(until))
		case codeOf(err) == codes.NotFound:
			t.lose(ErrLockLost)
		default:
			next = min(pause, ttl/10)
		}
	}
}

// end gives the turn back. If that fails, the lease runs out by itself.
func (t *turn) end() error {
	lost := context.Cause(t.held)
	t.lose(context.Canceled)
	<-t.kept
	if lost != nil {
		return nil // there is nothing to give back
	}
	ctx := context.WithoutCancel(t.held)
	_, err := retry(ctx, t.store, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) {
		return t.store.Client.Revoke(ctx, t.lease)
	})
	if codeOf(err) == codes.NotFound {
		return nil
	}
	return err
}

// abandon ends a turn that is of no use any more. It waits for that for a second at
// most. After that, end goes on in the background, or the lease runs out.
func (t *turn) abandon() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = t.end()
	}()
	select {
	case <-ended:
	case <-time.After(time.Second):
	}
}

// wait returns nil when no older turn is left.
func (t *turn) wait(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.held, func() { cancel(context.Cause(t.held)) })()
	dir := t.store.path(locks, t.name, "/")
	for {
		resp, err := retry(ctx, t.store, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			older := clientv3.WithMaxCreateRev(t.created - 1)
			youngest := append(clientv3.WithLastCreate(), clientv3.WithKeysOnly(), older)
			return t.store.Client.Txn(ctx).
				If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.created)).
				Then(clientv3.OpGet(dir, youngest...)).Commit()
		})
		switch {
		case err != nil && context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case !resp.Succeeded:
			return ErrLockLost
		case len(resp.Responses[0].GetResponseRange().Kvs) == 0:
			return nil
		}
		t.gone(ctx, string(only(resp).Key), resp.Header.Revision+1)
	}
}

// gone returns when the key is deleted, and after half a TTL at the latest. A watch
// hangs if its node does.
func (t *turn) gone(ctx context.Context, key string, from int64) {
	ctx, cancel := context.WithTimeout(ctx, t.store.ttl()/2)
	defer cancel()
	deletions := t.store.Client.Watch(clientv3.WithRequireLeader(ctx), key,
		clientv3.WithRev(from), clientv3.WithFilterPut())
	for resp := range deletions {
		if len(resp.Events) > 0 {
			return
		}
		if resp.Err() != nil {
			sleep(ctx, pause)
			return
		}
	}
}

// write makes one change, under the lock in ctx or under a turn of its own.
func (s *Store) write(ctx context.Context, op clientv3.Op) error {
	t, release := s.turnOf(ctx), func() {}
	if t == nil {
		// This turn excludes no other machine. It is there so that a request without an
		// answer can be settled.
		var err error
		if t, err = s.begin(ctx, "", s.path(writes)); err != nil {
			return err
		}
		release = t.abandon
	}
	select {
	case t.writing <- struct{}{}:
	case <-ctx.Done():
		release()
		return ctx.Err()
	}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = t.commit(ctx, op)
		<-t.writing
		release()
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return &tokenstore.Pending{Err: ctx.Err(), Done: done}
	}
}

// commit makes the change in a transaction that requires the turn. It returns when
// the change was made or never will be.
func (t *turn) commit(ctx context.Context, op clientv3.Op) error {
	for began := time.Now(); ; {
		if t.held.Err() != nil {
			return t.lost()
		}
		t.step++
		try, cancel := context.WithTimeout(ctx, oneTry)
		resp, err := t.store.Client.Txn(try).If(t.required()...).
			Then(op, t.advance()).Else(clientv3.OpGet(t.key)).Commit()
		cancel()
		if err == nil && resp.Succeeded {
			t.rev = resp.Header.Revision
			return nil
		}
		if err == nil {
			if only(resp).CreateRevision == 0 {
				t.lose(ErrLockLost)
			}
			return ErrLockLost // this lock or one around it
		}
		if !passing(err) && ctx.Err() == nil {
			return unavailable(err)
		}
		if made, serr := t.settle(); made || serr != nil {
			return serr
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(began) > t.store.timeout():
			return unavailable(err)
		}
		sleep(ctx, pause)
	}
}

// settle reports whether a transaction without an answer was made, and makes sure
// that it takes no effect after that. It changes the key of the turn, which the
// transaction requires to be unchanged. It goes on until the cluster answers.
func (t *turn) settle() (made bool, err error) {
	t.step++
	for {
		try, cancel := context.WithTimeout(context.WithoutCancel(t.held), oneTry)
		resp, err := t.store.Client.Txn(try).
			If(clientv3.Compare(clientv3.ModRevision(t.key), "=", t.rev)).
			Then(t.advance()).Else(clientv3.OpGet(t.key)).Commit()
		cancel()
		switch {
		case err != nil && passing(err):
			time.Sleep(pause)
			continue
		case err != nil:
			return false, unavailable(err)
		case resp.Succeeded:
			t.rev = resp.Header.Revision
			return false, nil
		}
		now := only(resp)
		if now.CreateRevision != t.created {
			t.lose(ErrLockLost)
			return false, fmt.Errorf("%w (the last write may have been made before)", ErrLockLost)
		}
		t.rev = now.ModRevision
		// Any other step is that of an earlier try of settle.
		return string(now.Value) == strconv.FormatInt(t.step-1, 10), nil
	}
}

// required returns the conditions of a write: the turn is unchanged since the last
// write, and the locks around it are still held.
func (t *turn) required() []clientv3.Cmp {
	all := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(t.key), "=", t.rev)}
	for o := t.outer; o != nil; o = o.outer {
		all = append(all, clientv3.Compare(clientv3.CreateRevision(o.key), "=", o.created))
	}
	return all
}

func (t *turn) advance() clientv3.Op {
	return clientv3.OpPut(t.key, strconv.FormatInt(t.step, 10), clientv3.WithLease(t.lease))
}

// lost returns the reason why the turn is over.
func (t *turn) lost() error {
	if errors.Is(context.Cause(t.held), ErrLockLost) {
		return ErrLockLost
	}
	return fmt.Errorf("%w: it was given back", ErrLockLost)
}
