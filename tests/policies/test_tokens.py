"""The estimate of a request's tokens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.reply import Usage
from oarlock.contract.request import Request
from oarlock.policies.tokens import TokenEstimate

CALL = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "' + "x" * 400 + '"}'}}


def request(content: Any = "", **facts: Any) -> Request:
    message = {"role": "user", "content": content, **facts.pop("message", {})}
    return Request(messages=[message], **facts)  # type: ignore[list-item]


def test_four_characters_a_token_and_room_for_the_answer() -> None:
    assert TokenEstimate().of(request("x" * 400)) == 100 + 256


def test_a_short_answer_is_bounded_by_max_tokens() -> None:
    assert TokenEstimate().of(request("x" * 400, max_tokens=10)) == 110
    assert TokenEstimate().of(request("x" * 400, max_tokens=4000)) == 356


@pytest.mark.parametrize("most", [0, -5])
def test_it_is_never_below_one(most: int) -> None:
    assert TokenEstimate().of(request("", max_tokens=most)) == 1


def test_parts_and_pictures() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:..."}}
    parts = [{"type": "text", "text": "x" * 400}, picture, "plain"]
    assert TokenEstimate().of(request(parts, max_tokens=0)) == round((400 + 4 * 765 + 5) / 4)


def test_tool_calls_count() -> None:
    with_call = request(None, message={"tool_calls": [CALL]}, max_tokens=0)
    assert TokenEstimate().of(with_call) > 100


@pytest.mark.parametrize("content", [None, 5, [], {}, [None, 7]])
def test_odd_contents_do_no_harm(content: Any) -> None:
    assert TokenEstimate().of(request(content)) >= 1


def test_it_learns() -> None:
    estimate = TokenEstimate()
    asked = request("x" * 1000)
    for _ in range(100):
        estimate.learn(asked, Usage(prompt_tokens=500, completion_tokens=20))
    assert estimate.of(asked) == pytest.approx(520, rel=0.01)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(),
        Usage(prompt_tokens=500, completion_tokens=20, estimated=True),
        Usage(prompt_tokens=-5, completion_tokens=20),
        Usage(prompt_tokens=5, completion_tokens=-20),
    ],
)
def test_it_does_not_learn_from_guesses_and_garbage(usage: Usage) -> None:
    estimate = TokenEstimate()
    estimate.learn(request("x" * 400), usage)
    assert estimate.of(request("x" * 400)) == 356


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 5000)), max_size=50))
def test_whatever_it_learns_it_stays_sane(history: list[tuple[int, int, int]]) -> None:
    estimate = TokenEstimate()
    for prompt, completion, length in history:
        estimate.learn(request("x" * length), Usage(prompt_tokens=prompt, completion_tokens=completion))
    most = max((completion for _, completion, _ in history), default=0)
    assert 1 <= estimate.of(request("x" * 800)) <= 800 + max(256, most) + 1
    assert estimate.of(request("x" * 800)) >= 100
