// An agent that lists the tools of an MCP server now and then, with the official TypeScript SDK.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const { MCP_SERVER_URL, MCP_TOKEN_DIR, INTERVAL } = process.env;

// fetchWithToken sends with each request what the key authorization of a mounted token Secret holds then.
async function fetchWithToken(url, init = {}) {
  const headers = new Headers(init.headers);
  headers.set('Authorization', (await readFile(join(MCP_TOKEN_DIR, 'authorization'), 'utf8')).trim());
  return fetch(url, { ...init, headers });
}

const client = new Client({ name: 'agent', version: '1.0.0' });
await client.connect(new StreamableHTTPClientTransport(new URL(MCP_SERVER_URL), { fetch: fetchWithToken }));
for (;;) {
  await client.listTools();
  await sleep(Number(INTERVAL));
}
