"""A Griffe extension, for the reference in the documentation: reads our docstrings as we write them.

`Example:` begins a section of examples. Parameters that share a sentence (`client_id, client_secret: see ...`) become one
entry each, so that each has its type and default.
"""

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
SHARED = re.compile(r"^( +)(\w+(?:, (?:\w+|\.\.\.))+): (.*)$", re.MULTILINE)


class OurDocstrings(Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
            obj.docstring.value = SHARED.sub(one_line_each, text)


def one_line_each(entry: re.Match[str]) -> str:
    """Return an entry for each of the parameters that share one."""
    indent, names, said = entry.groups()
    return "\n".join(f"{indent}{name}: {said}" for name in names.split(", ") if name != "...")
