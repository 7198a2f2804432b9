package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"
)

// bent has a provider deviate from the specifications, as real ones do. The client ID
// says how:
//
//   - "no-nonce": the nonce is dropped, so that the ID token has none.
//   - "tenant": a token request without tenant=acme is refused.
//
// The metadata are at /apart/metadata, too.
func bent(as http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/apart/metadata" {
			r.URL.Path = "/.well-known/openid-configuration"
		}
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			form, _ := url.ParseQuery(string(body))
			if form.Get("client_id") == "no-nonce" {
				form.Del("nonce")
				body = []byte(form.Encode())
				r.ContentLength = int64(len(body))
			}
			if r.URL.Path == "/token" && form.Get("client_id") == "tenant" && form.Get("tenant") != "acme" {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"error":"invalid_request","error_description":"tenant is missing"}`)
				return
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}
		as.ServeHTTP(w, r)
	})
}
