"""Surroundings for the page's blocks: the crewai names, and real endpoints on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from oarlock.compat import as_crewai
from oarlock.testing.endpoint import LoopbackEndpoint


@pytest.fixture(autouse=True)
def crewai_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):  # requests heeds them, even for loopback
        monkeypatch.delenv(name, raising=False)
    with as_crewai(force=True):
        yield


@pytest.fixture
def serve() -> Iterator[Callable[..., LoopbackEndpoint]]:
    """Starts endpoints that end with the test."""
    with ExitStack() as stack:

        def start(*replies: Any, **settings: Any) -> LoopbackEndpoint:
            return stack.enter_context(LoopbackEndpoint(list(replies), **settings))

        yield start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page waits 30 s for an answer: here it is a twentieth of one."""
    import requests

    post = requests.post
    monkeypatch.setattr(requests, "post", lambda *args, **kwargs: post(*args, **{**kwargs, "timeout": 0.05}))
