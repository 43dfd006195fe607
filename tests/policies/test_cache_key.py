"""Which questions are the same: whatever changes the answer changes the key, and nothing else does."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock import BaseLLM, ChatLLM
from oarlock.auth import BearerToken
from oarlock.contract.request import DeltaSink, Request
from oarlock.policies import Retry
from oarlock.policies.cache_key import key_of
from oarlock.testing import ScriptedLLM

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=5), json_values, max_size=4)
surrogates = st.text(st.characters(exclude_categories=()), max_size=8)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": surrogates | st.lists(objects)}),
    max_size=3,
)
requests = st.builds(
    dict,
    messages=messages,
    tools=st.lists(objects, max_size=2),
    stop=st.lists(surrogates, max_size=2).map(tuple),
    temperature=st.none() | st.floats(0, 2),
    max_tokens=st.none() | st.integers(1, 1000),
    json_schema=st.none() | objects,
    options=st.none() | objects,
)


def shuffled(value: Any, dice: random.Random) -> Any:
    """Return equal JSON with the keys of its objects in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(one, dice)) for key, one in value.items()]
        dice.shuffle(items)
        return MappingProxyType(dict(items)) if dice.random() < 0.2 else dict(items)
    return [shuffled(one, dice) for one in value] if isinstance(value, list) else value


LLM = ScriptedLLM([])


@settings(max_examples=50)
@given(requests, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(facts: dict[str, Any], dice: random.Random) -> None:
    twin = {name: shuffled(value, dice) for name, value in facts.items()}
    first = key_of(LLM, Request(**facts))
    assert first is not None
    assert first == key_of(LLM, Request(**twin))


@settings(max_examples=50)
@given(requests, requests)
def test_what_differs_has_another_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name in one:
        changed = {**one, name: other[name]}
        if repr(_plain(changed)) != repr(_plain(one)):
            assert key_of(LLM, Request(**changed)) != key_of(LLM, Request(**one)), name


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(value[name]) for name in sorted(value)}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(
    ("one", "other"), [("\ud800", "?"), ("\ud83d\ude00", "\U0001f600"), ("1", 1), (1, 1.0), (None, "")]
)
def test_what_looks_alike_has_another_key(one: Any, other: Any) -> None:
    first, second = (key_of(LLM, Request(messages=[{"role": "user", "content": text}])) for text in (one, other))
    assert None not in (first, second)
    assert first != second


def test_every_field_is_in_the_key_or_known_not_to_matter() -> None:
    """A new field of `Request` belongs into one list or the other."""
    counted = {"messages", "tools", "stop", "temperature", "max_tokens", "json_schema", "extras", "options"}
    counted |= {"headers"}
    apart = {"available_functions"}  # then nothing is kept, where the LLM runs them itself
    no_matter = {"callbacks", "deadline", "timeout", "attempt", "idempotency_key", "retried", "deltas", "observers"}
    no_matter |= {"charges", "places"}
    fields = {field.name for field in dataclasses.fields(Request)}
    assert fields - counted - apart - no_matter == set()


def test_how_it_is_asked_does_not_matter() -> None:
    plain = Request(messages=[])
    asked = plain.replace(deadline=5.0, timeout=1.0, attempt=2, idempotency_key="k", retried=True, deltas=DeltaSink())
    assert key_of(LLM, plain) == key_of(LLM, asked)


def test_header_fields_matter_but_for_those_of_traces() -> None:
    plain, blue = Request(messages=[]), Request(messages=[], headers=(("X-Team", "blue"),))
    assert key_of(LLM, blue) != key_of(LLM, plain)
    trace = (("Traceparent", "00-1-2-01"), ("X-B3-SpanId", "2"), ("b3", "1-2"))
    assert key_of(LLM, plain.replace(headers=trace)) == key_of(LLM, plain)
    assert key_of(LLM, blue.replace(headers=(*trace, *blue.headers))) == key_of(LLM, blue)


def test_who_asks_does_not_matter_and_other_extras_do() -> None:
    plain = Request(messages=[])
    assert key_of(LLM, plain) == key_of(LLM, plain.replace(extras={"from_task": object(), "from_agent": object()}))
    assert key_of(LLM, plain) != key_of(LLM, plain.replace(extras={"mode": "fast"}))
    assert key_of(LLM, plain.replace(extras={"mode": object()})) is None


def chat(**changes: Any) -> ChatLLM:
    facts: dict[str, Any] = {"model": "m", "base_url": "https://llm.example.com/v1", **changes}
    return ChatLLM(**facts)


QUESTION = Request(messages=[{"role": "user", "content": "Hi"}])


@pytest.mark.parametrize(
    "change",
    [
        {"model": "m2"},
        {"base_url": "https://llm.example.com/v2"},
        {"temperature": 0.5},
        {"max_tokens": 10},
        {"stop": "END"},
        {"options": {"top_p": 0.1}},
        {"headers": {"x-team": "a"}},
    ],
)
def test_settings_of_the_llm_are_part_of_it(change: dict[str, Any]) -> None:
    assert key_of(chat(), QUESTION) != key_of(chat(**change), QUESTION)


@pytest.mark.parametrize(
    "change", [{"auth": BearerToken("secret")}, {"timeout": 5}, {"policies": ()}, {"context_window": 100}]
)
def test_sign_in_and_handling_are_not(change: dict[str, Any]) -> None:
    assert key_of(chat(), QUESTION) == key_of(chat(**change), QUESTION)


def test_policies_around_it_are_not() -> None:
    assert key_of(chat(), QUESTION) == key_of(chat().with_policies(Retry()), QUESTION)


def test_another_class_is_another_llm() -> None:
    class Mine(ChatLLM):
        pass

    assert key_of(chat(), QUESTION) != key_of(Mine("m", "https://llm.example.com/v1"), QUESTION)


def test_settings_may_change_between_calls() -> None:
    llm = chat()
    before = key_of(llm, QUESTION)
    llm.temperature = 1.0
    assert key_of(llm, QUESTION) != before


def test_a_password_in_a_url_is_left_out() -> None:
    class Mine(BaseLLM):
        def call(self, messages: Any) -> str:
            return "ok"

    one, other = (Mine(base_url=f"https://user:{word}@example.com/x?y=1") for word in ("a", "b"))
    assert key_of(one, QUESTION) == key_of(other, QUESTION)
    assert key_of(one, QUESTION) != key_of(Mine(base_url="https://example.org/x?y=1"), QUESTION)


def deep() -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return value


def circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("content", [deep(), circle(), b"bytes", object(), {1: "a", "b": 2}, {(1, 2): 3}])
def test_what_cannot_be_compared_has_no_key(content: Any) -> None:
    assert key_of(LLM, Request(messages=[{"role": "user", "content": content}])) is None


@pytest.mark.parametrize(("door", "takes"), [("call", True), ("acall", True), ("complete", True), ("bare", False)])
def test_functions_that_the_llm_may_run_itself(door: str, takes: bool) -> None:
    class Call(BaseLLM):
        def call(self, messages: Any, available_functions: Any = None) -> str:
            return "ok"

    class ACall(BaseLLM):
        async def acall(self, messages: Any, **rest: Any) -> str:
            return "ok"

    class Complete(BaseLLM):
        def complete(self, request: Request) -> Any:
            return "ok"

    class Bare(BaseLLM):
        def call(self, messages: Any, tools: Any = None) -> str:
            return "ok"

    llm = {"call": Call, "acall": ACall, "complete": Complete, "bare": Bare}[door]()
    asked = QUESTION.replace(available_functions={"f": print})
    assert key_of(llm, QUESTION) is not None
    assert (key_of(llm, asked) is None) is takes
    assert key_of(chat(), asked) is not None
