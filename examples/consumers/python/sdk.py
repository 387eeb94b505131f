"""The same with the official Python SDK, which takes an HTTP client of one's own."""

import asyncio
import os

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from client import FileToken, httpx


async def main():
    timeout = httpx.Timeout(30, read=300)  # a stream may be silent for long
    async with httpx.AsyncClient(auth=FileToken(os.environ["MCP_TOKEN_DIR"]), follow_redirects=True, timeout=timeout) as http_client:
        async with streamable_http_client(os.environ["MCP_SERVER_URL"], http_client=http_client) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                print(await session.list_tools())


if __name__ == "__main__":
    asyncio.run(main())
