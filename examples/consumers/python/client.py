"""An agent that lists the tools of an MCP server now and then, with httpx."""

import os
import pathlib
import time

try:
    import httpx2 as httpx  # with which version 2 of the MCP SDK is made
except ImportError:
    import httpx


class FileToken(httpx.Auth):
    """Sends with each request what the key authorization of a mounted token Secret holds then."""

    def __init__(self, directory):
        self.file = pathlib.Path(directory) / "authorization"

    def auth_flow(self, request):
        request.headers["Authorization"] = self.file.read_text().strip()
        yield request


def main():
    with httpx.Client(auth=FileToken(os.environ["MCP_TOKEN_DIR"]), timeout=30) as client:
        while True:
            answer = client.post(
                os.environ["MCP_SERVER_URL"],
                headers={"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"},
                json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
            )
            answer.raise_for_status()
            time.sleep(float(os.environ["INTERVAL"]))


if __name__ == "__main__":
    main()
