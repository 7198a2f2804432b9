package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

const maxCertificates = 4 << 20 // bytes; the bundles of systems have 200 kB

// transport returns the transport that also trusts --ca-file. It is nil without one: the
// SDK then uses its own.
func (s *settings) transport() (*http.Transport, error) {
	if s.CAFile == "" {
		return nil, nil
	}
	// The file decides who the provider is, so nobody else may be able to change it.
	data, err := securefile.ReadTrusted(s.CAFile, maxCertificates)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("the system's certificates: %w", err)
	}
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("--ca-file %s has no certificate in PEM", s.CAFile)
	}
	t := fetch.NewTransport()
	t.TLSClientConfig.RootCAs = roots
	return t, nil
}

// limit gives the rest of the command this much time. 0: it gets no deadline.
func (a *app) limit(cmd *cobra.Command, d time.Duration) error {
	if d < 0 {
		return usage("--timeout must be positive")
	}
	if d > 0 {
		ctx, cancel := context.WithTimeout(cmd.Context(), d)
		context.AfterFunc(ctx, cancel) // the process ends with the command
		a.limited = ctx
		cmd.SetContext(ctx)
	}
	return nil
}
