package oidc

import "strings"

// tenantMark stands for the tenant in the issuer of a provider for many.
const tenantMark = "{tenantid}"

func fillIn(template, tenant string) string { return strings.ReplaceAll(template, tenantMark, tenant) }

// mayAnswer reports whether a key that says it signs for issuer may have signed payload: a tenant's token, only its own tenant's
// or every tenant's.
func (want Expected) mayAnswer(payload []byte, issuer string) bool {
	if want.TenantIssuer == "" || issuer == "" {
		return true
	}
	c, err := read(payload)
	return err == nil && c.Issuer == fillIn(issuer, c.tenant)
}

// isUUID takes the one spelling that Entra uses: 8-4-4-4-12 lower-case hexadecimal digits.
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
