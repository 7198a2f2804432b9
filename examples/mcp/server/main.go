// Server is the notes server on a loopback port, with its own authorization server, for the example to sign in to.
//
//	go run ./server [-dpop] [-user alice]
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nativeoauth/nativeoauth/examples/mcp/notes"
	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

func main() {
	dpop := flag.Bool("dpop", false, "take no bearer tokens (RFC 9449)")
	user := flag.String("user", "", "who signs in and agrees without a page; nobody: a person does, on a page")
	flag.Parse()
	if err := serve(*dpop, *user); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func serve(dpop bool, user string) error {
	issuer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	auth, err := authserver.New(authserver.Config{Issuer: "http://" + issuer.Addr().String(), OpenRegistration: true, AutoUser: user})
	if err != nil {
		return err
	}
	address := "http://" + listener.Addr().String() + "/mcp"
	mux := http.NewServeMux()
	mux.Handle("/mcp", notes.Handler(auth, address, dpop))
	metadata, err := authserver.ResourceMetadataPath(address)
	if err != nil {
		return err
	}
	mux.Handle(metadata, auth.ResourceMetadata(authserver.Resource{URL: address, Scope: notes.Read, RequireDPoP: dpop}))
	fmt.Println(address)
	failed := make(chan error, 2)
	for l, h := range map[net.Listener]http.Handler{issuer: auth, listener: mux} {
		server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		go func() { failed <- server.Serve(l) }()
	}
	return <-failed
}
