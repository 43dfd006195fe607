"""Estimates of tokens, for limits that must be kept before the real figures are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oarlock.contract.reply import Usage
from oarlock.contract.request import Request

__all__ = ["TokenEstimate"]

_CHARACTERS_PER_TOKEN = 4.0  # English text with common tokenizers; CrewAI's page uses the same
_FIRST_ANSWER = 256.0  # tokens, until answers have been seen
_PICTURE = 4 * 765  # characters: OpenAI counts 765 tokens for a picture of 1024 x 1024
_WEIGHT = 0.1  # of the newest observation in the running means


class TokenEstimate:
    """Estimates a request's tokens from its length, and learns from what providers report."""

    def __init__(self) -> None:
        self._per_token = _CHARACTERS_PER_TOKEN
        self._answer = _FIRST_ANSWER

    def of(self, request: Request) -> int:
        """Return the tokens that a request will probably cost, read and written."""
        answer = self._answer if request.max_tokens is None else min(self._answer, max(0, request.max_tokens))
        return max(1, round(_characters(request) / self._per_token + answer))

    def learn(self, request: Request, usage: Usage) -> None:
        """Take the real figures of an answered request into account."""
        characters = _characters(request)
        if usage.estimated or not characters or usage.prompt_tokens <= 0 or usage.completion_tokens < 0:
            return
        seen = min(8.0, max(1.0, characters / usage.prompt_tokens))
        self._per_token += _WEIGHT * (seen - self._per_token)
        self._answer += _WEIGHT * (usage.completion_tokens - self._answer)


def _characters(request: Request) -> int:
    return sum([_length(message) for message in request.messages])


def _length(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, str):
        length = len(content)
    elif isinstance(content, list | tuple):
        length = sum(_part(part) for part in content)
    else:
        length = 0
    calls = message.get("tool_calls")
    return length + sum(len(str(call)) for call in calls) if calls else length


def _part(part: Any) -> int:
    text = part.get("text") if isinstance(part, Mapping) else part
    return len(text) if isinstance(text, str) else _PICTURE
