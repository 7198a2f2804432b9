package tokenstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
)

// Copy moves the values of src to dst, with their journals, so that a program can
// change its store, or the key of a sealed one, without signing its users out. Each
// value is moved under its locks in both stores, and is deleted in src once it was
// read back from dst: a refresh token that rotates is for one store only. End the
// programs that use src before, or they ask their users to sign in.
//
// A value that dst has already is not replaced, and src keeps its own; Copy moves the
// others and returns an error at the end. If Copy is interrupted, call it again: no
// value is lost, and none is moved twice. For another key in the same directory, use a
// new directory: dst and src must not be the same place.
//
// Both stores must be [Shared], and src a [Lister]; otherwise the error matches
// [errors.ErrUnsupported]. The end of ctx stops Copy between two values.
func Copy(ctx context.Context, dst, src Store) error {
	if samePlace(dst, src) {
		return fmt.Errorf("tokenstore: both stores are %s; choose another directory for the new one", nameOf(dst))
	}
	keys, err := list(ctx, src, "")
	if err != nil {
		return err
	}
	var failed []error
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(failed, err)...)
		}
		if err := move(ctx, dst, src, key); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// samePlace reports whether a value would be moved onto itself, under a lock that is
// taken twice.
func samePlace(a, b Store) bool {
	_, file := a.(*File)
	_, too := b.(*File)
	return file && too && nameOf(a) == nameOf(b) || reflect.TypeOf(a).Comparable() && a == b
}

// move moves the value of one key under both locks.
func move(ctx context.Context, dst, src Store, key string) error {
	from, unlock, err := lock(ctx, src, key)
	if err != nil {
		return err
	}
	defer unlock()
	to, unlock, err := lock(ctx, dst, key)
	if err != nil {
		return err
	}
	defer unlock()

	value, err := src.Get(from, key)
	if errors.Is(err, ErrNotFound) { // another process was first
		return nil
	}
	if err != nil {
		return err
	}
	switch there, err := dst.Get(to, key); {
	case err == nil && !bytes.Equal(there, value):
		return fmt.Errorf("tokenstore: %s has another session already; sign out in one of the stores", nameOf(dst))
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	case err != nil:
		if err := arrive(to, dst, src, key, value); err != nil {
			return err
		}
	}
	if err := settled(src.Delete(from, key)); err != nil {
		return err
	}
	return writeJournal(from, src, key, nil)
}

// arrive puts the journal and then the value into dst, and reads it back. In this
// order an interrupted move leaves no value without its journal.
func arrive(ctx context.Context, dst, src Store, key string, value []byte) error {
	journal, err := readJournal(ctx, src, key)
	if err == nil {
		err = writeJournal(ctx, dst, key, journal)
	} else if errors.Is(err, ErrNotFound) {
		err = nil
	}
	if err != nil {
		return err
	}
	if err := settled(dst.Put(ctx, key, value)); err != nil {
		return err
	}
	back, err := dst.Get(ctx, key)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, value) {
		return fmt.Errorf("tokenstore: %s did not keep a value", nameOf(dst))
	}
	return nil
}

// settled returns err. If a request is still running, it first waits for its end: the
// locks are not released before.
func settled(err error) error {
	var pending *Pending
	if errors.As(err, &pending) {
		<-pending.Done
	}
	return err
}
