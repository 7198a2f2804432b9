package grpcauth_test

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/nativeoauth/nativeoauth/examples/streams/grpcauth"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// api is a gRPC server over TLS that accepts the server's tokens.
func api(t *testing.T, server *oauthtest.Server) (target string, tls credentials.TransportCredentials) {
	web := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(web.Close)
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	accepts := server.Protect("", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	check := func(
		ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler,
	) (any, error) {
		sent, _ := metadata.FromIncomingContext(ctx)
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Authorization"] = sent["authorization"]
		w := httptest.NewRecorder()
		if accepts.ServeHTTP(w, r); w.Code != http.StatusOK {
			return nil, status.Error(codes.Unauthenticated, "the API refused the token")
		}
		return next(ctx, req)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&web.TLS.Certificates[0])),
		grpc.UnaryInterceptor(check))
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(s.Stop)
	return ln.Addr().String(), credentials.NewClientTLSFromCert(roots, "example.com")
}

func call(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return err
}

func TestCalls(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	target, tls := api(t, server)
	client, err := oauthclient.New(server.Config())
	require.NoError(t, err)
	defer client.Close()
	session, err := client.Login(t.Context(), nil)
	require.NoError(t, err)
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(tls),
		grpc.WithPerRPCCredentials(grpcauth.New(session)))
	require.NoError(t, err)
	defer conn.Close()

	require.NoError(t, call(t.Context(), conn))

	// The API refuses a token before its time. The program refreshes and calls again.
	server.Expire()
	require.Equal(t, codes.Unauthenticated, status.Code(call(t.Context(), conn)))
	require.NoError(t, session.Refresh(t.Context()))
	require.NoError(t, call(t.Context(), conn))

	require.NoError(t, client.Logout(t.Context(), "", nil))
	err = call(t.Context(), conn)
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.ErrorIs(t, err, oauthclient.ErrSignedOut)
	require.Equal(t, codes.Unauthenticated, status.Code(err))
}

// A call's deadline ends its wait for a provider that hangs.
func TestDeadlineReachesTheRefresh(t *testing.T) {
	t.Parallel()
	var hangs atomic.Bool
	goOn := make(chan struct{})
	server := oauthtest.NewServer(t, &oauthtest.Options{
		TokenLifetime: time.Second, // the least
		Misbehave: func(endpoint string, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if endpoint == "token" && hangs.Load() {
					<-goOn
				}
				next.ServeHTTP(w, r)
			})
		},
	})
	target, tls := api(t, server)
	client, err := oauthclient.New(server.Config())
	require.NoError(t, err)
	defer client.Close()
	defer close(goOn)
	session, err := client.Login(t.Context(), nil)
	require.NoError(t, err)
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(tls),
		grpc.WithPerRPCCredentials(grpcauth.New(session)))
	require.NoError(t, err)
	defer conn.Close()

	hangs.Store(true)
	<-time.After(time.Until(session.Account().Expiry)) // of the access token
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- call(ctx, conn) }()
	select {
	case err := <-done:
		require.Equal(t, codes.DeadlineExceeded, status.Code(err), "%v", err)
	case <-time.After(5 * time.Second): // the SDK itself waits longer for an answer
		t.Error("the call waits for the provider")
	}
}

// No token goes over a connection that others can read.
func TestNeedsTLS(t *testing.T) {
	t.Parallel()
	_, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(grpcauth.New(nil)))
	require.ErrorContains(t, err, "require transport level security")
}
