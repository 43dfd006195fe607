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

os.environ["CREWAI_DISABLE_TELEMETRY"] = os.environ["OTEL_SDK_DISABLED"] = "true"  # read when CrewAI is imported
os.environ["CREWAI_DISABLE_TRACKING"] = os.environ["CREWAI_TESTING"] = "true"
os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"
os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "true"


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
    names = ("crewai", "langchain", "langchain-core", "openai", "openai-agents", "pydantic-ai-slim")
    there = [f"{name} {found}" for name in names if (found := _version(name))]
    return [f"frameworks: {', '.join(there) or 'none'}"]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
