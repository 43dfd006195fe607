"""Estimates of tokens, for limits that must be kept before the real figures are known."""

from __future__ import annotations

from oarlock.contract.reply import Usage
from oarlock.contract.request import Request

__all__ = ["TokenEstimate"]

_CHARACTERS_PER_TOKEN = 4.0  # English text with common tokenizers; CrewAI's page uses the same
_FIRST_ANSWER = 256.0  # tokens, until answers have been seen
_WEIGHT = 0.1  # of the newest observation in the running means


class TokenEstimate:
    """Estimates a request's tokens from its length, and learns from what providers report."""

    def __init__(self) -> None:
        self._per_token = _CHARACTERS_PER_TOKEN
        self._answer = _FIRST_ANSWER

    def of(self, request: Request) -> int:
        """Return the tokens that a request will probably cost, read and written."""
        answer = self._answer if request.max_tokens is None else min(self._answer * 2, request.max_tokens)
        return max(1, round(_characters(request) / self._per_token + answer))

    def learn(self, request: Request, usage: Usage) -> None:
        """Take the real figures of an answered request into account."""
        characters = _characters(request)
        if usage.estimated or not characters or not usage.prompt_tokens:
            return
        seen = min(8.0, max(1.0, characters / usage.prompt_tokens))
        self._per_token += _WEIGHT * (seen - self._per_token)
        self._answer += _WEIGHT * (usage.completion_tokens - self._answer)


def _characters(request: Request) -> int:
    return sum(len(message.get("content") or "") for message in request.messages)
