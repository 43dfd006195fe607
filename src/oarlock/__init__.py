"""Crews of AI agents on any language model you can reach, with your way of signing in.

The names most programs need are here; they are imported when first used, so that `import oarlock` costs next to nothing.
"""

from __future__ import annotations

from oarlock._lazy import lazy_names

TYPE_CHECKING = False  # true for type checkers; importing `typing` for it would cost more than all the rest

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
        ResponseFormatError,
        ServerError,
        StepsExhaustedError,
        ToolError,
        TruncatedStream,
    )
    from oarlock.contract.errors import ReplyTooLarge as ReplyTooLarge  # still here, though not in __all__
    from oarlock.contract.llm import BaseLLM
    from oarlock.contract.reply import Reply, ToolCall, Usage
    from oarlock.contract.request import Request
    from oarlock.llms.chat import ChatLLM
    from oarlock.llms.http import HttpLLM
    from oarlock.llms.llm import LLM
    from oarlock.llms.local import LocalLLM
    from oarlock.tools import BaseTool, tool

__version__ = "0.1.0"

__all__ = [
    "LLM",
    "Agent",
    "AuthenticationError",
    "BadRequestError",
    "BaseLLM",
    "BaseTool",
    "BudgetExceededError",
    "CallFailedError",
    "ChatLLM",
    "ConfigurationError",
    "ConnectionFailedError",
    "ContextWindowExceededError",
    "Crew",
    "CrewOutput",
    "EmptyReply",
    "GuardrailError",
    "HttpLLM",
    "LLMError",
    "LLMTimeoutError",
    "LocalLLM",
    "OarlockError",
    "OutputError",
    "PermissionDeniedError",
    "Process",
    "QuotaExceededError",
    "RateLimitError",
    "Reply",
    "Request",
    "ResponseFormatError",
    "ServerError",
    "StepsExhaustedError",
    "Task",
    "TaskOutput",
    "ToolCall",
    "ToolError",
    "TruncatedStream",
    "Usage",
    "__version__",
    "current_call",
    "tool",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Agent": "agents.agent",
        "AuthenticationError": "contract.errors",
        "BadRequestError": "contract.errors",
        "BaseLLM": "contract.llm",
        "BaseTool": "tools",
        "BudgetExceededError": "contract.errors",
        "CallFailedError": "contract.errors",
        "ChatLLM": "llms.chat",
        "ConfigurationError": "contract.errors",
        "ConnectionFailedError": "contract.errors",
        "ContextWindowExceededError": "contract.errors",
        "Crew": "agents.crew",
        "CrewOutput": "agents.outputs",
        "EmptyReply": "contract.errors",
        "GuardrailError": "contract.errors",
        "HttpLLM": "llms.http",
        "LLM": "llms.llm",
        "LLMError": "contract.errors",
        "LLMTimeoutError": "contract.errors",
        "LocalLLM": "llms.local",
        "OarlockError": "contract.errors",
        "OutputError": "contract.errors",
        "PermissionDeniedError": "contract.errors",
        "Process": "agents.crew",
        "QuotaExceededError": "contract.errors",
        "RateLimitError": "contract.errors",
        "Reply": "contract.reply",
        "ReplyTooLarge": "contract.errors",
        "Request": "contract.request",
        "ResponseFormatError": "contract.errors",
        "ServerError": "contract.errors",
        "StepsExhaustedError": "contract.errors",
        "Task": "agents.task",
        "TaskOutput": "agents.outputs",
        "ToolCall": "contract.reply",
        "ToolError": "contract.errors",
        "TruncatedStream": "contract.errors",
        "Usage": "contract.reply",
        "current_call": "contract.context",
        "tool": "tools",
    },
)
