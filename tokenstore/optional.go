package tokenstore

import (
	"context"
	"errors"
	"fmt"
)

// What a Store may have besides, asked of any Store: a wrapper passes it on with these.

func list(ctx context.Context, s Store, prefix string) ([]string, error) {
	if s, ok := s.(Lister); ok {
		return s.List(ctx, prefix)
	}
	return nil, lacks(s, "list its keys")
}

func lock(ctx context.Context, s Store, key string) (held context.Context, unlock func() error, err error) {
	if s, ok := s.(Locker); ok {
		return s.Lock(ctx, key)
	}
	return nil, nil, lacks(s, "lock")
}

func probe(ctx context.Context, s Store) error {
	if s, ok := s.(Prober); ok {
		return s.Probe(ctx)
	}
	return lacks(s, "be probed")
}

func readRecord(ctx context.Context, s Store, key string) ([]byte, error) {
	if s, ok := s.(Recorder); ok {
		return s.ReadRecord(ctx, key)
	}
	return nil, lacks(s, "keep records")
}

func writeRecord(ctx context.Context, s Store, key string, data []byte) error {
	if s, ok := s.(Recorder); ok {
		return s.WriteRecord(ctx, key, data)
	}
	return lacks(s, "keep records")
}

func lacks(s Store, what string) error {
	return fmt.Errorf("tokenstore: %s cannot %s: %w", nameOf(s), what, errors.ErrUnsupported)
}

// nameOf names a store for a person, and for [Chooser]'s memory.
func nameOf(s Store) string {
	if s, ok := s.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", s)
}
