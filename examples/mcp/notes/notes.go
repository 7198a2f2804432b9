// Package notes is an MCP server that asks for a sign-in: two tools, one of which needs more than the first sign-in gave. Its authorization server is
// the repository's own, which lives in memory.
package notes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// The scopes of the two tools.
const (
	Read  = "notes:read"
	Write = "notes:write"
)

// Handler is the server at address, the URL of its MCP endpoint, whose tokens auth issues.
func Handler(auth *authserver.Server, address string, dpop bool) http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "notes", Version: "1"}, nil)
	said := func(format string, a ...any) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, a...)}}}, nil, nil
	}
	mcp.AddTool(server, &mcp.Tool{Name: "read", Description: "Reads the notes."},
		func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return said("three notes")
		})
	mcp.AddTool(server, &mcp.Tool{Name: "write", Description: "Writes a note. It needs " + Write + "."},
		func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return said("a fourth note")
		})
	stream := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	read := auth.Protect(authserver.Resource{URL: address, Scope: Read, RequireDPoP: dpop}, stream)
	write := auth.Protect(authserver.Resource{URL: address, Scope: Read + " " + Write, RequireDPoP: dpop}, stream)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var call struct {
			Method string `json:"method"`
			Params struct {
				Name string `json:"name"`
			} `json:"params"`
		}
		if json.Unmarshal(body, &call) == nil && call.Method == "tools/call" && call.Params.Name == "write" {
			write.ServeHTTP(w, r)
			return
		}
		read.ServeHTTP(w, r)
	})
}
