// Package etcdstore keeps sessions in etcd, so that many machines share one: a fleet of agents, or the runners of a CI system.
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: tls})
//	store := tokenstore.Seal(&etcdstore.Store{Client: client}, key)
//
// Whoever can read the cluster can read what is put there, so seal it. The key is the same on all machines and does not
// lie in the cluster.
package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// ErrLockLost is the cause of the end of a lock's context, and the error of a write under it, when the lock's lease has run out: the
// process was stopped, or cut off from the cluster, for longer than the lease. Another may hold the lock by now.
var ErrLockLost = errors.New("etcdstore: the lock was lost; start again from what is stored now")

// Store is a [tokenstore.Store] in etcd. It needs a Client and is else ready as it is. Its methods are safe for concurrent use, by many
// machines. Do not copy a Store, and do not change its fields after the first use.
//
// A lock is a key with a lease. What is written under a lock's context is written in a transaction that requires the lock: a holder that
// lost it, and does not know yet, writes nothing. Each write also moves the lock's key on, so that a request that was given up on
// can be told from one that has taken effect, and be ruled out.
type Store struct {
	// Client is the connection to the cluster, with its credentials. It is the caller's to close, after the last use of the Store.
	Client *clientv3.Client
	// Prefix comes before all keys here; "": "/nativeoauth/". All that share sessions have the same.
	Prefix string
	// TTL is how long the lock of a machine that died is kept; 0: 15 seconds. A machine that hears nothing from the cluster for as long has
	// lost its locks. It is rounded up to whole seconds; etcd may make it longer.
	TTL time.Duration
	// Timeout is how long a call waits for a cluster that does not answer; 0: 10 seconds, which is enough to elect a leader.
	Timeout time.Duration
}

var (
	_ tokenstore.Store    = (*Store)(nil)
	_ tokenstore.Lister   = (*Store)(nil)
	_ tokenstore.Locker   = (*Store)(nil)
	_ tokenstore.Prober   = (*Store)(nil)
	_ tokenstore.Recorder = (*Store)(nil)
	_ fmt.Stringer        = (*Store)(nil)
)

// Below Prefix. No key of a Store has a slash, so that these are apart from each other.
const (
	values  = "values/"
	records = "records/"
	locks   = "locks/"  // a key of each who holds or waits, by the order of its creation
	writes  = "writes/" // a key for each write without a lock, while it lasts
)

// String names the store for a person.
func (s *Store) String() string { return "etcd " + s.path("") }

// Get implements [tokenstore.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) { return s.read(ctx, values, key) }

// Put implements [tokenstore.Store]. Under the context of a lock of this Store: ErrLockLost, where it is no longer held.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	if err := errors.Join(s.check(ctx, key), checkSize(data)); err != nil {
		return err
	}
	return s.write(ctx, clientv3.OpPut(s.path(values, key), string(data)))
}

// Delete implements [tokenstore.Store]. Under the context of a lock of this Store: ErrLockLost, where it is no longer held.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	return s.write(ctx, clientv3.OpDelete(s.path(values, key)))
}

// List implements [tokenstore.Lister].
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	resp, err := ask(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.Client.Get(ctx, s.path(values, prefix), clientv3.WithPrefix(), clientv3.WithKeysOnly()) // etcd sorts
	})
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		keys[i] = strings.TrimPrefix(string(kv.Key), s.path(values))
	}
	return keys, nil
}

// Probe implements [tokenstore.Prober]: the cluster has a leader and room, and lets us write.
func (s *Store) Probe(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	key := s.path(values, "probe")
	_, err := ask(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		// The condition never holds, and the transaction is agreed on and authorized like any other.
		return s.Client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "<", 0)).Then(clientv3.OpPut(key, "")).Commit()
	})
	return err
}

// ReadRecord implements [tokenstore.Recorder].
func (s *Store) ReadRecord(ctx context.Context, key string) ([]byte, error) {
	return s.read(ctx, records, key)
}

// WriteRecord implements [tokenstore.Recorder]. ctx is that of key's lock, or comes from it: without, nothing is written.
func (s *Store) WriteRecord(ctx context.Context, key string, data []byte) error {
	if err := errors.Join(s.check(ctx, key), checkSize(data)); err != nil {
		return err
	}
	if !s.turnOf(ctx).holds(key) {
		return errors.New("etcdstore: a record is written by the holder of its key's lock: pass on the context that Lock returned")
	}
	return s.write(ctx, clientv3.OpPut(s.path(records, key), string(data)))
}

func (s *Store) read(ctx context.Context, dir, key string) ([]byte, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	resp, err := ask(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.Client.Get(ctx, s.path(dir, key)) // linearizable: never older than what another machine was told is stored
	})
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		return nil, tokenstore.ErrNotFound
	}
	return append([]byte{}, resp.Kvs[0].Value...), nil
}

func (s *Store) path(parts ...string) string {
	prefix := s.Prefix
	if prefix == "" {
		prefix = "/nativeoauth/"
	}
	return prefix + strings.Join(parts, "")
}

func (s *Store) check(ctx context.Context, key string) error {
	if err := tokenstore.CheckKey(key); err != nil {
		return err
	}
	return s.ready(ctx)
}

func (s *Store) ready(ctx context.Context) error {
	if s.Client == nil {
		return fmt.Errorf("%w: Store.Client is nil", tokenstore.ErrUnavailable)
	}
	return ctx.Err()
}

// checkSize leaves a wrapper the room that the contract promises it. etcd's own limit is half a mebibyte above.
func checkSize(data []byte) error {
	if len(data) > tokenstore.MaxData+1<<10 {
		return fmt.Errorf("etcdstore: a value has at most %d bytes, this one %d", tokenstore.MaxData, len(data))
	}
	return nil
}

func (s *Store) ttl() time.Duration {
	if s.TTL <= 0 {
		return 15 * time.Second
	}
	return (s.TTL + time.Second - 1).Truncate(time.Second)
}

func (s *Store) timeout() time.Duration {
	if s.Timeout <= 0 {
		return 10 * time.Second
	}
	return s.Timeout
}

const (
	oneTry = 3 * time.Second        // for one node to answer, before another is asked
	pause  = 100 * time.Millisecond // between tries
)

// ask repeats a request that may be repeated until the cluster answers: when a node dies, another takes over within a second or two.
func ask[R any](ctx context.Context, s *Store, request func(context.Context) (R, error)) (R, error) {
	for began := time.Now(); ; {
		try, cancel := context.WithTimeout(ctx, oneTry)
		r, err := request(try)
		cancel()
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil:
			return r, ctx.Err()
		case !passing(err) || time.Since(began) > s.timeout():
			return r, unavailable(err)
		}
		sleep(ctx, pause)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// passing reports whether nobody knows what became of a request, and another try may fare better. Else the cluster refused it.
func passing(err error) bool {
	code := codeOf(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

func codeOf(err error) codes.Code {
	var e rpctypes.EtcdError
	switch {
	case errors.As(err, &e):
		return e.Code()
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return status.Code(err)
}

// unavailable names the remedy. The cluster's own text is quoted, for it may hold anything.
func unavailable(err error) error {
	remedy := "is the cluster up, and do its address and certificates fit?"
	switch code := codeOf(err); {
	case errors.Is(err, rpctypes.ErrNoSpace):
		remedy = "the cluster is full: compact and defragment it, then disarm the alarm"
	case code == codes.PermissionDenied, code == codes.Unauthenticated:
		remedy = "grant the client's user read and write access to the prefix"
	}
	return fmt.Errorf("%w: etcd: %q; %s", tokenstore.ErrUnavailable, err.Error(), remedy)
}
