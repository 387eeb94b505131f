// npm @modelcontextprotocol/sdk as authorization server (mcpAuthRouter) and MCP server in one, as its documentation shows
// it. The router brings the endpoints, the checks of clients and PKCE; the provider below keeps clients, codes and grants.
// It prints what oidc-provider.mjs prints.
//
// Environment: SCOPE, TOKEN_SECONDS.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { InvalidGrantError, InvalidTargetError, InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { getOAuthProtectedResourceMetadataUrl, mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';
import * as z from 'zod';

const { SCOPE, TOKEN_SECONDS } = process.env;
const random = () => randomBytes(32).toString('base64url');

function print(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
}

// Provider keeps everything in memory. Refresh tokens are rotated, and one that comes back ends its grant.
class Provider {
  clients = new Map();

  pending = new Map(); // authorization requests that wait for a person

  codes = new Map();

  access = new Map();

  refresh = new Map();

  constructor(resource) {
    this.resource = resource;
  }

  get clientsStore() {
    return {
      getClient: (id) => this.clients.get(id),
      registerClient: (client) => {
        this.clients.set(client.client_id, client);
        return client;
      },
    };
  }

  checkResource(resource) {
    if (resource?.href !== this.resource.href) throw new InvalidTargetError('resource must name the MCP server');
  }

  async authorize(client, params, res) {
    this.checkResource(params.resource);
    const id = random();
    this.pending.set(id, { client, params });
    res.type('html').send(`<form method="post" action="/approve"><p>Allow access?</p>
      <input type="hidden" name="id" value="${id}"><button>Allow</button></form>`);
  }

  // approve is where the form leads.
  approve(id) {
    const { client, params } = this.pending.get(id);
    this.pending.delete(id);
    const code = random();
    this.codes.set(code, { clientId: client.client_id, params });
    const back = new URL(params.redirectUri);
    back.searchParams.set('code', code);
    if (params.state) back.searchParams.set('state', params.state);
    return back.href;
  }

  code(client, code) {
    const found = this.codes.get(code);
    if (found?.clientId !== client.client_id) throw new InvalidGrantError('unknown code');
    return found;
  }

  async challengeForAuthorizationCode(client, code) {
    return this.code(client, code).params.codeChallenge;
  }

  async exchangeAuthorizationCode(client, code, verifier, redirectUri, resource) {
    const { params } = this.code(client, code);
    this.codes.delete(code);
    this.checkResource(resource);
    if (redirectUri !== params.redirectUri) throw new InvalidGrantError('another redirect_uri');
    return this.issue({ clientId: client.client_id, scopes: params.scopes, live: true });
  }

  async exchangeRefreshToken(client, token, scopes, resource) {
    const found = this.refresh.get(token);
    if (found?.grant.clientId !== client.client_id || !found.grant.live) throw new InvalidGrantError('unknown refresh token');
    if (found.used) {
      this.end(found.grant);
      throw new InvalidGrantError('refresh token used twice');
    }
    this.checkResource(resource);
    found.used = true;
    return this.issue(found.grant);
  }

  issue(grant) {
    const tokens = { access_token: random(), token_type: 'bearer', expires_in: Number(TOKEN_SECONDS), scope: grant.scopes.join(' '), refresh_token: random() };
    this.access.set(tokens.access_token, { grant, expiresAt: Math.floor(Date.now() / 1000) + tokens.expires_in });
    this.refresh.set(tokens.refresh_token, { grant, used: false });
    return tokens;
  }

  async verifyAccessToken(token) {
    const found = this.access.get(token);
    if (!found?.grant.live) throw new InvalidTokenError('unknown token');
    return { token, clientId: found.grant.clientId, scopes: found.grant.scopes, expiresAt: found.expiresAt, resource: this.resource };
  }

  async revokeToken(client, { token }) {
    const grant = (this.refresh.get(token) ?? this.access.get(token))?.grant;
    if (grant?.clientId === client.client_id) this.end(grant);
  }

  end(grant) {
    if (grant.live) print('revoked');
    grant.live = false;
  }
}

function authMethod(req) {
  if (req.headers.authorization) return 'client_secret_basic';
  return req.body?.client_secret ? 'client_secret_post' : 'none';
}

// observe prints what the router answers.
function observe(req, res, next) {
  const json = res.json.bind(res);
  res.json = (body) => {
    if (res.statusCode >= 400) print('error', { at: req.originalUrl, error: body.error, detail: body.error_description });
    else if (req.originalUrl === '/register') print('registered', { client_id: body.client_id, auth_method: body.token_endpoint_auth_method, secrets: { client_secret: body.client_secret } });
    else if (req.originalUrl === '/token') {
      const { grant_type, code, code_verifier } = req.body;
      const { access_token, refresh_token } = body;
      print('granted', { grant_type, auth_method: authMethod(req), secrets: { access_token, refresh_token, code, code_verifier } });
    }
    return json(body);
  };
  next();
}

function mcpServer() {
  const server = new McpServer({ name: 'mcp-sdk', version: '1.0.0' });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: { a: z.number(), b: z.number() } }, async ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  return server;
}

// serveMCP answers one request with a server of its own: there are no sessions.
async function serveMCP(req, res) {
  const server = mcpServer();
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  res.on('close', () => {
    transport.close();
    server.close();
  });
  await server.connect(transport);
  await transport.handleRequest(req, res, req.body);
}

const app = express();
const listener = createServer(app);
listener.listen(0, '127.0.0.1', () => {
  const issuerUrl = new URL(`http://127.0.0.1:${listener.address().port}`);
  const resource = new URL('/mcp', issuerUrl);
  const provider = new Provider(resource);
  const guard = requireBearerAuth({
    verifier: provider, requiredScopes: [SCOPE], expectedResource: resource, resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(resource),
  });
  app.post('/mcp', guard, express.json(), serveMCP);
  app.all('/mcp', guard, (req, res) => res.sendStatus(405));
  app.post('/approve', express.urlencoded({ extended: false }), (req, res) => res.redirect(provider.approve(req.body.id)));
  app.use(observe, mcpAuthRouter({ provider, issuerUrl, resourceServerUrl: resource, scopesSupported: [SCOPE] }));
  print('listening', { issuer: issuerUrl.href, resource: resource.href, token_endpoint: new URL('/token', issuerUrl).href });
});
process.on('SIGTERM', () => {
  listener.close(() => process.exit(0));
  listener.closeAllConnections();
});
