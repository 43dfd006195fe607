"""Arguments that stand in a file, and know where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Located"]


class Located(dict[str, Any]):
    """A mapping of arguments, such as a section of a YAML file, for `Agent(config=...)` and `Task(config=...)`.

    Args:
        settings: the arguments.
        where: the file and the section, such as `"config/agents.yaml: researcher"`.
        lines: the line of each argument, counted from one, where that is known.
    """

    def __init__(self, settings: Mapping[str, Any], where: str, lines: Mapping[str, int] | None = None) -> None:
        super().__init__(settings)
        self.where = where
        self.lines = dict(lines or {})

    def place(self, name: str | None = None) -> str:
        """Return the section, with the line of an argument in it."""
        line = self.lines.get(name) if name else None
        return f"{self.where} (line {line})" if line else self.where
