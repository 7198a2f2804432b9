package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// junk sends requests to a listener until its parent ends it, and prints how
// many were answered. It is a process of its own.
func junk(addr string) {
	var answered atomic.Int64
	until := time.Now().Add(10 * time.Second)
	go func() {
		// It ends with its parent.
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		fmt.Println(answered.Load())
		os.Exit(0)
	}()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			request := fmt.Sprintf("GET /callback?code=junk&state=junk-%d HTTP/1.1\r\nHost: %s\r\n\r\n", i, addr)
			for time.Now().Before(until) {
				conn, err := net.DialTimeout("tcp", addr, time.Second)
				if err != nil {
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				in := bufio.NewReader(conn)
				for time.Now().Before(until) {
					if _, err := conn.Write([]byte(request)); err != nil {
						break
					}
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						break
					}
					_, _ = in.Discard(int(max(resp.ContentLength, 0)))
					answered.Add(1)
					if resp.Close {
						break
					}
				}
				conn.Close()
			}
		})
	}
	wg.Wait()
	fmt.Println(answered.Load())
	os.Exit(0)
}

// floods measures logins while another process sends junk to their listener.
func floods(b *bench) (section, error) {
	s := section{
		title: "8. The listener under a flood",
		about: "A login while another process sends the listener as many requests with a wrong state as it can, on 32 connections. The browser's callback comes after a second of that. " +
			"What is counted is from the callback to the session, beside the same login in peace; both processes share this machine's cores.",
	}
	p, err := startProvider(b.dir, terms{Lifetime: time.Hour})
	if err != nil {
		return s, err
	}
	defer p.Close()
	p.Delay(authserver.Authorize, userTime)
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	var calm, flooded, rate, memory sample
	for range b.pick(7, 2) {
		for _, storm := range []bool{false, true} {
			took, perSecond, kib, err := b.flooded(p, self, storm)
			if err != nil {
				return s, err
			}
			if !storm {
				calm = append(calm, took)
				continue
			}
			flooded, rate, memory = append(flooded, took), append(rate, perSecond), append(memory, kib)
		}
	}
	t := table{head: []string{"", "callback to session, ms", "junk requests answered a second", "heap more, KiB"}}
	t.add("in peace", calm.text(), "–", "–")
	t.add("under a flood", flooded.text(), rate.text(), memory.text())
	s.tables = []table{t}
	added := flooded.median() - calm.median()
	s.reaches = []reach{
		{"8 Delay that a flood adds to a login", "≤ 100 ms", number(added) + " ms", added <= 100, "the flood and the login share " + cores()},
		{"8 Memory under a flood", "bounded (≤ 16 MiB more)", number(memory.at(1)/1024) + " MiB at most", memory.at(1) <= 16*1024, ""},
	}
	return s, nil
}

// flooded measures one login: the ms from the callback to the session, the junk
// requests answered per second, and the KiB of additional heap.
func (b *bench) flooded(p *provider, self string, storm bool) (took, perSecond, kib float64, err error) {
	cfg := p.config(new(tokenstore.Memory))
	visit := cfg.UI.OpenURL
	var cmd *exec.Cmd
	var stop func() float64
	cfg.UI.OpenURL = func(ctx context.Context, ticket string) error {
		if storm {
			at, err := url.Parse(ticket)
			if err != nil {
				return err
			}
			cmd = exec.Command(self, "junk", at.Host)
			in, err := cmd.StdinPipe()
			if err != nil {
				return err
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			if err := cmd.Start(); err != nil {
				return err
			}
			began := time.Now()
			stop = func() float64 {
				in.Close()
				var n float64
				fmt.Fscan(out, &n)
				_ = cmd.Wait()
				return n / time.Since(began).Seconds()
			}
		}
		return visit(ctx, ticket)
	}
	client, err := oauthclient.New(cfg)
	if err != nil {
		return 0, 0, 0, err
	}
	before := heap()
	_, err = client.Login(context.Background(), &oauthclient.LoginOptions{Flow: oauthclient.FlowBrowser})
	ended := time.Now()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if stop != nil {
		perSecond = stop()
	}
	_ = client.Close()
	return ms(ended.Sub(time.Unix(0, p.answered.Load()))), perSecond, max(0, float64(m.HeapAlloc)-before) / 1024, err
}
