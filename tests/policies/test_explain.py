"""The stack in words."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest

import oarlock.policies
from oarlock import BaseLLM, ChatLLM
from oarlock.auth import ApiKey
from oarlock.contract import order
from oarlock.contract.errors import ServerError
from oarlock.contract.policy import Handler
from oarlock.policies import CircuitBreaker, Concurrency, Deadline, Fallback, Log, Metrics, RateLimit, Retry
from oarlock.testing import ScriptedLLM

KEY = "sk-canary0123456789abcdef"


def explained(llm: BaseLLM) -> str:
    """Return what `explain()` prints."""
    file = io.StringIO()
    llm.explain(file)
    return file.getvalue()


def flat(llm: BaseLLM) -> str:
    return " ".join(explained(llm).split())


class Mine(BaseLLM):
    def call(self, messages: Any) -> str:
        return "ok"


class Documented:
    """Does something of its own.

    At length.
    """

    def __call__(self, handler: Handler) -> Handler:
        return handler


def plain(handler: Handler) -> Handler:
    return handler


def commented(handler: Handler) -> Handler:
    """Say what it is."""
    return handler


def test_an_llm_without_policies() -> None:
    assert explained(Mine()) == (
        "A call passes, from the outside in:\n"
        "  1. The LLM itself: Mine(model='custom'), answered by its own call().\n"
        "No policies: a failure ends the call at once.\n"
    )


def test_policies_in_place_of_the_usual_ones_are_remarked_on() -> None:
    remark = "There is neither Retry nor Deadline"
    assert remark in flat(ChatLLM("m", "https://llm.example.com/v1", policies=[Log()]))
    assert remark not in flat(ChatLLM("m", "https://llm.example.com/v1"))
    assert remark not in flat(ChatLLM("m", "https://llm.example.com/v1", policies=[Log(), Deadline(5)]))
    assert remark not in flat(Mine().with_policies(Log()))  # its own code may well try again


def test_it_prints_to_the_terminal_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    Mine().explain()
    assert capsys.readouterr().out == explained(Mine())


def test_from_the_outside_in() -> None:
    other = ScriptedLLM([], model="other", supports_function_calling=True)
    llm = Mine().with_policies(Concurrency(8), Fallback(other), Deadline(60), Metrics(), Log(content=True), commented)
    assert explained(llm) == (
        "A call passes, from the outside in:\n"
        "  1. commented: Say what it is.\n"
        "  2. Log: Logs each call, with messages and answers, to 'oarlock.llm'.\n"
        "  3. Metrics: Counts calls, errors, tokens, retries, fallbacks, waits and latencies: get_metrics()\n"
        "     has the figures.\n"
        "  4. Deadline: Gives a call, with all that is inside of here, 60 s and no more.\n"
        "  5. Fallback: When a call has failed for good: after an outage or a limit asks other. Not once a\n"
        "     stream has begun. Each has an even share of the time to the deadline.\n"
        "  6. Concurrency: Lets 8 calls through at the same time; the others wait in the order in which they\n"
        "     came, as long as the deadline allows.\n"
        "  7. The LLM itself: Mine(model='custom'), answered by its own call().\n"
    )


def test_every_ready_policy_has_its_sentence() -> None:
    for name in oarlock.policies.__all__:
        cls = getattr(oarlock.policies, name)
        if hasattr(cls, "rank"):
            assert callable(getattr(cls, "explain", None)), name


def test_policies_of_ones_own() -> None:
    class Named(Documented):
        def explain(self) -> str:
            return "Named says its name itself."

    text = flat(Mine().with_policies(Documented(), plain, Named()))
    assert "3. Named says its name itself." in text
    assert "1. Documented: Does something of its own." in text
    assert "2. plain: a policy of your own, without a docstring." in text
    assert "At length" not in text


def test_the_order_is_the_one_that_holds() -> None:
    text = explained(Mine().with_policies(Deadline(5), Log(), order="given"))
    assert text.index("Deadline") < text.index("Log:")


def test_a_ready_llm_says_where_it_asks_and_how() -> None:
    url = "https://llm.example.com/v1"
    text = flat(ChatLLM("gpt-x", url, auth=ApiKey(KEY), timeout=20))
    assert "1. Deadline: Gives a call, with all that is inside of here, 60 s and no more. 2. Retry:" in text
    assert f"3. The LLM itself: ChatLLM(model='gpt-x', base_url='{url}')" in text
    assert "sign-in: ApiKey(" in text
    assert "an attempt may take 20 s." in text
    assert "no sign-in" in flat(ChatLLM("gpt-x", url))


def test_an_own_call_over_a_ready_llm() -> None:
    class Over(ChatLLM):
        def call(self, messages: Any) -> Any:
            return super().call(messages)

    text = flat(Over("gpt-x", "https://llm.example.com/v1"))
    assert (
        "answered by its own call(). Where that asks through super(), these stand in between: Deadline, Retry." in text
    )
    assert "No policies" in text


def test_a_deadline_shorter_than_an_attempt_is_told() -> None:
    url = "https://llm.example.com/v1"
    assert "shorter than" not in flat(ChatLLM("gpt-x", url, timeout=30, deadline=30))
    short = "Notes: - The deadline of 20 s is shorter than the {} s that an attempt may take."
    assert short.format(30) in flat(ChatLLM("gpt-x", url, timeout=30, deadline=20))
    assert short.format(60) in flat(ChatLLM("gpt-x", url).with_policies(Deadline(20)))


def test_no_secrets() -> None:
    class Leaky(BaseLLM):
        def call(self, messages: Any) -> str:
            return "ok"

        def __repr__(self) -> str:
            return f"Leaky(api_key={KEY!r})"

    class LeakyPolicy(Documented):
        def explain(self) -> str:
            return f"sends {KEY}\x1b[31m"

    url = f"https://llm.example.com/v1?api-key={KEY}"
    for llm in (
        Leaky().with_policies(LeakyPolicy()),
        ChatLLM("m", url, auth=ApiKey(KEY)),
        Mine().with_policies(Fallback(ChatLLM("m", f"{url.partition('?')[0]}?code=canary"))),
    ):
        assert "canary" not in explained(llm)
        assert "\x1b" not in explained(llm)


def test_lines_are_no_longer_than_a_hundred_columns() -> None:
    others = [ScriptedLLM([], model="m" * 30) for _ in range(9)]
    policies = (Log(), Metrics(), Deadline(1), Fallback(*others), Retry(), Concurrency(1), RateLimit(5))
    assert max(map(len, explained(Mine().with_policies(*policies)).splitlines())) <= 100


# What is said on the order.


def remarks(*policies: Any) -> list[str]:
    text = explained(Mine().with_policies(*policies, order="given"))
    _, _, said = text.partition("Notes:\n")
    return [" ".join(one.split()) for one in said.split("   - ")[1:]]


def test_nothing_is_said_on_the_default_order() -> None:
    policies = (Log(), Metrics(), Deadline(1), Fallback(ScriptedLLM([])), Retry(), CircuitBreaker(), Concurrency(1))
    assert remarks(*policies, RateLimit(5)) == []


def test_what_is_unusual_is_explained() -> None:
    assert remarks(RateLimit(5), Retry(), Deadline(1)) == [
        "RateLimit stands outside Retry: only the first attempt of a call counts against the limit.",
        "RateLimit stands outside Deadline: waiting for the limit is not covered by the deadline.",
        "Retry stands outside Deadline: the time is for each attempt by itself, not for the whole call.",
    ]
    assert remarks(Retry(), Metrics()) == ["Retry stands outside Metrics: attempts are counted, not calls."]


def test_each_remark_is_made_once() -> None:
    assert len(remarks(RateLimit(5), RateLimit(6), Retry())) == 1


def test_derived_policies_are_of_their_kind() -> None:
    class MyRetry(Retry):
        pass

    assert remarks(MyRetry(), Log()) == ["Retry stands outside Log: each attempt is logged as a call."]


def test_remarks_are_about_policies_that_exist_and_an_order_against_their_ranks() -> None:
    for outer, inner in order._MEANINGS:
        assert getattr(oarlock.policies, outer).rank > getattr(oarlock.policies, inner).rank, (outer, inner)


def test_explaining_asks_nobody() -> None:
    llm = ScriptedLLM([ServerError("x")])
    explained(llm.with_policies(Retry(), Fallback(ScriptedLLM([], model="b"))))
    assert llm.requests == []


@pytest.mark.parametrize(
    "pair", list(itertools.permutations([Log(), Metrics(), Deadline(1), Retry(), RateLimit(1)], 2))
)
def test_any_order_of_two_can_be_explained(pair: Any) -> None:
    assert explained(Mine().with_policies(*pair, order="given")).startswith("A call passes")
