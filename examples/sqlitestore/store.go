// Package sqlitestore shows how to write a store: it keeps sessions in a SQLite
// database, for the programs of one machine. Several processes may use a database at
// once. tokenstore/storetest tests it.
//
// Values are stored as they come. Wrap the store with [tokenstore.Seal], so that the
// database has encrypted values only.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite" // without cgo
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Store is a [tokenstore.Store] with a lock, a journal and a list. Open makes one. It
// is safe for concurrent use.
type Store struct {
	db  *sql.DB
	dir string
}

var (
	_ tokenstore.Shared = (*Store)(nil)
	_ tokenstore.Lister = (*Store)(nil)
)

// Open opens the store in the directory dir, and makes it if it is missing.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// synchronous(FULL) and the rollback journal make a commit durable. busy_timeout
	// lets a call wait for another process.
	db, err := sql.Open("sqlite", uri(dir, "sessions.db")+
		"?_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(`
		CREATE TABLE IF NOT EXISTS value   (key TEXT PRIMARY KEY, data BLOB NOT NULL);
		CREATE TABLE IF NOT EXISTS journal (key TEXT PRIMARY KEY, data BLOB NOT NULL)`)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{db: db, dir: dir}, nil
}

// uri names a file for SQLite. A path may have characters that a URI has to escape.
func uri(dir, name string) string {
	path := filepath.ToSlash(filepath.Join(dir, name))
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // a drive of Windows
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// String names the store for messages.
func (s *Store) String() string { return "SQLite database in " + s.dir }

// Get implements [tokenstore.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	return s.read(ctx, "SELECT data FROM value WHERE key = ?", key)
}

// Put implements [tokenstore.Store].
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	if len(data) > tokenstore.MaxData+1024 { // Seal adds a little
		return fmt.Errorf("sqlitestore: a value of %d bytes is too large", len(data))
	}
	return s.write(ctx, "INSERT OR REPLACE INTO value VALUES (?, ?)", key, data)
}

// Delete implements [tokenstore.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.write(ctx, "DELETE FROM value WHERE key = ?", key)
}

// ReadJournal implements [tokenstore.Shared].
func (s *Store) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	return s.read(ctx, "SELECT data FROM journal WHERE key = ?", key)
}

// WriteJournal implements [tokenstore.Shared].
func (s *Store) WriteJournal(ctx context.Context, key string, data []byte) error {
	return s.write(ctx, "INSERT OR REPLACE INTO journal VALUES (?, ?)", key, data)
}

// List implements [tokenstore.Lister].
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	rows, err := s.db.QueryContext(ctx,
		"SELECT key FROM value WHERE substr(key, 1, ?) = ? ORDER BY key", len(prefix), prefix)
	if err != nil {
		return nil, failure(ctx, err)
	}
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, failure(ctx, err)
		}
		keys = append(keys, key)
	}
	return keys, failure(ctx, rows.Err())
}

func (s *Store) read(ctx context.Context, query, key string) ([]byte, error) {
	if err := errors.Join(tokenstore.CheckKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	var data []byte
	err := s.db.QueryRowContext(ctx, query, key).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) { // it was read, and there is none
		return nil, fmt.Errorf("sqlitestore: %w", tokenstore.ErrNotFound)
	}
	if err == nil && data == nil {
		data = []byte{} // the empty value
	}
	return data, failure(ctx, err)
}

func (s *Store) write(ctx context.Context, query, key string, data ...[]byte) error {
	if err := errors.Join(tokenstore.CheckKey(key), ctx.Err()); err != nil {
		return err
	}
	args := []any{key}
	for _, d := range data {
		args = append(args, append([]byte{}, d...)) // nil is the empty value, not NULL
	}
	_, err := s.db.ExecContext(ctx, query, args...)
	return failure(ctx, err)
}

// Lock implements [tokenstore.Shared] with a transaction on a database of the lock's
// own. SQLite ends the transaction of a process that dies.
func (s *Store) Lock(
	ctx context.Context, key string,
) (held context.Context, unlock func() error, err error) {
	if err := tokenstore.CheckKey(key); err != nil {
		return nil, nil, err
	}
	db, err := sql.Open("sqlite", uri(s.dir, key+".lock"))
	if err != nil {
		return nil, nil, err
	}
	conn, err := begin(ctx, db)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	held, end := context.WithCancel(context.WithoutCancel(ctx))
	released := false
	return held, func() error {
		end()
		if released {
			return nil
		}
		released = true
		return errors.Join(conn.Close(), db.Close()) // ends the transaction
	}, nil
}

// begin waits for the exclusive transaction. It asks again and again, so that the end
// of ctx is noticed.
func begin(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	for {
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		if _, err = conn.ExecContext(ctx, "BEGIN EXCLUSIVE"); err == nil {
			return conn, nil
		}
		_ = conn.Close()
		var code *sqlite.Error
		if !errors.As(err, &code) || code.Code()&0xff != sqlite3.SQLITE_BUSY {
			return nil, failure(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// failure returns err as the contract of a store wants it: the end of ctx is an error
// that matches ctx.Err(), and any other says that the store cannot be used.
func failure(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("sqlitestore: %w", ctx.Err())
	}
	return fmt.Errorf("%w: %w", tokenstore.ErrUnavailable, err)
}
