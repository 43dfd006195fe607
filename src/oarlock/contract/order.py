"""The order of policies: what cannot work is refused, what is unusual is explained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from oarlock.contract.errors import ConfigurationError

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM
    from oarlock.contract.policy import Policy

__all__ = ["check_order", "ready_kinds", "remarks", "retries"]

# What it means when a ready policy (first) stands outside another (second) against their ranks. They are named by their
# classes' names, since the policies are a layer above this one.
_MEANINGS = {
    ("Cache", "Metrics"): "answers from the cache are not counted.",
    ("Budget", "Cache"): "answers from the cache are checked against the budget too.",
    ("Retry", "Log"): "each attempt is logged as a call.",
    ("Retry", "Metrics"): "attempts are counted, not calls.",
    ("Retry", "Cache"): "each attempt looks into the cache again.",
    ("Retry", "Budget"): "each attempt is checked against the budget, not each call.",
    ("Retry", "Deadline"): "the time is for each attempt by itself, not for the whole call.",
    ("Retry", "Fallback"): "each attempt asks the other LLMs too.",
    ("Fallback", "Log"): "what the other LLMs do is not logged.",
    ("Fallback", "Metrics"): "calls of the other LLMs are not counted.",
    ("Fallback", "Cache"): "answers of the other LLMs are not kept.",
    ("Fallback", "Budget"): "what the other LLMs spend is not counted.",
    ("Fallback", "Deadline"): "the time is for the first LLM only.",
    ("CircuitBreaker", "Cache"): "while the circuit is open, answers from the cache are refused too.",
    (
        "CircuitBreaker",
        "Fallback",
    ): "an answer of another LLM counts as a success of the first, so the circuit stays closed.",
    ("CircuitBreaker", "Retry"): "the circuit sees whole calls instead of attempts, and opens later.",
    ("Concurrency", "Cache"): "answers from the cache take a place, and wait for it, for nothing.",
    ("Concurrency", "Deadline"): "waiting for a place is not covered by the deadline.",
    ("Concurrency", "Fallback"): "a call keeps its place while other LLMs are asked.",
    ("Concurrency", "Retry"): "a call keeps its place while it waits for its next attempt.",
    ("Concurrency", "CircuitBreaker"): "a call waits for a place even while the circuit is open.",
    ("RateLimit", "Cache"): "answers from the cache count against the limit, and wait for it, for nothing.",
    ("RateLimit", "Deadline"): "waiting for the limit is not covered by the deadline.",
    ("RateLimit", "Fallback"): "questions to other LLMs count against this limit too.",
    ("RateLimit", "Retry"): "only the first attempt of a call counts against the limit.",
    ("RateLimit", "CircuitBreaker"): "a call waits for the limit even while the circuit is open.",
}


def check_order(policies: Sequence[Policy]) -> None:
    """Refuse policies, outermost first, that would multiply each other's retries.

    Raises:
        ConfigurationError: a `Retry` outside another one, or outside a `Fallback` to an LLM that retries.
    """
    for outer, inner in itertools.combinations(policies, 2):
        if "Retry" not in ready_kinds(outer):
            continue
        if "Retry" in ready_kinds(inner):
            raise ConfigurationError(
                f"{outer!r} stands outside {inner!r}, and there must be one retry loop only, or attempts would multiply: "
                "leave one of them out."
            )
        retrying = next((llm for llm in _others(inner) if retries(llm)), None)
        if retrying is not None:
            raise ConfigurationError(
                f"{outer!r} stands outside {inner!r}, whose {retrying.model!r} retries too, so attempts would multiply: "
                'put Fallback outside Retry, as order="default" does, or take Retry from that LLM.'
            )


def remarks(policies: Sequence[Policy]) -> list[str]:
    """Say what is unusual in the order of these policies, outermost first."""
    said = [
        f"{first} stands outside {second}: {_MEANINGS[first, second]}"
        for outer, inner in itertools.combinations(policies, 2)
        for first, second in itertools.product(ready_kinds(outer), ready_kinds(inner))
        if (first, second) in _MEANINGS
    ]
    return list(dict.fromkeys(said))


def ready_kinds(policy: object) -> list[str]:
    """Return the names of the ready policies that it is one of."""
    return [cls.__name__ for cls in type(policy).__mro__ if cls.__module__.startswith("oarlock.policies.")]


def _others(policy: object) -> Iterator[BaseLLM]:
    """Yield the LLMs that a policy asks instead, if it is a `Fallback`."""
    if "Fallback" in ready_kinds(policy):
        yield from policy.all_llms()  # type: ignore[attr-defined]


def retries(llm: BaseLLM) -> bool:
    """Return whether an LLM asks again by itself when a call fails."""
    return any("Retry" in ready_kinds(policy) or any(map(retries, _others(policy))) for policy in llm.policies)
