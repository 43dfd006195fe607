"""Figures that the answers carried along: the context window, limits, usage, times."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from oarlock.cli.doctor.case import Case
from oarlock.cli.doctor.report import Step, fine, skipped, warning
from oarlock.contract.reply import EndpointLimit
from oarlock.policies.rate_limit_headers import limits_seen

__all__ = ["context_window", "latency", "rate_limits", "usage"]

# What servers call it in an entry of their list: vLLM, OpenRouter, Mistral and LiteLLM, llama.cpp (in "meta"), Groq.
_WINDOW = (
    "max_model_len",
    "context_length",
    "max_context_length",
    "context_window",
    "max_input_tokens",
    "n_ctx",
    "n_ctx_train",
)


def context_window(case: Case) -> Step:
    """Compare the context window that the LLM assumes with what the endpoint says of the model."""
    assumed = case.llm.get_context_window_size()
    if case.http is None:
        return fine(f"It says {assumed:,} tokens.", assumed=assumed)
    told = _told((case.models or {}).get(case.llm.model, {}))
    if told is None:
        return skipped(f"The endpoint does not tell; the LLM assumes {assumed:,} tokens.", assumed=assumed)
    facts: dict[str, Any] = {"assumed": assumed, "told": told}
    if told != assumed:
        case.settings["context_window"] = told
    if told < assumed:
        return warning(
            f"{told:,} tokens, fewer than the {assumed:,} that the LLM assumes: long prompts would be refused.",
            f"Set context_window={told}.",
            **facts,
        )
    if told > assumed:
        return fine(
            f"{told:,} tokens; the LLM uses {assumed:,} of them.", f"Set context_window={told} for all.", **facts
        )
    return fine(f"{told:,} tokens.", **facts)


def _told(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    for place in (entry, meta if isinstance(meta, Mapping) else {}):
        for name in _WINDOW:
            value = place.get(name)
            if type(value) is int and 0 < value < 10**9:
                return value
    return None


def rate_limits(case: Case) -> Step:
    """Read the headers that speak of limits."""
    limits = limits_seen(case.last_headers, time.time())
    if not limits:
        return skipped("The endpoint tells no limits in its headers.")
    facts = [
        {"unit": one.unit, "limit": one.limit, "remaining": one.remaining, "resets_in": one.resets_in} for one in limits
    ]
    said = "; ".join(map(_limit, limits))
    if any(one.remaining == 0 for one in limits):
        return warning(f"Used up: {said}.", "Wait, or ask for more; RateLimit keeps a crew within it.", limits=facts)
    return fine(f"{said}.", limits=facts)


def _limit(one: EndpointLimit) -> str:
    unit = {"any": "of something"}.get(one.unit, one.unit.replace("_", " "))
    left = f"{one.remaining:,.0f} {unit} left" if one.remaining is not None else ""
    most = f"{one.limit:,.0f} {unit} a minute" if one.limit is not None else ""
    resets = f", all again in {one.resets_in:.0f} s" if one.resets_in else ""
    return f"{', '.join(filter(None, (most, left)))}{resets}"


def usage(case: Case) -> Step:
    """See whether answers say what they cost."""
    if case.reply is None:
        return skipped("There is no answer to look at.")
    used = case.reply.usage
    if not used.total_tokens or used.estimated:
        return warning(
            "Answers do not say how many tokens they took.",
            "Budgets and limits by tokens then go by estimates from the length of texts.",
        )
    facts: dict[str, Any] = {"prompt_tokens": used.prompt_tokens, "completion_tokens": used.completion_tokens}
    return fine(f"Reported: {used.prompt_tokens} tokens read, {used.completion_tokens} written.", **facts)


def latency(case: Case) -> Step:
    """Sum up how long questions took."""
    if not case.times:
        return skipped("Nothing was asked.")
    slowest = max(case.times.values())
    facts: dict[str, Any] = {name: round(seconds, 3) for name, seconds in case.times.items()}
    said = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in case.times.items())
    if slowest > case.timeout / 2:
        return warning(
            f"Slow: {said}; these were tiny questions, and the timeout is {case.timeout:g} s.",
            "Raise timeout: real questions take many times longer.",
            **facts,
        )
    return fine(f"{said[:1].upper()}{said[1:]}.", **facts)
