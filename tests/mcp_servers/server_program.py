"""A real MCP server, as a program: speaks over standard input and output."""

from __future__ import annotations

import os
import sys
import time

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("shop")


@server.tool()
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def fail(why: str) -> str:
    """Fail."""
    raise ValueError(why)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def variable(name: str) -> str:
    """Return a variable of the environment."""
    return os.environ.get(name, "(none)")


@server.tool()
def process() -> int:
    """Return the number of this process."""
    return os.getpid()


@server.tool(annotations=ToolAnnotations(read_only_hint=False, idempotent_hint=True))
def sleep(seconds: float) -> str:
    """Sleep."""
    time.sleep(seconds)
    return "slept"


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
def leave() -> str:
    """End this process."""
    print("the server was told to go", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
def long(characters: int) -> str:
    """Return a long text."""
    return "x" * characters


if __name__ == "__main__":
    server.run("stdio")
