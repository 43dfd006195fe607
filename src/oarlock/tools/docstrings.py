"""What a docstring says of a function and of its parameters: Google, NumPy and reST style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence

__all__ = ["parse_docstring"]

_GOOGLE = re.compile(r"(Args|Arguments|Parameters|Params|Returns?|Raises|Yields|Examples?)\s*:\s*$")
_REST = re.compile(
    r":(?:(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*\s)?\*{0,2}(\w+)|[a-z]+(?:\s[^:]*)?):(?:\s+(.*))?$"
)
_RULE = re.compile(r"-{3,}\s*$")
_ITEM = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*(?:\([^)]*\)[^)]*)*\))?\s*:\s*(.*)$")
_NUMPY_ITEM = re.compile(r"\*{0,2}(\w+)\s*(?::.*)?$")
_ARGUMENTS = {"Args", "Arguments", "Parameters", "Params", "Other Parameters"}


def parse_docstring(text: str | None) -> tuple[str, dict[str, str]]:
    """Return the description (all that stands before the first section) and the parameters' descriptions by name.

    Example:
        >>> parse_docstring("Add numbers.\\n\\nArgs:\\n    a: the first\\n    b (int): the second")
        ('Add numbers.', {'a': 'the first', 'b': 'the second'})
    """
    lines = inspect.cleandoc(text or "").splitlines()
    first = next((at for at in range(len(lines)) if _begins_section(lines, at)), len(lines))
    description = "\n".join(lines[:first]).strip()
    found: dict[str, list[str]] = {}
    for name, words in _items(lines[first:]):
        found.setdefault(name, []).append(words)
    return description, {name: " ".join(filter(None, words)) for name, words in found.items() if name and any(words)}


def _begins_section(lines: Sequence[str], at: int) -> bool:
    return bool(_GOOGLE.match(lines[at]) or _REST.match(lines[at]) or _underlined(lines, at))


def _underlined(lines: Sequence[str], at: int) -> bool:
    return at + 1 < len(lines) and bool(lines[at].strip() and _RULE.match(lines[at + 1]))


def _items(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield a parameter's name with each line that describes it."""
    style, name, margin = "", "", 0
    for at, line in enumerate(lines):
        words, indent = line.strip(), len(line) - len(line.lstrip())
        if (google := _GOOGLE.match(line)) or _underlined(lines, at):
            heading = google[1] if google else words
            style, name, margin = ("google" if google else "numpy") if heading in _ARGUMENTS else "", "", 0
        elif rest := _REST.match(line):
            style, name = "rest", rest[1] or ""
            yield name, rest[2] or ""
        elif style == "numpy" and not indent:
            item = _NUMPY_ITEM.match(words)
            name = item[1] if item else ""
        elif style == "google" and words and (not margin or indent <= margin):
            item = _ITEM.match(words) if indent else None
            margin, name = indent, item[1] if item else ""
            yield name, item[2] if item else ""
        elif words:
            yield name, words
        elif style == "rest":  # a blank line ends a field
            name = ""
