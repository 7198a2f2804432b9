// Package oidc adds OpenID Connect to package oauth: verified ID tokens, the
// userinfo endpoint, and signing out at the provider.
//
// A refused answer matches wire.ErrInvalidResponse. What the userinfo endpoint
// itself reported is a [UserinfoError]. [ErrStepUp] matches neither: the answer
// was good.
package oidc
