package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Import makes a session of t's refresh token, so that users of a program that moves
// here from another library or store need not sign in again. The token must be of
// Config's issuer and client. It is sent once; then its successor is stored. Delete
// the old copy afterwards, because its refresh token may be spent. A program may call
// Import at every start, in many processes.
//
// If account has a session, Import returns that and sends nothing, even if it belongs
// to another user. If the account was signed out, or this token was imported before
// and its session is gone, Import fails with [ErrLoginRequired] and sends nothing.
//
// t.Extra("id_token") is optional. It identifies the user if its signature, iss, aud
// and sub are good; it may have expired. A token of another issuer or client is an
// error that matches [ErrInvalidResponse], and nothing is sent. Without it, an ID
// token that the refresh brings identifies the user. t.Extra("scope") says what was
// granted; without it Config.Scopes are assumed.
//
// ErrLoginRequired also means that the provider refused the token. Every other error
// is passing. If ctx ends after the token was sent, the import goes on in the
// background. Import fails with [errors.ErrUnsupported] if Config names no issuer or
// no ClientID, or with DPoP, to whose key the token cannot be bound.
func (c *Client) Import(ctx context.Context, account string, t *oauth2.Token) (*Session, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.done()
	a, err := c.account(account)
	if err != nil {
		return nil, err
	}
	seed, err := c.seed(account, t)
	if err != nil {
		return nil, err
	}
	stored, err := c.keeper.Importable(ctx, a.Key, seed)
	if stored == nil && err == nil {
		err = c.importSeed(ctx, a, seed, t)
	}
	if err != nil {
		return nil, failure(err)
	}
	if err := loadAccount(ctx, a); err != nil {
		return nil, err
	}
	return c.session(a), nil
}

// seed is the grant of which an import makes a session, with what t says.
func (c *Client) seed(account string, t *oauth2.Token) (*session.Grant, error) {
	switch {
	case !c.cfg.keeps():
		return nil, c.cfg.errNoUser("nothing is imported")
	case t == nil || t.RefreshToken == "":
		return nil, errors.New("the token to import has no refresh token; sign in instead")
	case c.issuer == "" || c.cfg.ClientID == "":
		return nil, unsupported("an import needs Config.Issuer and Config.ClientID: " +
			"a refresh token is sent only to the provider and as the client that it was issued to")
	case c.cfg.DPoP:
		return nil, unsupported("the imported token is not bound to a key, and Config.DPoP is set")
	}
	scopes := c.cfg.Scopes
	if granted, ok := t.Extra("scope").(string); ok && granted != "" {
		scopes = strings.Fields(granted)
	}
	return &session.Grant{
		Realm: c.cfg.realm(), Party: c.cfg.party(), Account: account,
		Issuer: c.issuer, ClientID: c.cfg.ClientID,
		Scopes: slices.Clone(scopes), Resources: c.cfg.Resources,
		RefreshToken: wire.NewSecret(t.RefreshToken),
		Tokens:       []session.Token{{}}, // the refresh brings it
	}, nil
}

// importSeed learns the user and imports. It returns at the end of ctx, and what was
// sent is then seen through in the background.
func (c *Client) importSeed(
	ctx context.Context, a *session.Account, seed *session.Grant, t *oauth2.Token,
) error {
	p, err := c.providers.get(ctx, seed.Issuer)
	if err != nil {
		return err
	}
	if raw, ok := t.Extra("id_token").(string); ok && raw != "" {
		if err := p.identifyImport(ctx, seed, raw); err != nil {
			return err
		}
	}
	done := make(chan error, 1)
	starting, stop := context.WithCancel(ctx)
	unhook := context.AfterFunc(c.prompting, stop)
	c.working.Go(func() {
		defer stop()
		defer unhook()
		whole := a.Slot("", nil)
		g, err := c.keeper.Import(c.life, starting, a.Key, seed,
			func(held context.Context, g *session.Grant) (*session.Grant, error) {
				return c.providers.refresh(held, g, whole)
			})
		if err == nil {
			c.log.Info("a session was imported", "account", a.Name, "issuer", g.Issuer)
		}
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// identifyImport takes the user from raw, the ID token of a login elsewhere, if it
// passes the checks of Expected that an old token can pass. The nonce was that
// login's business. A token that says that it is of another issuer or client proves
// that the refresh token is, too.
func (p *provider) identifyImport(ctx context.Context, seed *session.Grant, raw string) error {
	unchecked, err := oidc.ParseIDToken(raw)
	switch {
	case err != nil:
		return fmt.Errorf("the token to import: %w", err)
	case p.cfg.TenantIssuer == "" && unchecked.Issuer != p.issuer:
		return invalid("the token to import: its ID token is of another issuer")
	case !slices.Contains(unchecked.Audience, seed.ClientID):
		return invalid("the token to import: its ID token is for another client")
	}
	claims, err := p.verifyUnasked(ctx, seed.ClientID, raw, wire.Secret{}, true)
	switch {
	case err == nil:
		seed.IDToken, seed.Subject, seed.Username = wire.NewSecret(raw), claims.Subject, username(claims)
	case errors.Is(err, jose.ErrUnsigned): // the provider's keys have changed since
		p.log.Info("the imported ID token identifies nobody", "err", err)
	default:
		return fmt.Errorf("the token to import: %w", err)
	}
	return nil
}

// identifyRefreshed takes the user from the ID token that an import's refresh
// brought, if the imported token had none.
func (p *provider) identifyRefreshed(
	ctx context.Context, next *session.Grant, resp *oauth.TokenResponse,
) {
	ctx, cancel := context.WithTimeout(ctx, importKeysWait) // the tokens wait to be stored
	defer cancel()
	claims, err := p.verifyUnasked(ctx, next.ClientID, resp.IDToken.Reveal(), resp.AccessToken, false)
	if err != nil {
		p.log.Warn("the session is imported without a user: its ID token was not verified", "err", err)
		return
	}
	next.IDToken, next.Subject, next.Username = resp.IDToken, claims.Subject, username(claims)
}

// importKeysWait bounds the fetch of keys between a refresh and its storing.
const importKeysWait = 5 * time.Second

// verifyUnasked is verifyIDToken for a token that answers no request of this program,
// so that it may have any nonce. old means that it may have expired.
func (p *provider) verifyUnasked(
	ctx context.Context, id, raw string, access wire.Secret, old bool,
) (*oidc.IDToken, error) {
	unchecked, err := oidc.ParseIDToken(raw)
	if err != nil {
		return nil, invalid("ID token: %w", err)
	}
	want := oidc.Expected{Nonce: unchecked.Nonce, AccessToken: access}
	if old && unchecked.IssuedAt.Before(time.Now()) {
		want.Now = unchecked.IssuedAt
	}
	return p.verifyIDToken(ctx, id, raw, want)
}
