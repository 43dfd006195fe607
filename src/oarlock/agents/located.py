"""Arguments that stand in a file, and know where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Located"]


class Located(dict[str, Any]):
    """A mapping of arguments, such as a section of a YAML file, for `Agent(config=...)` and `Task(config=...)`.

    Args:
        settings: the arguments.
        file: the file.
        section: the section's name.
        lines: the line of each argument, counted from one, where that is known; with the name `""` the section's own.
    """

    def __init__(
        self, settings: Mapping[str, Any], file: str, section: str, lines: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(settings)
        self.file = file
        self.section = section
        self.lines = dict(lines or {})

    def place(self, name: str = "") -> str:
        """Return where the section stands, or an argument in it, for a message."""
        line = self.lines.get(name) or self.lines.get("")
        what = f"{self.section}.{name}" if name else self.section
        return f"{self.file}, line {line}: {what}" if line else f"{self.file}: {what}"
