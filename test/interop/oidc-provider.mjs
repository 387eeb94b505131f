// npm oidc-provider as a strict authorization server for one MCP server. It prints one JSON object per
// line: first {event: "listening", issuer}, then what happens, with the secret values that were exchanged,
// so that the test can count requests and look for these values where they must not be.
//
// Environment: RESOURCE (the MCP server's URL), SCOPE, TOKEN_SECONDS, INTROSPECTION_SECRET; ROTATE=false keeps one refresh
// token for the whole grant; CLIENTS=documents takes clients by their metadata document in place of registration; CLIENT is
// the metadata of one that was registered by hand, which may use client_credentials; PROTECTED=true registers only with an
// initial access token, which it prints, gives secrets that expire, and lets clients manage their registration; DPOP=true
// wants a nonce in every proof.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Provider, { errors } from 'oidc-provider';

const { RESOURCE, SCOPE, TOKEN_SECONDS, INTROSPECTION_SECRET, ROTATE, CLIENTS, CLIENT, PROTECTED, DPOP } = process.env;
const documents = CLIENTS === 'documents';
const isProtected = PROTECTED === 'true';
const hour = 3600;
const secretSeconds = 100; // the life of a secret, where they expire

function print(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
}

// expire is a policy of registrations and their updates.
function expire(ctx, client) {
  if (client.client_secret) client.client_secret_expires_at = Math.floor(Date.now() / 1000) + secretSeconds;
}

function configuration() {
  const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  return {
    clients: [{
      client_id: 'mcp-server', // the MCP server asks about tokens; it can do nothing else
      client_secret: INTROSPECTION_SECRET,
      token_endpoint_auth_method: 'client_secret_basic',
      redirect_uris: [],
      response_types: [],
      grant_types: [],
    }, ...(CLIENT ? [{ redirect_uris: [], response_types: [], grant_types: ['client_credentials'], ...JSON.parse(CLIENT) }] : [])],
    cookies: { keys: [randomBytes(32).toString('hex')] },
    jwks: { keys: [{ ...key, use: 'sig', alg: 'RS256' }] },
    // The resource's scope is among them because registration refuses a client whose scope it does not know.
    scopes: ['openid', 'offline_access', SCOPE],
    pkce: { required: () => true },
    rotateRefreshToken: ROTATE !== 'false',
    // The document is fetched from loopback here, which oidc-provider's own dispatcher would refuse.
    fetch: (url, options) => globalThis.fetch(url, { ...options, dispatcher: undefined }),
    ttl: { AuthorizationCode: 60, RefreshToken: hour, Grant: hour, Session: hour, Interaction: hour, AccessToken: Number(TOKEN_SECONDS) },
    features: {
      devInteractions: { enabled: true }, // a login form that takes any name, and a consent form
      introspection: { enabled: true },
      clientIdMetadataDocument: { enabled: documents, ack: 'draft-02' },
      clientCredentials: { enabled: Boolean(CLIENT) },
      dPoP: DPOP === 'true' ? { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true } : { enabled: true },
      registration: {
        enabled: !documents,
        initialAccessToken: isProtected,
        policies: isProtected ? { expire } : undefined,
      },
      registrationManagement: { enabled: isProtected },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // Neither is guessed: a request without resource gets a token that the MCP server does not take.
        defaultResource: () => undefined,
        useGrantedResource: () => false,
        getResourceServerInfo(ctx, resource) {
          if (resource !== RESOURCE) throw new errors.InvalidTarget();
          return { scope: SCOPE, audience: resource, accessTokenTTL: Number(TOKEN_SECONDS), accessTokenFormat: 'opaque' };
        },
      },
    },
  };
}

function observe(provider) {
  provider.on('registration_create.success', (ctx, client) => print('registered', {
    client_id: client.clientId,
    auth_method: client.tokenEndpointAuthMethod,
    secrets: { client_secret: client.clientSecret, registration_access_token: ctx.body.registration_access_token },
  }));
  provider.on('registration_update.success', (ctx, client) => print('updated', {
    client_id: client.clientId, secrets: { registration_access_token: ctx.body.registration_access_token },
  }));
  provider.on('registration_delete.success', (ctx, client) => print('unregistered', { client_id: client.clientId }));
  provider.on('client_credentials.destroyed', () => print('revoked'));
  provider.on('grant.success', (ctx) => {
    const { grant_type, code, code_verifier } = ctx.oidc.params;
    const { access_token, refresh_token, id_token } = ctx.body;
    print('granted', { grant_type, auth_method: ctx.oidc.client.clientAuthMethod, secrets: { access_token, refresh_token, id_token, code, code_verifier } });
  });
  provider.on('grant.revoked', (ctx, id) => print('revoked', { grant: id }));
  for (const name of ['authorization.error', 'grant.error', 'introspection.error', 'registration_create.error', 'registration_delete.error', 'registration_update.error', 'revocation.error', 'server_error']) {
    provider.on(name, (ctx, error) => error.error !== 'use_dpop_nonce' && print('error', { at: name, error: error.error, detail: `${error.message}: ${error.error_description ?? ''} ${error.error_detail ?? ''}` }));
  }
}

const server = createServer();
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration());
  observe(provider);
  server.on('request', provider.callback());
  if (isProtected) print('given', { secrets: { initial_access_token: await new provider.InitialAccessToken({ policies: ['expire'] }).save() } });
  print('listening', {
    issuer, resource: RESOURCE, token_endpoint: `${issuer}/token`, introspection_endpoint: `${issuer}/token/introspection`,
  });
});
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});
