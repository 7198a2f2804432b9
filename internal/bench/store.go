package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// keeping is something that stores values and reads them.
type keeping struct {
	name string
	ours bool
	put  func([]byte) error
	get  func() ([]byte, error)
}

// stores measures the cost of storing a session.
func stores(b *bench) (section, error) {
	ctx := context.Background()
	s := section{
		title: "6. The store",
		about: "One value put and read, in ms: durable on return. The bare file is written, fsynced and renamed, with the directory fsynced: what a careful program does by hand, unsealed. " +
			"The bare keyring is go-keyring alone.",
	}
	session, end, ok := desktop()
	defer end()
	measure := func() error {
		dir, _, key, err := sealedDir(b.dir)
		if err != nil {
			return err
		}
		file := tokenstore.NewFile(dir, key)
		plain := filepath.Join(b.dir, "plain")
		places := []keeping{
			{"this SDK, sealed file", true, func(v []byte) error { return file.Put(ctx, "k", v) }, func() ([]byte, error) { return file.Get(ctx, "k") }},
			{"a bare file, fsynced", false, func(v []byte) error { return writeSynced(plain, v) }, func() ([]byte, error) { return os.ReadFile(plain) }},
		}
		if ok {
			ring := &tokenstore.Keyring{}
			places = append(places,
				keeping{"this SDK, Secret Service", true, func(v []byte) error { return ring.Put(ctx, "k", v) }, func() ([]byte, error) { return ring.Get(ctx, "k") }},
				keeping{"bare go-keyring", false, func(v []byte) error { return keyring.Set("bench", "k", base64.StdEncoding.EncodeToString(v)) }, func() ([]byte, error) {
					text, err := keyring.Get("bench", "k")
					if err != nil {
						return nil, err
					}
					return base64.StdEncoding.DecodeString(text)
				}})
		}
		sizes := []int{1, 4, 10, 100}
		t := table{head: []string{"Put / Get, ms"}}
		pl := plot{file: "bench-store.svg", title: "Put, durable (logarithmic)", unit: "ms"}
		for _, kb := range sizes {
			t.head = append(t.head, fmt.Sprintf("%d KB", kb))
			pl.xs = append(pl.xs, fmt.Sprintf("%d KB", kb))
		}
		puts, gets := make([][]sample, len(places)), make([][]sample, len(places))
		for i := range places {
			puts[i], gets[i] = make([]sample, len(sizes)), make([]sample, len(sizes))
		}
		for range b.pick(25, 3) {
			for j, kb := range sizes {
				value := bytes.Repeat([]byte("x"), kb<<10)
				for i, p := range places {
					began := time.Now()
					if err := p.put(value); err != nil {
						return fmt.Errorf("%s: %w", p.name, err)
					}
					puts[i][j] = append(puts[i][j], ms(time.Since(began)))
					began = time.Now()
					got, err := p.get()
					gets[i][j] = append(gets[i][j], ms(time.Since(began)))
					if err != nil || !bytes.Equal(got, value) {
						return fmt.Errorf("%s: read %d bytes of %d: %v", p.name, len(got), len(value), err)
					}
				}
			}
		}
		for i, p := range places {
			row := []string{p.name}
			l := line{name: p.name, ours: p.ours}
			for j := range sizes {
				row = append(row, number(puts[i][j].median())+" / "+number(gets[i][j].median()))
				l.values = append(l.values, puts[i][j].median())
			}
			t.add(row...)
			pl.lines = append(pl.lines, l)
			if p.ours {
				one, hundred := puts[i][0].median()+gets[i][0].median(), puts[i][3].median()+gets[i][3].median()
				s.reaches = append(s.reaches, reach{"6 Put and Get, growth from 1 to 100 KB (" + p.name + ")", "linear (≤ 100 ×) or better", number(hundred/one) + " ×", hundred/one <= 100, ""})
			}
		}
		s.tables, s.plots = append(s.tables, t), append(s.plots, pl)

		accounts := table{head: []string{"Accounts, sealed file", "list all, ms", "load one, ms", "heap of the list, KiB"}}
		growth := plot{file: "bench-accounts.svg", title: "Accounts: list all, load one (logarithmic)", unit: "ms", lines: []line{{name: "list all", ours: true}, {name: "load one", ours: true}}}
		many := tokenstore.NewFile(dir+"-accounts", key)
		const issuer = "https://login.example.com"
		stored := 0
		for _, n := range []int{1, 100, 1000} {
			if err := fill(ctx, many, issuer, stored, n-stored, time.Hour); err != nil {
				return err
			}
			stored = n
			var list, load sample
			var kib float64
			for range b.pick(9, 2) {
				client, err := oauthclient.New(oauthclient.Config{Issuer: issuer, ClientID: clientID, Store: many})
				if err != nil {
					return err
				}
				before := heap()
				began := time.Now()
				all, err := client.Accounts(ctx)
				list = append(list, ms(time.Since(began)))
				if err != nil || len(all) != n {
					return fmt.Errorf("%d accounts of %d: %v", len(all), n, err)
				}
				kib = (heap() - before) / 1024
				began = time.Now()
				_, err = client.Session(ctx, fmt.Sprintf("account-%d", n/2))
				load = append(load, ms(time.Since(began)))
				if err != nil {
					return err
				}
				if len(all) > 0 && all[0].Name == "" {
					return fmt.Errorf("an account without a name")
				}
				client.Close()
			}
			accounts.add(fmt.Sprint(n), list.text(), load.text(), number(max(kib, 0)))
			growth.xs = append(growth.xs, fmt.Sprint(n))
			growth.lines[0].values, growth.lines[1].values = append(growth.lines[0].values, list.median()), append(growth.lines[1].values, load.median())
		}
		ratio := growth.lines[0].values[2] / growth.lines[0].values[1]
		s.reaches = append(s.reaches,
			reach{"6 Listing, growth from 100 to 1,000 accounts", "linear (≤ 10 ×) or better", number(ratio) + " ×", ratio <= 10, fmt.Sprintf("%s ms an account at 100, %s at 1,000", number(growth.lines[0].values[1]/100), number(growth.lines[0].values[2]/1000))},
			reach{"6 Listing 1,000 accounts, sealed file", "≤ 50 ms", number(growth.lines[0].values[2]) + " ms", growth.lines[0].values[2] <= 50, "a file is opened and checked for each account"})
		s.tables, s.plots = append(s.tables, accounts), append(s.plots, growth)
		return nil
	}
	var err error
	if ok {
		err = inSession(session, measure)
	} else {
		s.notes = append(s.notes, "There was no gnome-keyring on this machine, so the Secret Service was not measured.")
		err = measure()
	}
	return s, err
}

// writeSynced is a durable write without a library.
func writeSynced(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "plain-")
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
