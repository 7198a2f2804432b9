package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// metadataFile is a file in which the user describes a provider that publishes
// no metadata, with the names of RFC 8414. Members that are not named here are
// ignored.
type metadataFile struct {
	raw            []byte   // the file as it is
	Issuer         string   `json:"issuer"`
	Authorization  string   `json:"authorization_endpoint"`
	Token          string   `json:"token_endpoint"`
	JWKS           string   `json:"jwks_uri"`
	Userinfo       string   `json:"userinfo_endpoint"`
	Device         string   `json:"device_authorization_endpoint"`
	PAR            string   `json:"pushed_authorization_request_endpoint"`
	Registration   string   `json:"registration_endpoint"`
	Revocation     string   `json:"revocation_endpoint"`
	Introspection  string   `json:"introspection_endpoint"`
	EndSession     string   `json:"end_session_endpoint"`
	Scopes         []string `json:"scopes_supported"`
	AuthMethods    []string `json:"token_endpoint_auth_methods_supported"`
	PKCEMethods    []string `json:"code_challenge_methods_supported"`
	ResponseIssuer bool     `json:"authorization_response_iss_parameter_supported"`
}

// maxMetadataFile is the largest file that is read, in bytes: as much as is
// accepted from a provider.
const maxMetadataFile = 1 << 20

// readMetadata reads the file at path strictly: exact names, the right types.
func readMetadata(path string) (*metadataFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--metadata-file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMetadataFile))
	if err != nil {
		return nil, fmt.Errorf("--metadata-file: %w", err)
	}
	var m metadataFile
	if err := wire.UnmarshalJSON(data, &m); err != nil {
		return nil, fmt.Errorf("--metadata-file %s: %w", path, err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("--metadata-file %s: %w", path, err)
	}
	m.raw = data
	return &m, nil
}

// metadata returns the document of --metadata-file as it is; nil: there is none.
func (s *settings) metadata() ([]byte, error) {
	if s.MetadataFile == "" {
		return nil, nil
	}
	m, err := readMetadata(s.MetadataFile)
	if err != nil {
		return nil, err
	}
	return m.raw, nil
}

// check finds what [oauthclient.New] cannot, because Endpoints cannot express it.
func (m *metadataFile) check() error {
	if m.Issuer == "" {
		return errors.New("it has no issuer")
	}
	if m.PKCEMethods != nil && !slices.Contains(m.PKCEMethods, "S256") {
		return errors.New("code_challenge_methods_supported lacks S256, " +
			"without which nobody can sign in safely")
	}
	return nil
}

// endpoints returns what the user wrote as configuration. The user vouches for
// these servers; nothing that was fetched comes through here (S43).
func (m *metadataFile) endpoints() *oauthclient.Endpoints {
	return &oauthclient.Endpoints{
		Issuer:         m.Issuer,
		Authorization:  m.Authorization,
		Token:          m.Token,
		JWKS:           m.JWKS,
		Userinfo:       m.Userinfo,
		Device:         m.Device,
		PAR:            m.PAR,
		Registration:   m.Registration,
		Revocation:     m.Revocation,
		Introspection:  m.Introspection,
		EndSession:     m.EndSession,
		S256:           slices.Contains(m.PKCEMethods, "S256"),
		ResponseIssuer: m.ResponseIssuer,
		AuthMethods:    m.AuthMethods,
	}
}
