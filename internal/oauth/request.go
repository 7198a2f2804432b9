// Sends a form to one of an authorization server's endpoints (RFC 6749 §3.2).
//
// Token, revocation, introspection, pushed authorization and device
// authorization endpoints share these rules. A request is not repeated, because
// codes and refresh tokens may be used once (S48). Its secrets are in the body or
// a header and never in a URL, which ends in logs (S55).

package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Request is one form for one endpoint. It does not change once it is made.
type Request struct {
	Endpoint, ClientID string
	Issuer             string // the audience of a client assertion
	Auth               ClientAuth
	// AuthMethods and AuthAlgs are the metadata's lists for this endpoint. nil
	// means that the metadata say nothing (see [ClientAuth.Apply]).
	AuthMethods, AuthAlgs []string
	Form                  url.Values // all but the client's authentication; not changed
	// Again returns the parameters of Form that a second attempt needs anew: an
	// assertion may be accepted once (RFC 7523 §3). nil: there are none.
	Again func(ctx context.Context) (url.Values, error)

	// Prove adds the DPoP proof. nil means that the tokens are bearer tokens.
	// It is called again for the one retry with a nonce (RFC 9449 §8).
	Prove func(ctx context.Context, h http.Header) error
	// Nonce sees the headers of every answer. It reports whether they brought a
	// nonce that is worth a retry. nil means never.
	Nonce func(http.Header) (retry bool)
	// Clock sees the Date of every answer, and dates client assertions. nil is this
	// machine's clock.
	Clock *Clock
}

// Post sends r once (S48), and once more only if the server refuses it for want of
// a DPoP nonce (S86), or for a time in it that is not the server's. A code is not
// sent again for its time: it may have been used. It returns whatever answer arrives, also a redirect or an
// error, for the caller to read.
//
// Errors: a [fetch.Error] from the network; an error that matches
// [errors.ErrUnsupported] if the server does not accept the client's
// authentication; else the request could not be made. Only a fetch.Error can
// mean that something was sent.
func Post(ctx context.Context, c *fetch.Client, r Request) (*fetch.Response, error) {
	return r.send(ctx, c)
}

// send is [Post]. Afterwards r.Form has what the last attempt sent, so that a refusal
// that repeats it is told without it.
func (r *Request) send(ctx context.Context, c *fetch.Client) (*fetch.Response, error) {
	for attempt := 1; ; attempt++ {
		if attempt > 1 && r.Again != nil {
			fresh, err := r.Again(ctx)
			if err != nil {
				return nil, err
			}
			*r = r.with(nil)
			maps.Copy(r.Form, fresh)
		}
		began := time.Now()
		resp, err := r.post(ctx, c)
		if err != nil {
			return nil, err
		}
		fresh := r.Nonce != nil && r.Nonce(resp.Header)
		refused := resp.Status == http.StatusBadRequest || resp.Status == http.StatusUnauthorized
		code := ""
		if refused {
			code = r.Refusal(resp).Code
		}
		untimely := code == "invalid_dpop_proof" && r.Prove != nil || code == "invalid_client" && r.Auth.signs()
		corrected := r.Clock.learn(resp.Header, began, untimely) && untimely &&
			r.Form.Get("grant_type") != "authorization_code"
		again := corrected || code == "use_dpop_nonce" && r.Prove != nil && fresh
		if attempt > 1 || !again {
			return resp, nil
		}
	}
}

// post authenticates and proves r anew and sends it.
func (r Request) post(ctx context.Context, c *fetch.Client) (*fetch.Response, error) {
	form, header := r.with(nil).Form, http.Header{}
	err := r.Auth.Apply(r.ClientID, r.Issuer, r.Endpoint, r.AuthMethods, r.AuthAlgs, form, header, r.Clock.Now())
	if err != nil {
		return nil, err
	}
	req, err := fetch.NewRequest(http.MethodPost, r.Endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json") // GitHub answers with a form otherwise
	if r.Prove != nil {
		if err := r.Prove(ctx, req.Header); err != nil {
			return nil, fmt.Errorf("no DPoP proof: %w", err)
		}
	}
	return c.Do(ctx, req)
}

// getJSON fetches a document that is to be JSON. It returns whatever answer
// arrives, for the caller to read.
func getJSON(ctx context.Context, c *fetch.Client, location string) (*fetch.Response, error) {
	req, err := fetch.NewRequest(http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	return c.Get(ctx, req)
}

// absent reports whether a status says that there is no document. A server that
// is busy does not say that.
func absent(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests
}

// with returns r with a Form of its own that holds the given values too. Empty
// values are left out.
func (r Request) with(values map[string]string) Request {
	r.Form = maps.Clone(r.Form)
	if r.Form == nil {
		r.Form = url.Values{}
	}
	for name, value := range values {
		if value != "" {
			r.Form.Set(name, value)
		}
	}
	return r
}

// decodeJSON decodes an answer that must be JSON. A web server's page is no
// answer.
func decodeJSON(resp *fetch.Response, v any) error {
	if !looksJSON(resp) {
		return errors.New("it is not JSON")
	}
	return wire.UnmarshalJSON(jsonText(resp), v)
}

// isPage reports HTML by its media type: of a page nothing is read.
func isPage(resp *fetch.Response) bool {
	mt := resp.MediaType()
	return mt == "text/html" || mt == "application/xhtml+xml"
}

// looksJSON reports an answer that is JSON by its media type, or an object of
// another type. Careless servers send text/plain, application/octet-stream or
// none at all.
func looksJSON(resp *fetch.Response) bool {
	return resp.IsJSON() || !isPage(resp) && bytes.HasPrefix(jsonText(resp), []byte("{"))
}

// jsonText returns the body without a byte order mark, which a reader of JSON
// may ignore (RFC 8259 §8.1), and without space around it.
func jsonText(resp *fetch.Response) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(resp.Body, []byte("\xef\xbb\xbf")))
}
