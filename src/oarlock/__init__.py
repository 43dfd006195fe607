"""Crews of AI agents on any language model you can reach, with your way of signing in.

The names most programs need are here; they are imported when first used, so that `import oarlock` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.agents.crew import Crew, Process
    from oarlock.agents.outputs import CrewOutput, TaskOutput
    from oarlock.agents.task import Task
    from oarlock.contract.context import current_call
    from oarlock.contract.errors import (
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        CallFailedError,
        ConfigurationError,
        ConnectionFailedError,
        ContextWindowExceededError,
        EmptyReply,
        GuardrailError,
        LLMError,
        LLMTimeoutError,
        OarlockError,
        OutputError,
        PermissionDeniedError,
        QuotaExceededError,
        RateLimitError,
        ReplyTooLarge,
        ResponseFormatError,
        ServerError,
        StepsExhaustedError,
        ToolError,
        TruncatedStream,
    )
    from oarlock.contract.llm import BaseLLM
    from oarlock.contract.reply import Reply, ToolCall, Usage
    from oarlock.contract.request import Request
    from oarlock.llms.chat import ChatLLM
    from oarlock.llms.http import HttpLLM
    from oarlock.llms.local import LocalLLM
    from oarlock.tools import BaseTool, tool

__version__ = "0.1.0"

_ERRORS = (
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "CallFailedError",
    "ConfigurationError",
    "ConnectionFailedError",
    "ContextWindowExceededError",
    "EmptyReply",
    "GuardrailError",
    "LLMError",
    "LLMTimeoutError",
    "OarlockError",
    "OutputError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "ReplyTooLarge",
    "ResponseFormatError",
    "ServerError",
    "StepsExhaustedError",
    "ToolError",
    "TruncatedStream",
)
_HOMES = {
    "Agent": "agents.agent",
    "BaseLLM": "contract.llm",
    "BaseTool": "tools",
    "ChatLLM": "llms.chat",
    "Crew": "agents.crew",
    "CrewOutput": "agents.outputs",
    "HttpLLM": "llms.http",
    "LocalLLM": "llms.local",
    "Process": "agents.crew",
    "Reply": "contract.reply",
    "Request": "contract.request",
    "Task": "agents.task",
    "TaskOutput": "agents.outputs",
    "ToolCall": "contract.reply",
    "Usage": "contract.reply",
    "current_call": "contract.context",
    "tool": "tools",
    **dict.fromkeys(_ERRORS, "contract.errors"),
}

__all__ = [  # noqa: PLE0604  each is a text
    "__version__",
    *_HOMES,
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
