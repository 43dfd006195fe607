"""What the tests of the server share."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2

from oarlock.contract.secret import Secret
from oarlock.serve import ApiKey
from oarlock.serve.app import App

KEY = "a-key-that-nobody-guesses"
HELLO = [{"role": "user", "content": "Hello"}]


def key(name: str = "alice", text: str = KEY, policies: Any = ()) -> ApiKey:
    return ApiKey(name, Secret(text), policies)


def body(**fields: Any) -> dict[str, Any]:
    """Return the body of a chat completion."""
    return {"model": "mine", "messages": HELLO, **fields}


def within(app: App, **options: Any) -> httpx2.AsyncClient:
    """Return a client of an application that is not on the network."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=True)
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost", **options)


def send(app: App, method: str = "POST", path: str = "/v1/chat/completions", **options: Any) -> httpx2.Response:
    """Send one request to an application that is not on the network."""

    async def ask() -> httpx2.Response:
        async with within(app) as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


def events(text: str) -> list[Any]:
    """Return the data of a stream's events, parsed where they are JSON."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(item) if item.startswith("{") else item for item in data]
