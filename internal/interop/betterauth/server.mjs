// The npm packages better-auth and @better-auth/oauth-provider at a listener that the process is
// given, with everything in memory. The pages for sign-in, consent and the device flow are written
// here, as the packages' users write them.
//
// Argument 1 is a JSON object: "origin", "client", "redirects" (a list), "email" and "password".
// The issuer is the origin with the path /api/auth, as in the packages' own documentation.

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { getAuthTables } from 'better-auth/db';
import { toNodeHandler } from 'better-auth/node';
import { jwt } from 'better-auth/plugins';
import { oauthDeviceAuthorization, oauthProvider } from '@better-auth/oauth-provider';

const { origin, client, redirects, email, password } = JSON.parse(process.argv[2]);
const device = 'urn:ietf:params:oauth:grant-type:device_code';
const scopes = ['openid', 'profile', 'email', 'offline_access'];

const options = {
  baseURL: origin,
  secret: randomBytes(32).toString('hex'),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { level: 'warn' },
  plugins: [
    jwt(),
    oauthProvider({
      loginPage: '/login',
      consentPage: '/consent',
      scopes,
      allowDynamicClientRegistration: true,
      allowUnauthenticatedClientRegistration: true,
    }),
    oauthDeviceAuthorization({ verificationUri: '/device', interval: '1s' }),
  ],
};
const tables = Object.values(getAuthTables(options)).map(({ modelName }) => [modelName, []]);
const auth = betterAuth({ ...options, database: memoryAdapter(Object.fromEntries(tables)) });

// call is what the packages' own client does in a page.
const call = async (path, body, cookie, method = 'POST') => {
  const answer = await auth.handler(new Request(`${origin}/api/auth${path}`, {
    method,
    headers: { 'content-type': 'application/json', origin, cookie: cookie ?? '' },
    body: body && JSON.stringify(body),
  }));
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
  return { cookies: answer.headers.getSetCookie(), said: JSON.parse(text || '{}') };
};

const page = (res, title, fields) => res.writeHead(200, { 'content-type': 'text/html' }).end(
  `<!doctype html><title>${title}</title>
<form method="post">${fields}<button type="submit">${title}</button></form>`,
);
const onward = (res, { cookies, said }) => res.writeHead(302, {
  'set-cookie': cookies, location: said.url ?? said.redirect_uri,
}).end();
const signIn = (form, query) => call('/sign-in/email', {
  email: form.get('username'), password: form.get('password'), oauth_query: query,
});
const signInFields = '<input name="username"> <input name="password" type="password">';

const pages = {
  '/login': async (req, res, query, form) => {
    if (!form) return page(res, 'Sign in', signInFields);
    return onward(res, await signIn(form, query));
  },
  '/consent': async (req, res, query, form) => {
    if (!form) return page(res, 'Allow', '<input type="hidden" name="accept" value="yes">');
    const allowed = { accept: true, oauth_query: query };
    return onward(res, await call('/oauth2/consent', allowed, req.headers.cookie));
  },
  '/device': async (req, res, query, form) => {
    if (!form) return page(res, 'Allow', signInFields);
    const userCode = new URLSearchParams(query).get('user_code');
    const { cookies } = await signIn(form);
    const cookie = cookies.map((line) => line.split(';')[0]).join('; ');
    await call(`/device?user_code=${encodeURIComponent(userCode)}`, undefined, cookie, 'GET');
    await call('/device/approve', { userCode }, cookie);
    return res.writeHead(200, { 'content-type': 'text/plain' }).end('You can close this page.');
  },
};

const context = await auth.$context;
await auth.api.signUpEmail({ body: { email, password, name: 'Alice' } });
await context.adapter.create({
  model: 'oauthClient',
  data: {
    clientId: client,
    name: 'Interop',
    applicationType: 'native',
    tokenEndpointAuthMethod: 'none',
    grantTypes: ['authorization_code', 'refresh_token', device],
    responseTypes: ['code'],
    redirectUris: redirects,
    postLogoutRedirectUris: redirects,
    enableEndSession: true,
    requirePKCE: true,
    scopes,
    createdAt: new Date(),
    updatedAt: new Date(),
  },
});

const api = toNodeHandler(auth);
const server = createServer(async (req, res) => {
  const [path, query = ''] = req.url.split('?');
  const show = pages[path];
  if (!show) return api(req, res);
  try {
    let body;
    if (req.method === 'POST') {
      body = '';
      for await (const chunk of req) body += chunk;
    }
    return await show(req, res, query, body === undefined ? body : new URLSearchParams(body));
  } catch (err) {
    console.error(err.message);
    return res.writeHead(400, { 'content-type': 'text/plain' }).end(err.message);
  }
});
server.listen({ fd: 3 });
