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

// turn is the right to write: a key with a lease. Who waits for a lock has a turn too, and it comes when no older one is left.
type turn struct {
	store *Store
	name  string // whose lock it is; "": that of one write without a lock
	outer *turn  // the lock that was held already
	held  context.Context
	lose  context.CancelCauseFunc
	kept  chan struct{} // closed when the lease is no longer renewed

	lease   clientv3.LeaseID
	key     string // in etcd
	created int64  // its CreateRevision

	writing chan struct{} // full during a write; guards the rest
	rev     int64         // the key's ModRevision
	step    int64         // the number that was last written to the key
}

// mark is where a context carries the innermost turn of a Store.
type mark struct{ store *Store }

func (s *Store) turnOf(ctx context.Context) *turn {
	t, _ := ctx.Value(mark{s}).(*turn)
	return t
}

// holds reports whether t, or one around it, is that of name.
func (t *turn) holds(name string) bool {
	for ; t != nil; t = t.outer {
		if t.name == name {
			return true
		}
	}
	return false
}

// Lock implements [tokenstore.Locker]. Those who wait get the lock in the order in which they came.
//
// held ends with the cause [ErrLockLost] (see [context.Cause]) when the lease cannot be renewed in time. It ends by this
// machine's clock, which starts before the cluster's does, so that nobody else has the lock yet.
func (s *Store) Lock(ctx context.Context, key string) (held context.Context, unlock func() error, err error) {
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
		if !errors.Is(err, ErrLockLost) { // that was in the queue only
			return nil, nil, err
		}
	}
}

// begin makes a turn, with a key of its own under dir.
func (s *Store) begin(ctx context.Context, name, dir string) (*turn, error) {
	t := &turn{store: s, name: name, outer: s.turnOf(ctx), kept: make(chan struct{}), writing: make(chan struct{}, 1)}
	t.held, t.lose = context.WithCancelCause(context.WithValue(context.WithoutCancel(ctx), mark{s}, t))
	var until time.Time
	granted, err := ask(ctx, s, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		asked := time.Now()
		granted, err := s.Client.Grant(ctx, int64(s.ttl()/time.Second))
		if err == nil {
			until = asked.Add(time.Duration(granted.TTL) * time.Second)
		}
		return granted, err
	})
	if err != nil {
		t.lose(err)
		return nil, err
	}
	t.lease, t.key = granted.ID, dir+strconv.FormatInt(int64(granted.ID), 16)
	go t.keep(until)

	// On condition, so that a try that was given up on and comes late changes nothing.
	made, err := ask(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.Client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", 0)).
			Then(clientv3.OpPut(t.key, "0", clientv3.WithLease(t.lease))).Else(clientv3.OpGet(t.key)).Commit()
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

// only returns what a transaction's one Get found; else a key that never was.
func only(resp *clientv3.TxnResponse) *mvccpb.KeyValue {
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 {
		return kvs[0]
	}
	return &mvccpb.KeyValue{}
}

// keep renews the lease until the turn ends. A renewal counts from when it was asked for: the cluster's clock starts later.
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
		asked := time.Now()
		try, cancel := context.WithTimeout(t.held, ttl/3)
		renewed, err := t.store.Client.KeepAliveOnce(try, t.lease)
		cancel()
		switch {
		case err == nil:
			until, next = asked.Add(time.Duration(renewed.TTL)*time.Second), ttl/3
			over.Reset(time.Until(until))
		case codeOf(err) == codes.NotFound:
			t.lose(ErrLockLost)
		default:
			next = min(pause, ttl/10)
		}
	}
}

// end gives the turn back. On an error the lease does it, within its time.
func (t *turn) end() error {
	lost := context.Cause(t.held)
	t.lose(context.Canceled)
	<-t.kept
	if lost != nil {
		return nil // there is nothing to give back
	}
	_, err := ask(context.WithoutCancel(t.held), t.store, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) {
		return t.store.Client.Revoke(ctx, t.lease)
	})
	if codeOf(err) == codes.NotFound {
		return nil
	}
	return err
}

// abandon is end for a turn of no use. Nobody waits long for that: it goes on beside, and else the lease does it.
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

// wait returns when no older turn is left.
func (t *turn) wait(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.held, func() { cancel(context.Cause(t.held)) })()
	dir := t.store.path(locks, t.name, "/")
	for {
		resp, err := ask(ctx, t.store, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			older := clientv3.WithMaxCreateRev(t.created - 1)
			return t.store.Client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.created)).
				Then(clientv3.OpGet(dir, append(clientv3.WithLastCreate(), clientv3.WithKeysOnly(), older)...)).Commit()
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

// gone returns when the key is deleted, or when it is time to look again: a watch hangs with its node.
func (t *turn) gone(ctx context.Context, key string, from int64) {
	ctx, cancel := context.WithTimeout(ctx, t.store.ttl()/2)
	defer cancel()
	for resp := range t.store.Client.Watch(clientv3.WithRequireLeader(ctx), key, clientv3.WithRev(from), clientv3.WithFilterPut()) {
		if len(resp.Events) > 0 {
			return
		}
		if resp.Err() != nil {
			sleep(ctx, pause)
			return
		}
	}
}

// write makes one change, under the lock that ctx carries, or under a turn of its own.
func (s *Store) write(ctx context.Context, op clientv3.Op) error {
	t, release := s.turnOf(ctx), func() {}
	if t == nil {
		// Not for anybody's sake: so that a request that was given up on can be ruled out.
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

// commit makes the change in a transaction that requires the turn. It returns when the change is made, or never will be.
func (t *turn) commit(ctx context.Context, op clientv3.Op) error {
	for began := time.Now(); ; {
		if t.held.Err() != nil {
			return t.lost()
		}
		t.step++
		try, cancel := context.WithTimeout(ctx, oneTry)
		resp, err := t.store.Client.Txn(try).If(t.required()...).Then(op, t.advance()).Else(clientv3.OpGet(t.key)).Commit()
		cancel()
		if err == nil && resp.Succeeded {
			t.rev = resp.Header.Revision
			return nil
		}
		if err == nil {
			if only(resp).CreateRevision == 0 {
				t.lose(ErrLockLost)
			}
			return ErrLockLost // this one, or one around it
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

// settle finds out what became of a transaction without an answer, and sees to it that it takes no effect after that: it moves the
// key on, which the transaction requires to be where it was. It goes on until the cluster answers.
func (t *turn) settle() (made bool, err error) {
	t.step++
	for {
		try, cancel := context.WithTimeout(context.WithoutCancel(t.held), oneTry)
		resp, err := t.store.Client.Txn(try).If(clientv3.Compare(clientv3.ModRevision(t.key), "=", t.rev)).
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
		return string(now.Value) == strconv.FormatInt(t.step-1, 10), nil // else an earlier try of ours was first
	}
}

// required is the turn as we know it, and the locks around it.
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

// lost is why the turn is over.
func (t *turn) lost() error {
	if errors.Is(context.Cause(t.held), ErrLockLost) {
		return ErrLockLost
	}
	return fmt.Errorf("%w: it was given back", ErrLockLost)
}
