package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/secret"
	"github.com/nativeoauth/nativeoauth/internal/securefile"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

const maxSecret = 4 << 10

// clientSecret returns what the client authenticates with: nothing, unless a secret comes from a file, from standard input (at login, from where it is
// kept beside the session for later), or from the environment. Never from a flag (S67).
func (a *app) clientSecret(ctx context.Context, s *settings, store tokenstore.Store) (secret.String, error) {
	switch {
	case s.ClientSecretFile == "-":
		if a.command == nil || a.command.Name() != "login" {
			return secret.String{}, usage("--client-secret-file - is for login, which keeps the secret beside the session")
		}
		line, err := bufio.NewReader(io.LimitReader(a.stdin, maxSecret+1)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return secret.String{}, fmt.Errorf("the client secret on standard input: %w", err)
		}
		return readSecret([]byte(line), "standard input")
	case s.ClientSecretFile != "":
		data, err := securefile.ReadGiven(s.ClientSecretFile, maxSecret)
		if err != nil {
			return secret.String{}, fmt.Errorf("--client-secret-file: %w", err)
		}
		return readSecret(data, s.ClientSecretFile)
	case a.env[secretVariable] != "":
		return readSecret([]byte(a.env[secretVariable]), secretVariable)
	case s.ClientSecretStored:
		data, err := store.Get(ctx, secretKey(s))
		if err != nil {
			return secret.String{}, fmt.Errorf("the client secret that a login kept: %w; give it again: nativeoauth login --client-secret-file -", err)
		}
		return readSecret(data, "the store")
	}
	return secret.String{}, nil
}

func readSecret(data []byte, from string) (secret.String, error) {
	text := strings.TrimSpace(string(data))
	if text == "" || len(text) > maxSecret {
		return secret.String{}, fmt.Errorf("the client secret in %s is empty or too long", from)
	}
	return secret.New(text), nil
}

// secretKey is where the client secret is kept in the store of the sessions.
func secretKey(s *settings) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(s.Issuer), s.Issuer, s.ClientID))
	return "client-secret." + hex.EncodeToString(sum[:16])
}
