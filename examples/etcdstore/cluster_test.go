package etcdstore_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// cluster is three nodes of Debian's etcd-server, each in its own process.
type cluster struct {
	nodes     []*exec.Cmd
	endpoints []string
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	etcd := realparts.Need(t, "etcd")[0]
	dir, err := os.MkdirTemp("", "etcd")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const size = 3
	addrs := freeAddrs(t, 2*size)
	var peers []string
	for i := range size {
		peers = append(peers, fmt.Sprintf("n%d=http://%s", i, addrs[size+i]))
	}
	c := &cluster{endpoints: addrs[:size]}
	var logs [size]bytes.Buffer
	for i := range size {
		client, peer := "http://"+addrs[i], "http://"+addrs[size+i]
		node := exec.Command(etcd, "--name", fmt.Sprint("n", i), "--data-dir", filepath.Join(dir, fmt.Sprint(i)),
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(peers, ","), "--initial-cluster-state", "new", "--initial-cluster-token", filepath.Base(dir),
			"--logger", "zap", "--log-level", "error", "--heartbeat-interval", "100", "--election-timeout", "1000")
		if node.Env = []string{}; runtime.GOARCH == "arm64" {
			node.Env = append(node.Env, "ETCD_UNSUPPORTED_ARCH=arm64") // etcd 3.4 requires it
		}
		node.Stdout, node.Stderr = &logs[i], &logs[i]
		require.NoError(t, node.Start())
		c.nodes = append(c.nodes, node)
		t.Cleanup(func() {
			_ = node.Process.Kill()
			_ = node.Wait()
			if t.Failed() {
				t.Logf("node %d:\n%s", i, logs[i].String())
			}
		})
	}
	ready, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = c.client(t).Put(ready, "ready", "")
	require.NoError(t, err, "the cluster does not come up")
	return c
}

func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	addrs := make([]string, n)
	for i := range addrs {
		addrs[i] = fmt.Sprintf("127.0.0.1:%d", realparts.FreePort(t))
	}
	return addrs
}

func connect(endpoints []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 5 * time.Second, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, Logger: zap.NewNop(),
	})
}

// client returns the connection of one machine.
func (c *cluster) client(t *testing.T) *clientv3.Client {
	t.Helper()
	client, err := connect(c.endpoints)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// leader returns the number of the leading node.
func (c *cluster) leader(t *testing.T) int {
	t.Helper()
	client := c.client(t)
	for i, endpoint := range c.endpoints {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		status, err := client.Status(ctx, endpoint)
		cancel()
		if err == nil && status.Leader == status.Header.MemberId {
			return i
		}
	}
	t.Fatal("no node leads")
	return 0
}
