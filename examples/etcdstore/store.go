// Package etcdstore shows how to write a [tokenstore.Store] that many machines
// share. It keeps sessions in etcd, for a fleet of agents or the runners of a CI
// system. It shows three things: a lock with a lease, writes that a holder without
// the lock cannot make, and an error for a write with an unknown result.
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: tls})
//	store := tokenstore.Seal(&etcdstore.Store{Client: client}, key)
//
// Every client that can read the cluster can read the values, so seal them. The
// key is the same on all machines and is not kept in the cluster.
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

// ErrLockLost means that the lease of a lock has run out, because the process was
// stopped or could not reach the cluster for that long. Another machine may have
// the lock by now. It is the cause of the end of the lock's context, and the error
// of a write under the lock.
var ErrLockLost = errors.New("etcdstore: the lock was lost; start again from what is stored now")

// Store is a [tokenstore.Store] in etcd. It needs a Client; the zero values of the
// other fields are ready. Its methods are safe for concurrent use by many machines.
// Do not copy a Store, and do not change its fields after the first use.
//
// A lock is a key with a lease. A write under the lock's context is a transaction
// that requires the lock. A holder that has lost the lock without noticing writes
// nothing. Each write also changes the lock's key. After a request without an
// answer, the Store can therefore tell whether the write took effect, and can make
// sure that it does not take effect later.
type Store struct {
	// Client is the connection to the cluster, with its credentials. The caller
	// closes it after the last use of the Store. With a nil Client, every method
	// returns ErrUnavailable.
	Client *clientv3.Client
	// Prefix begins all keys in etcd. All machines that share sessions have the
	// same. If it is empty, it is "/nativeoauth/".
	Prefix string
	// TTL is the time for which the lock of a dead machine is kept. A machine that
	// gets no answer from the cluster for that long has lost its locks. If it is
	// zero or negative, it is 15 seconds. It is rounded up to whole seconds, and
	// etcd may make it longer.
	TTL time.Duration
	// Timeout is the time for which a call waits for a cluster that does not
	// answer. If it is zero or negative, it is 10 seconds, which is enough to elect
	// a leader.
	Timeout time.Duration
}

var (
	_ tokenstore.Store  = (*Store)(nil)
	_ tokenstore.Lister = (*Store)(nil)
	_ tokenstore.Prober = (*Store)(nil)
	_ tokenstore.Shared = (*Store)(nil)
	_ fmt.Stringer      = (*Store)(nil)
)

// The directories under Prefix. The keys of a Store have no slash, so that the
// directories cannot overlap.
const (
	values   = "values/"
	journals = "journals/"
	locks    = "locks/"  // a key for each holder or waiting machine, in the order of creation
	writes   = "writes/" // a key for each write without a lock, while it lasts
)

// String returns a name of the store for messages: "etcd" and the prefix.
func (s *Store) String() string { return "etcd " + s.path("") }

// Get implements [tokenstore.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	return s.read(ctx, values, key)
}

// Put implements [tokenstore.Store]. If ctx comes from a lock of this Store that
// is no longer held, it returns ErrLockLost.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	if err := errors.Join(s.check(ctx, key), checkSize(data)); err != nil {
		return err
	}
	return s.write(ctx, clientv3.OpPut(s.path(values, key), string(data)))
}

// Delete implements [tokenstore.Store]. If ctx comes from a lock of this Store
// that is no longer held, it returns ErrLockLost.
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
	resp, err := retry(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		// etcd returns the keys sorted.
		return s.Client.Get(ctx, s.path(values, prefix),
			clientv3.WithPrefix(), clientv3.WithKeysOnly())
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

// Probe implements [tokenstore.Prober]. It tests whether the cluster has a leader
// and space, and whether this client may write.
func (s *Store) Probe(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	key := s.path(values, "probe")
	_, err := retry(ctx, s, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		// The condition is never true, so nothing is written. The cluster agrees on
		// the transaction and authorizes it like any other.
		return s.Client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "<", 0)).
			Then(clientv3.OpPut(key, "")).Commit()
	})
	return err
}

// ReadJournal implements [tokenstore.Shared].
func (s *Store) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	return s.read(ctx, journals, key)
}

// WriteJournal implements [tokenstore.Shared]. If ctx is not derived from the
// context of key's lock, it writes nothing and returns an error.
func (s *Store) WriteJournal(ctx context.Context, key string, data []byte) error {
	if err := errors.Join(s.check(ctx, key), checkSize(data)); err != nil {
		return err
	}
	if !s.turnOf(ctx).holds(key) {
		return errors.New("etcdstore: only the holder of the key's lock writes its journal: " +
			"pass the context that Lock returned")
	}
	return s.write(ctx, clientv3.OpPut(s.path(journals, key), string(data)))
}

func (s *Store) read(ctx context.Context, dir, key string) ([]byte, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	resp, err := retry(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		// This read is linearizable. It sees every write that another machine knows
		// to be stored.
		return s.Client.Get(ctx, s.path(dir, key))
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

// checkSize accepts 1 KiB more than MaxData, as the contract requires for wrappers.
// The limit of etcd is half a MiB higher.
func checkSize(data []byte) error {
	if len(data) > tokenstore.MaxData+1<<10 {
		return fmt.Errorf("etcdstore: a value has at most %d bytes, and this one has %d",
			tokenstore.MaxData, len(data))
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
	oneTry = 3 * time.Second        // for one node to answer, before another is tried
	pause  = 100 * time.Millisecond // between tries
)

// retry repeats a request until the cluster answers. The request must be one that
// may be repeated. If a node dies, another takes over within a second or two.
func retry[R any](
	ctx context.Context, s *Store, request func(context.Context) (R, error),
) (R, error) {
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

// passing reports whether the result of a request is unknown and another try may
// succeed. Otherwise the cluster refused the request.
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

// unavailable adds the remedy. The text of the cluster is quoted, because it may
// contain any characters.
func unavailable(err error) error {
	remedy := "check that the cluster runs and that its address and certificates are right"
	switch code := codeOf(err); {
	case errors.Is(err, rpctypes.ErrNoSpace):
		remedy = "the cluster is full: compact and defragment it, then disarm the alarm"
	case code == codes.PermissionDenied, code == codes.Unauthenticated:
		remedy = "grant the client's user read and write access to the prefix"
	}
	return fmt.Errorf("%w: etcd: %q; %s", tokenstore.ErrUnavailable, err.Error(), remedy)
}
