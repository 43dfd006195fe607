"""What is here needs the real frameworks, and is skipped where they are not installed: `make interop` runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from interop_helpers import RETRY, TOKEN, Behind

from oarlock import ChatLLM
from oarlock.auth import BearerToken
from oarlock.policies import Deadline
from oarlock.testing import LoopbackEndpoint, require_bearer

QUIET = {  # nothing is to be reported home; each is read when its framework is imported
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TESTING": "true",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "OPENAI_AGENTS_DISABLE_TRACING": "true",
    "OTEL_SDK_DISABLED": "true",
}
FRAMEWORKS = ("crewai", "langchain", "langchain-core", "openai", "openai-agents", "pydantic-ai-slim")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture
def behind() -> Iterator[Behind]:
    """Give LLMs that sign in at an endpoint of these replies, with policies, as users have them."""
    with ExitStack() as stack:

        def make(*replies: Any, token: str = TOKEN, **settings: Any) -> tuple[ChatLLM, LoopbackEndpoint]:
            endpoint = stack.enter_context(LoopbackEndpoint(replies, strict=True, auth=require_bearer(TOKEN)))
            settings.setdefault("policies", (RETRY, Deadline(30)))
            return ChatLLM("gpt-ours", endpoint.url, auth=BearerToken(token), **settings), endpoint

        yield make


def pytest_report_header() -> list[str]:
    """Say which frameworks of which versions are here."""
    return [f"frameworks: {', '.join(f'{name} {found}' for name, found in THERE.items()) or 'none'}"]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


THERE = {name: found for name in FRAMEWORKS if (found := _version(name))}
if THERE.keys() - {"openai"}:  # else most is skipped, and other tests run in this process
    os.environ.update(QUIET)
