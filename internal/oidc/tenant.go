// Checks tokens of a provider with many tenants under one client (Microsoft
// Entra's "common" and "organizations").
//
// Such a provider publishes an issuer with a placeholder and one key set for
// all tenants. Each token names its own tenant. Unless issuer, tenant and key
// agree, one tenant's administrator could sign in as a user of another tenant.

package oidc

import "strings"

// tenantMark stands for the tenant in the issuer of such a provider.
const tenantMark = "{tenantid}"

func fillIn(template, tenant string) string { return strings.ReplaceAll(template, tenantMark, tenant) }

// mayAnswer reports whether a key that names issuer may have signed payload. A
// key of one tenant signs that tenant's tokens; a key that names the template
// signs every tenant's.
func (want Expected) mayAnswer(payload []byte, issuer string) bool {
	if want.TenantIssuer == "" || issuer == "" {
		return true
	}
	c, err := read(payload)
	return err == nil && c.Issuer == fillIn(issuer, c.tenant)
}

// isUUID accepts the one spelling that Entra uses: 8-4-4-4-12 lower-case
// hexadecimal digits. Any other text in its place could change the issuer's
// path.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdef", rune(s[i])) {
				return false
			}
		}
	}
	return true
}
