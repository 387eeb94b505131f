// npm @modelcontextprotocol/server as a stateless MCP server that asks an authorization server about every token
// (RFC 7662). It prints {event: "listening"} once it serves.
//
// Environment: RESOURCE (its own URL), SCOPE, ISSUER, INTROSPECTION_ENDPOINT, INTROSPECTION_SECRET.
import { createServer } from 'node:http';
import {
  McpServer, OAuthError, OAuthErrorCode, createMcpHandler, getOAuthProtectedResourceMetadataUrl, oauthMetadataResponse, requireBearerAuth,
} from '@modelcontextprotocol/server';
import * as z from 'zod';

const { RESOURCE, SCOPE, ISSUER, INTROSPECTION_ENDPOINT, INTROSPECTION_SECRET } = process.env;
const resource = new URL(RESOURCE);

async function verifyAccessToken(token) {
  const response = await fetch(INTROSPECTION_ENDPOINT, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`mcp-server:${INTROSPECTION_SECRET}`)}` },
    body: new URLSearchParams({ token }),
  });
  if (!response.ok) throw new OAuthError(OAuthErrorCode.ServerError, `introspection answered ${response.status}`);
  const { active, client_id: clientId, scope, exp, aud } = await response.json();
  if (!active) throw new OAuthError(OAuthErrorCode.InvalidToken, 'not active');
  return { token, clientId, scopes: scope.split(' '), expiresAt: exp, resource: new URL(aud) };
}

const mcp = createMcpHandler(() => {
  const server = new McpServer({ name: 'mcp-server', version: '1.0.0' });
  server.registerTool('add', { description: 'Adds two numbers', inputSchema: z.object({ a: z.number(), b: z.number() }) }, async ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  return server;
});
const guard = requireBearerAuth({
  verifier: { verifyAccessToken }, requiredScopes: [SCOPE], expectedResource: resource, resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(resource),
});
const oauthMetadata = await (await fetch(new URL('/.well-known/openid-configuration', ISSUER))).json();

async function answer(request) {
  const metadata = oauthMetadataResponse(request, { oauthMetadata, resourceServerUrl: resource, scopesSupported: [SCOPE] });
  if (metadata) return metadata;
  if (new URL(request.url).pathname !== resource.pathname) return new Response(null, { status: 404 });
  const authInfo = await guard(request);
  return authInfo instanceof Response ? authInfo : mcp.fetch(request, { authInfo });
}

const listener = createServer(async (req, res) => {
  const body = req.method === 'POST' ? req : undefined;
  const response = await answer(new Request(new URL(req.url, resource), { method: req.method, headers: req.headers, body, duplex: 'half' }));
  res.writeHead(response.status, Object.fromEntries(response.headers));
  for await (const chunk of response.body ?? []) res.write(chunk);
  res.end();
});
listener.listen(Number(resource.port), resource.hostname, () => process.stdout.write(`${JSON.stringify({ event: 'listening', issuer: ISSUER })}\n`));
process.on('SIGTERM', () => {
  listener.close(() => process.exit(0));
  listener.closeAllConnections();
});
