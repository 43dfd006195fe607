"""Both colours: every test that takes `ask` runs on the blocking runtime and on an event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from oarlock.contract.reply import ToolCall
from oarlock.runtime.aio import ASYNC
from oarlock.runtime.blocking import BLOCKING
from oarlock.tools import ToolAnswer, run_tool, tools_by_name

Ask = Callable[..., ToolAnswer]


@pytest.fixture(params=["blocking", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Return a function that runs one tool call: `ask(tools, name, arguments)`."""

    def blocking(tools: Any, name: str, arguments: Any = "{}", **settings: Any) -> ToolAnswer:
        return BLOCKING.run(run_tool(BLOCKING, tools_by_name(tools), _call(name, arguments), **settings))

    def on_a_loop(tools: Any, name: str, arguments: Any = "{}", **settings: Any) -> ToolAnswer:
        return asyncio.run(run_tool(ASYNC, tools_by_name(tools), _call(name, arguments), **settings))

    return blocking if request.param == "blocking" else on_a_loop


def _call(name: str, arguments: Any) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments if isinstance(arguments, str) else json.dumps(arguments))
