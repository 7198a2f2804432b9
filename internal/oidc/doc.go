// Package oidc adds OpenID Connect to package oauth: verified ID tokens, the
// userinfo endpoint, and signing out at the provider.
package oidc
