"""The parts of a conversation, and what an endpoint says that refuses it: for shortening it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from oarlock.contract.messages import Message

__all__ = ["as_line", "fixed_of", "is_result", "last_turn", "level_of", "told_by"]

# Of OpenAI, vLLM, llama.cpp; and of Anthropic: "prompt is too long: 210000 tokens > 200000 maximum".
_NUMBERS: Final = re.compile(r"(\d[\d,]{1,10})\s*(?:tokens|maximum)")


def told_by(error: Exception) -> tuple[int | None, int | None]:
    """Return the window's size and the request's that an endpoint's refusal names.

    Example:
        >>> told_by(ValueError("This model's maximum context length is 8,192 tokens; you requested 9000 tokens."))
        (8192, 9000)
        >>> told_by(ValueError("maximum context length is 8192 tokens"))
        (8192, None)
    """
    numbers = [int(number.replace(",", "")) for number in _NUMBERS.findall(str(error)[:1000])]
    if not numbers:
        return None, None
    least, most = min(numbers), max(numbers)
    return least, (most if most > least else None)


def fixed_of(messages: Sequence[Message], fixed: int) -> int:
    """Return how many messages, of as many at first, are before the model's first one; hooks may have left fewer."""
    for at, message in enumerate(messages[:fixed]):
        if message.get("role") in ("assistant", "tool"):
            return at
    return min(fixed, len(messages))


def last_turn(messages: Sequence[Message], fixed: int) -> int:
    """Return where the last turn begins: the model's last message, with all that answers it."""
    for at in range(len(messages) - 1, fixed - 1, -1):
        if messages[at].get("role") == "assistant":
            return at
    return max(fixed, len(messages) - 1)


def is_result(message: Message) -> bool:
    """Return whether a message is the result of a tool, in either loop."""
    if message.get("role") == "tool":
        return True
    content = message.get("content")
    return message.get("role") == "user" and isinstance(content, str) and content.startswith("Observation:")


def as_line(message: Message) -> str:
    """Return a message as a text."""
    calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.get("tool_calls") or ()]
    return f"{message.get('role')}: {' '.join([str(message.get('content') or ''), *calls])}"


def level_of(lengths: Sequence[float], room: float) -> float:
    """Return the length to which the longest ones have to be cut so that all of them take so much room.

    Example:
        >>> level_of([10, 4, 2], 10)
        4.0
        >>> level_of([10, 10], 8)
        4.0
    """
    left, room = sorted(lengths), max(0.0, room)
    while left and left[0] <= room / len(left):
        room -= left.pop(0)
    return room / len(left) if left else float("inf")
