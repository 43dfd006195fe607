"""Estimates of tokens, for limits that must be kept before the real figures are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oarlock.contract.reply import Usage
from oarlock.contract.request import Request

__all__ = ["TokenEstimate", "characters"]

_CHARACTERS_PER_TOKEN = 4.0  # English text with common tokenizers; CrewAI's page uses the same
_FIRST_ANSWER = 256.0  # tokens, until answers have been seen
_PICTURE = 4 * 765  # characters: OpenAI counts 765 tokens for a picture of 1024 x 1024
_WEIGHT = 0.1  # of the newest observation in the running means


class TokenEstimate:
    """Estimates a request's tokens from its length, and learns from what providers report."""

    def __init__(self) -> None:
        self._per_token = _CHARACTERS_PER_TOKEN
        self._answer = _FIRST_ANSWER

    def of(self, request: Request, length: int | None = None) -> int:
        """Return the tokens that a request will probably cost, read and written; `length`: its `characters`, if known."""
        answer, most = self._answer, request.max_tokens
        if most is not None and most < answer:
            answer = max(0, most)
        if length is None:
            length = characters(request)
        return round(length / self._per_token + answer) or 1

    def learn(self, request: Request, usage: Usage, length: int | None = None) -> None:
        """Take the real figures of an answered request into account."""
        read = usage.prompt_tokens
        if length is None:
            length = characters(request)
        if usage.estimated or not length or read <= 0 or usage.completion_tokens < 0:
            return
        per_token = length / read
        self._per_token += _WEIGHT * ((1.0 if per_token < 1.0 else min(per_token, 8.0)) - self._per_token)
        self._answer += _WEIGHT * (usage.completion_tokens - self._answer)


def characters(request: Request) -> int:
    """Return how long the messages of a request are, with pictures counted as so many characters."""
    total = 0
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            total += len(content)
        elif isinstance(content, list | tuple):
            total += sum(map(_part, content))
        if calls := message.get("tool_calls"):
            total += sum(len(str(call)) for call in calls)
    return total


def _part(part: Any) -> int:
    text = part.get("text") if isinstance(part, Mapping) else part
    return len(text) if isinstance(text, str) else _PICTURE
