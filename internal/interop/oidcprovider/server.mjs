// The npm package oidc-provider on a free loopback port, with its own login and consent pages.
//
// Argument 1 is a JSON object of options (see Options in oidcprovider.go). On stdout there is one JSON object a line: first
// {"event":"ready","issuer":…}, then one for each answered request and each event that a test counts. None holds a secret.
// On stdin each line is a JSON object that changes options, answered by {"event":"set"}; endAccessTokens is a command: every
// access token issued so far ends, and nothing else, as an administrator may do. When stdin ends, so does the server: a test that
// was killed leaves nothing behind.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Provider, interactionPolicy } from 'oidc-provider';

const options = JSON.parse(process.argv[2] ?? '{}');
const say = (object) => process.stdout.write(`${JSON.stringify(object)}\n`);

const signingKey = (type, params, alg) => ({
  ...generateKeyPairSync(type, params).privateKey.export({ format: 'jwk' }), kid: alg, alg, use: 'sig',
});

// A person who is asked for a kind of sign-in by acr_values signs in again, unless the session is of that kind. The page is the same, and
// there is no second factor behind it: what is written down is the first kind that was asked for.
const kinds = ['urn:example:two-factors'];
const askedFor = (params) => (params.acr_values ?? '').split(' ').filter((acr) => kinds.includes(acr));
const policy = interactionPolicy.base();
policy.get('login').checks.add(new interactionPolicy.Check(
  'acr_values', 'another kind of sign-in is asked for', 'login_required',
  ({ oidc }) => askedFor(oidc.params).length > 0 && !askedFor(oidc.params).includes(oidc.acr),
));

const configuration = {
  clients: options.clients,
  acrValues: kinds,
  interactions: { policy },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'api:read', 'api:write'],
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username'],
    email: ['email', 'email_verified'],
  },
  // Whoever signs in exists: the login page takes any name and password.
  findAccount: (ctx, sub) => ({
    accountId: sub,
    claims: () => ({
      sub, name: `Person ${sub}`, preferred_username: sub, email: `${sub}@example.com`, email_verified: true,
    }),
  }),
  clockTolerance: 0, // 15 seconds otherwise, for which an expired token still works
  cookies: { keys: [randomBytes(32).toString('hex')] },
  jwks: { keys: [signingKey('rsa', { modulusLength: 2048 }, 'RS256'), signingKey('ec', { namedCurve: 'P-256' }, 'ES256')] },
  pkce: { required: () => true },
  rotateRefreshToken: () => true, // for confidential and sender-constrained clients too
  ttl: {
    AccessToken: () => options.accessTokenSeconds,
    IdToken: () => options.idTokenSeconds,
    RefreshToken: () => options.refreshTokenSeconds,
    DeviceCode: 600,
    Interaction: 600,
    Session: 3600,
    Grant: 3600,
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    dPoP: {
      enabled: true,
      nonceSecret: options.requireDPoPNonce ? randomBytes(32) : undefined,
      requireNonce: () => Boolean(options.requireDPoPNonce),
    },
    introspection: { enabled: true },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: Boolean(options.requirePAR) },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, client, oneOf) => oneOf,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({ scope: 'api:read api:write', audience: resource, accessTokenFormat: 'opaque' }),
    },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    userinfo: { enabled: true },
  },
};

const accessTokens = [];
const server = createServer();
server.listen(0, options.host, () => {
  const { address, family, port } = server.address();
  const issuer = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  const provider = new Provider(issuer, configuration);
  const finish = provider.interactionFinished.bind(provider);
  provider.interactionFinished = async (req, res, result, how) => {
    const { params } = await provider.interactionDetails(req, res);
    if (result.login) result.login.acr = askedFor(params)[0];
    return finish(req, res, result, how);
  };

  provider.use(async (ctx, next) => {
    await next();
    say({
      event: 'request',
      route: ctx.oidc?.route ?? ctx.path,
      grant: ctx.oidc?.params?.grant_type,
      status: ctx.status,
      error: ctx.body?.error,
      detail: ctx.body?.error_description,
      dpop: ctx.get('DPoP') !== '' || undefined,
    });
  });
  provider.on('grant.revoked', () => say({ event: 'grant.revoked' }));
  provider.on('refresh_token.consumed', () => say({ event: 'refresh_token.consumed' }));
  provider.on('access_token.saved', (token) => accessTokens.push(token));
  provider.on('server_error', (ctx, err) => console.error(err));

  server.on('request', provider.callback());
  say({ event: 'ready', issuer });
});

const input = createInterface({ input: process.stdin });
input.on('line', async (line) => {
  const { endAccessTokens, ...changed } = JSON.parse(line);
  Object.assign(options, changed);
  if (endAccessTokens) await Promise.all(accessTokens.splice(0).map((token) => token.destroy()));
  say({ event: 'set' });
});
input.on('close', () => process.exit(0));
