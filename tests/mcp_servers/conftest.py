"""Real MCP servers behind HTTP, and the ways to run a crew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mcp_helpers import HttpServer, run_async, run_blocking, serving, small_shop

from oarlock.testing import JwtIssuer


@pytest.fixture(params=[run_blocking, run_async])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def shop() -> Iterator[HttpServer]:
    """A server that keeps sessions."""
    yield from serving(small_shop().streamable_http_app())


@pytest.fixture
def old_shop() -> Iterator[HttpServer]:
    """A server of the older kind."""
    yield from serving(small_shop().sse_app())


@pytest.fixture
def issuer() -> JwtIssuer:
    return JwtIssuer(secret="s")
