"""Usage where a model reports none, or none that makes sense."""

from __future__ import annotations

from typing import Any

import pytest

from oarlock.contract.estimates import prompt_tokens, text_tokens, with_usage
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.contract.request import Request


def asked(content: Any, **facts: Any) -> Request:
    return Request(messages=[{"role": "user", "content": content}], **facts)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("x" * 40, 10), ("ä" * 40, 20), ("漢" * 40, 30), ("\ud800" * 4, 3)]
)
def test_other_scripts_have_more_tokens(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens
    assert prompt_tokens(asked(text)) == tokens


def test_all_that_is_read_counts() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:" + "x" * 100_000}}
    assert prompt_tokens(asked([{"type": "text", "text": "x" * 40}, picture, "y" * 40])) == 785
    assert prompt_tokens(asked(None)) == prompt_tokens(asked(7)) == 0
    assert prompt_tokens(asked("Hi", tools=[{"name": "x" * 400}])) > 100
    call = ToolCall(id="1", name="f", arguments="x" * 400)
    message: Any = Reply(tool_calls=(call,)).as_message()
    assert prompt_tokens(Request(messages=[message])) > 100


def test_what_is_reported_stays() -> None:
    usage = Usage(prompt_tokens=3, completion_tokens=1, cached_prompt_tokens=2, requests=2)
    reply = Reply(text="x" * 400, usage=usage)
    assert with_usage(reply, asked("y" * 400)) is reply


@pytest.mark.parametrize(
    ("usage", "read", "written", "estimated"),
    [
        (Usage(), 10, 20, True),
        (Usage(prompt_tokens=3), 3, 20, True),
        (Usage(completion_tokens=4), 10, 4, True),
        (Usage(prompt_tokens=3, completion_tokens=4), 3, 4, False),
        (Usage(prompt_tokens=-3, completion_tokens=-4, requests=-1), 10, 20, True),
    ],
)
def test_what_is_missing_is_estimated_by_itself(usage: Usage, read: int, written: int, estimated: bool) -> None:
    found = with_usage(Reply(text="x" * 80, usage=usage), asked("y" * 40)).usage
    assert (found.prompt_tokens, found.completion_tokens, found.estimated) == (read, written, estimated)
    assert found.requests == 1


def test_an_answer_of_no_tokens_may_be_so() -> None:
    found = with_usage(Reply(text="ok", usage=Usage(prompt_tokens=3)), asked("Hi")).usage
    assert found == Usage(prompt_tokens=3, requests=1)


def test_a_cached_answer_cost_nothing() -> None:
    reply = Reply(text="x" * 400, cached=True)
    assert with_usage(reply, asked("Hi")) is reply
