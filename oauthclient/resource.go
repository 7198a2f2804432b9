package oauthclient

import "context"

// learn asks the resource which issuer it trusts (RFC 9728).
func (c *Client) learn(ctx context.Context, resourceMetadata string) (string, error) {
	return "", unsupported("Config.Issuer is needed")
}
