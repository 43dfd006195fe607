"""Checks of plain questions and their answers."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any

from oarlock.contract.errors import BadRequestError, ContextWindowExceededError, EmptyReply
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Usage
from oarlock.testing.contract.asking import (
    TOOL,
    TOOL_CALL,
    TOOL_SCHEMA,
    ask,
    call,
    name_of,
    need_function_calling,
    once,
    request,
)
from oarlock.testing.contract.stage import echo, question, received
from oarlock.testing.contract.subject import Scene, require
from oarlock.testing.endpoint import ToolCalls

__all__ = [
    "answers_blank_message",
    "answers_messages",
    "answers_text",
    "answers_tool_messages",
    "long_message",
    "messages_untouched",
    "unicode",
    "usage",
]

_UNICODE = "Grüße aus 東京, здравствуй, مرحبا 🚣"
_LONG = 50_000  # characters, about 12,500 tokens: a long document, but within the window of most models of today


def answers_text(scene: Scene) -> None:
    """It answers a plain text."""
    ask(scene.llm(), question(1))


def answers_messages(scene: Scene) -> None:
    """It answers a conversation of system, user and assistant."""
    ask(scene.llm(), _conversation())


def _conversation() -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "You are a helpful clerk."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello. What may I do for you?"},
        {"role": "user", "content": question(1)},
    ]


def answers_tool_messages(scene: Scene) -> None:
    """It answers a conversation with tool calls (their content is None) and the tools' answers."""
    llm = scene.llm()
    need_function_calling(llm)
    called = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    answered = {"role": "tool", "tool_call_id": TOOL_CALL["id"], "name": TOOL, "content": "A boat floats."}
    ask(llm, [{"role": "user", "content": question(1)}, called, answered])


def answers_blank_message(scene: Scene) -> None:
    """A blank message is answered, or ends in a BadRequestError or an EmptyReply."""
    for text in ("", " \n"):
        with suppress(BadRequestError, EmptyReply):
            once(scene.llm()).complete(request(text))


def messages_untouched(scene: Scene) -> None:
    """The list of messages is as before after a call, also after one with tool calls."""
    llm, messages = scene.llm(), _conversation()
    ask(llm, messages)
    _require_unchanged(llm, messages)
    if scene.subject.takes_url and llm.supports_function_calling():
        llm, _ = scene.behind(ToolCalls([(TOOL, {"word": "boat"})]), echo)
        with suppress(Exception):  # whether tools work is another check's business
            call(llm, messages, tools=[TOOL_SCHEMA], available_functions={TOOL: lambda word: f"{word}: floats"})
        _require_unchanged(llm, messages)


def _require_unchanged(llm: BaseLLM, messages: list[dict[str, Any]]) -> None:
    require(
        messages == _conversation(),
        f"{name_of(llm, 'call')} changed the list of messages that it was given: work on a copy, list(messages).",
    )


def unicode(scene: Scene) -> None:
    """Letters, scripts and emoji of all kinds arrive, and come back, as they are."""
    text = f"{question(1)} {_UNICODE}"
    if not scene.subject.takes_url:
        ask(scene.llm(), text)
        return
    llm, endpoint = scene.behind(_UNICODE)
    answer = ask(llm, text).text
    require(received(endpoint.requests[-1], text), "The question arrived with other letters: send JSON, or UTF-8.")
    require(_UNICODE in answer, f"The endpoint answered {_UNICODE!r} and it returned {answer!r}: read it as UTF-8.")


def long_message(scene: Scene) -> None:
    """50,000 characters arrive whole, or are refused with a ContextWindowExceededError."""
    text = f"{question(1)} ".ljust(_LONG, ".")
    with suppress(ContextWindowExceededError):
        if not scene.subject.takes_url:
            once(scene.llm()).complete(request(text))
            return
        llm, endpoint = scene.behind(echo)
        once(llm).complete(request(text))
        require(
            received(endpoint.requests[-1], text),
            "A question of 50,000 characters arrived cut: send it whole, or raise ContextWindowExceededError.",
        )


def usage(scene: Scene) -> None:
    """The figures of usage are whole numbers, none below zero."""
    spent = scene.llm().complete(request(question(1))).usage
    require(isinstance(spent, Usage), f"Reply.usage is {spent!r}: give a Usage, or leave it out.")
    for field in dataclasses.fields(Usage):
        value = getattr(spent, field.name)
        require(
            isinstance(value, int) and value >= 0,
            f"usage.{field.name} is {value!r}: give a whole number, or leave it out and it is estimated.",
        )
