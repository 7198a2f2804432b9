package oauthclient

import "slices"

// issuer returns the issuer that the program names; "": the resource names it.
func (c *Config) issuer() string {
	if c.Issuer == "" && c.Endpoints != nil {
		return c.Endpoints.Issuer
	}
	return c.Issuer
}

// realm is the issuer that sessions are stored under, or the resource if that names
// the issuer.
func (c *Config) realm() string {
	if issuer := c.issuer(); issuer != "" {
		return issuer
	}
	return "resource " + c.Resources[0]
}

// party is the client that sessions are stored under: its ID, or how it registers.
func (c *Config) party() string {
	if c.ClientID != "" || !c.keeps() {
		return c.ClientID
	}
	name := c.Registration.SoftwareID // what stays the same over versions
	if name == "" {
		name = c.Registration.ClientName
	}
	return "registered " + name
}

// registered reports whether id is a client that registered itself (RFC 7591).
func (c *Config) registered(id string) bool { return c.Registration != nil && id != c.ClientID }

// keeps reports whether a user signs in here, and their session is stored.
func (c *Config) keeps() bool { return c.Workload == nil && c.IdentityProvider == nil }

func (c *Config) openID() bool { return slices.Contains(c.Scopes, "openid") }
