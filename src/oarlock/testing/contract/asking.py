"""How checks ask an LLM, and read what it answers."""

from __future__ import annotations

from typing import Any

from oarlock.contract.answers import reply_from
from oarlock.contract.llm import BaseLLM
from oarlock.contract.parameters import accepted
from oarlock.contract.policy import Policy
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies import Retry
from oarlock.testing.contract.subject import NotApplicable

__all__ = [
    "TOOL",
    "TOOL_CALL",
    "TOOL_SCHEMA",
    "ask",
    "ask_async",
    "call",
    "name_of",
    "need_function_calling",
    "once",
    "request",
]

TOOL = "look_up"
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": TOOL, "arguments": '{"word": "boat"}'}}
TOOL_SCHEMA = {
    "type": "function",
    "function": {
        "name": TOOL,
        "description": "Look a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}


def name_of(llm: BaseLLM, method: str) -> str:
    """Return a method in its owner's words, such as `MyLLM.call()`."""
    return f"{type(llm).__name__}.{method}()"


def ask(llm: BaseLLM, messages: Any, **given: Any) -> Reply:
    """Ask through `call()`, which is its owner's code if they wrote one, and read the answer as the library does."""
    return reply_from(call(llm, messages, **given), name_of(llm, "call"))


def call(llm: BaseLLM, messages: Any, **given: Any) -> Any:
    """Call `call()` with those of the arguments that it takes, as the library does."""
    return llm.call(messages, **accepted(llm.call, Request(messages=(), **given)))


async def ask_async(llm: BaseLLM, messages: Any) -> Reply:
    """Ask through `acall()`."""
    return reply_from(await llm.acall(messages), name_of(llm, "acall"))


def request(text: str, **fields: Any) -> Request:
    """Return the request of one question."""
    return Request(messages=[{"role": "user", "content": text}], **fields)


def once(llm: BaseLLM, *policies: Policy) -> BaseLLM:
    """Return the LLM with no retries around it."""
    return llm.with_policies(Retry(attempts=1), *policies)


def need_function_calling(llm: BaseLLM) -> None:
    """Go on if the LLM says that it calls functions.

    Raises:
        NotApplicable: it says that it does not.
    """
    if not llm.supports_function_calling():
        raise NotApplicable("supports_function_calling() is False.")
