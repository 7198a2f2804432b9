package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// requestCmd has the flags of curl for what both can do.
func (a *app) requestCmd() *cobra.Command {
	var method, data string
	var headers []string
	var include bool
	cmd := &cobra.Command{
		Use:   "request URL",
		Short: "Call an API with the session's token",
		Long: `request calls URL with the session's token, adds a proof if the token is bound to
a key (DPoP), and prints the response. After a 401 with invalid_token, it refreshes the session
and sends the request once more.

The token is sent only over https or to this machine. If the login had --origin, it is sent only
to those origins. It never follows a redirect to another origin.

It exits with 1 if the status is 400 or above, and with 4 if the API says which login it wants.
The response is printed nevertheless.`,
		Example: `  nativeoauth request https://api.example.com/me
  nativeoauth request -X POST -H 'Content-Type: application/json' -d @order.json \
    https://api.example.com/orders`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := a.requestBody(data)
			if err != nil {
				return err
			}
			if method == "" {
				method = http.MethodGet
				if cmd.Flags().Changed("data") {
					method = http.MethodPost
				}
			}
			req, err := newAPIRequest(cmd.Context(), method, args[0], headers, body)
			if err != nil {
				return err
			}
			return a.withSession(cmd, func(ctx context.Context, s *oauthclient.Session) error {
				return a.request(req.WithContext(ctx), s, include)
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&method, "request", "X", "", "`method` (default GET, or POST with --data)")
	f.StringArrayVarP(&headers, "header", "H", nil, "`header`, as 'Name: value'; may be repeated")
	f.StringVarP(&data, "data", "d", "",
		"`body`; @FILE reads it from a file, @- from standard input")
	f.BoolVarP(&include, "include", "i", false, "also print the status line and the headers")
	return cmd
}

const maxRequestBody = 64 << 20 // bytes; it is held in memory

// requestBody reads the whole body, so that it can be sent again after a refresh.
func (a *app) requestBody(data string) ([]byte, error) {
	name, isFile := strings.CutPrefix(data, "@")
	switch {
	case !isFile:
		return []byte(data), nil
	case name == "-":
		return readAll(a.stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	defer f.Close()
	return readAll(f)
}

// readAll reads a body, which must not be larger than maxRequestBody.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRequestBody+1))
	if err == nil && len(data) > maxRequestBody {
		err = errors.New("it is larger than 64 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	return data, nil
}

// newAPIRequest returns the request without a token. The headers that the token
// depends on are refused.
func newAPIRequest(
	ctx context.Context, method, address string, headers []string, body []byte,
) (*http.Request, error) {
	var r io.Reader
	if len(body) > 0 {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, r)
	if err != nil {
		return nil, usage("the request is malformed: check --request and the URL")
	}
	req.Header.Set("User-Agent", "nativeoauth/"+version())
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
		switch {
		case !ok || name == "":
			return nil, usage("--header %q is not 'Name: value'", h)
		case name == "Authorization" || name == "Dpop": // the token or its proof
			return nil, usage("--header %s is set from the session", name)
		case name == "Host": // the origin that was checked would not be the one that is called
			return nil, usage("--header Host would send the token under another name; " +
				"give the URL of the API")
		}
		req.Header.Add(name, strings.TrimSpace(value))
	}
	return req, nil
}

// request sends req and prints the response.
func (a *app) request(req *http.Request, s *oauthclient.Session, include bool) error {
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out, end := a.stdout, func() error { return nil }
	if a.screen { // a pipe gets the bytes as they are
		shown := &visible{w: out}
		out, end = shown, shown.end
	}
	if include {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s\r\n", resp.Proto, resp.Status)
		_ = resp.Header.Write(&b) // a Builder never fails
		if _, err := io.WriteString(out, b.String()+"\r\n"); err != nil {
			return err
		}
	}
	// The end of the line is written even if the response broke off.
	err = copyAnswer(out, resp.Body)
	if e := end(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		// resp.Status would be the API's own text.
		code := resp.StatusCode
		text := fmt.Sprintf("the API answered %d %s", code, http.StatusText(code))
		// The API may say which login it wants: other scopes, a stronger or newer one.
		if opts, ok := oauthclient.ParseChallenge(resp); ok {
			text += "; signing in again may help: " + a.loginCommand() + stepUpFlags(opts)
			return challengeError{text}
		}
		return errors.New(text)
	}
	return nil
}

// stepUpFlags returns the flags of a login that satisfies a challenge (RFC 6750, RFC
// 9470).
func stepUpFlags(o *oauthclient.LoginOptions) string {
	var b strings.Builder
	for _, s := range o.Scopes {
		b.WriteString(" --add-scope " + quote(s))
	}
	for _, acr := range o.ACRValues {
		b.WriteString(" --acr " + quote(acr))
	}
	if o.MaxAge != 0 {
		b.WriteString(" --max-age " + o.MaxAge.String())
	}
	return b.String()
}

// copyAnswer copies r to w. Its error tells a failure of the API from one of the
// output.
func copyAnswer(w io.Writer, r io.Reader) error {
	// io.Copy does not tell which of the two failed.
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the API's response broke off: %w", err)
		}
	}
}
