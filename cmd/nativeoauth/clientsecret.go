package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// In bytes. Longer files are something else, given by mistake.
const (
	maxSecret    = 4 << 10
	maxClientKey = 64 << 10
)

// clientAuth returns the client's authentication. The zero ClientAuth is a public
// client, which has neither key nor secret.
func (a *app) clientAuth(
	ctx context.Context, s *settings, store tokenstore.Store,
) (oauthclient.ClientAuth, error) {
	// A key is stronger than a secret (RFC 9700 §2.5): it is never sent. Both at once
	// would leave open which of them the provider sees.
	if s.ClientKeyFile != "" {
		if s.ClientSecretFile != "" {
			return oauthclient.ClientAuth{}, usage(
				"--client-key and --client-secret-file do not go together; give one of them")
		}
		if s.ClientSecretPost {
			return oauthclient.ClientAuth{}, usage(
				"--client-secret-post is for a client with a secret, not for --client-key")
		}
		key, err := readClientKey(s.ClientKeyFile)
		if err != nil {
			return oauthclient.ClientAuth{}, err
		}
		return oauthclient.PrivateKeyJWT(key, s.ClientKeyID), nil
	}
	secret, err := a.clientSecret(ctx, s, store)
	if err == nil && secret.IsZero() && s.ClientSecretPost {
		err = usage("--client-secret-post needs a secret; give --client-secret-file")
	}
	if err != nil || secret.IsZero() {
		return oauthclient.ClientAuth{}, err
	}
	s.secret = secret // signedIn stores it, if it came from standard input
	if s.ClientSecretPost {
		return oauthclient.ClientSecretPost(secret.Reveal()), nil
	}
	return oauthclient.ClientSecret(secret.Reveal()), nil
}

// clientSecret returns the client secret; zero: there is none. It comes from a
// file, from standard input (at a login, which stores it beside the session), from
// the environment, or from the store. It is never the value of a flag, because
// other users can see those (S67).
func (a *app) clientSecret(
	ctx context.Context, s *settings, store tokenstore.Store,
) (wire.Secret, error) {
	switch {
	case s.ClientSecretFile == "-":
		if !a.runs("login") {
			return wire.Secret{}, usage(
				"--client-secret-file - is for login, which stores the secret beside the session")
		}
		// One line only, so that a user can also type the secret and press Enter.
		line, err := bufio.NewReader(io.LimitReader(a.stdin, maxSecret+1)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return wire.Secret{}, fmt.Errorf("the client secret on standard input: %w", err)
		}
		return readSecret([]byte(line), "the client secret on standard input")
	case s.ClientSecretFile != "":
		return readSecretFile("--client-secret-file", s.ClientSecretFile)
	case a.env[secretVariable] != "":
		return readSecret([]byte(a.env[secretVariable]), secretVariable)
	case s.ClientSecretStored:
		data, err := store.Get(ctx, secretKey(s))
		if err != nil {
			return wire.Secret{}, fmt.Errorf("the client secret that a login stored: %w; "+
				"give it again: nativeoauth login --client-secret-file -", err)
		}
		return readSecret(data, "the client secret that a login stored")
	}
	return wire.Secret{}, nil
}

// readSecretFile reads a secret from a file that is private, or that a service mounts.
// flag is for the error message.
func readSecretFile(flag, path string) (wire.Secret, error) {
	// ReadGiven refuses a file that other users of the machine can read: the secret in it
	// may be known.
	data, err := securefile.ReadGiven(path, maxSecret)
	if err != nil {
		return wire.Secret{}, fmt.Errorf("%s: %w", flag, err)
	}
	return readSecret(data, flag+" "+path)
}

// readSecret removes the white space around a secret. what is for the error
// message, which never has the secret.
func readSecret(data []byte, what string) (wire.Secret, error) {
	text := strings.TrimSpace(string(data))
	if text == "" || len(text) > maxSecret {
		return wire.Secret{}, fmt.Errorf("%s is empty or too long", what)
	}
	return wire.NewSecret(text), nil
}

// readClientKey reads a private key in PEM: PKCS #8, or the older forms for RSA
// and EC. It must not be encrypted.
func readClientKey(path string) (crypto.Signer, error) {
	data, err := securefile.ReadGiven(path, maxClientKey)
	if err != nil {
		return nil, fmt.Errorf("--client-key: %w", err)
	}
	// The first block counts. A certificate in front of the key is a mistake that the
	// message below names.
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("--client-key %s: it is not a PEM file", path)
	}
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		kind := strings.ToLower(wire.SafeText(block.Type, 60))
		return nil, fmt.Errorf("--client-key %s: a %s is not a private key without a passphrase",
			path, kind)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		// The parser's error could quote the key.
		return nil, fmt.Errorf("--client-key %s: the private key cannot be parsed", path)
	}
	return signer, nil
}

// secretKey returns the key of the client secret in the store of the sessions. The
// length of the issuer keeps two pairs of issuer and client from sharing a key.
func secretKey(s *settings) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(s.Issuer), s.Issuer, s.ClientID))
	return "client-secret." + hex.EncodeToString(sum[:16])
}
