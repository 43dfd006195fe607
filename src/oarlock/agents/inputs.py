"""The inputs of runs, and filling `{name}`s in texts from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from oarlock.contract.errors import ConfigurationError, a_kind

__all__ = ["fill", "names_in", "several"]

_NAME = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_-]*)\}\}|\{([A-Za-z_][A-Za-z0-9_-]*)\}")


def fill(template: str, inputs: Mapping[str, Any], where: str) -> str:
    """Return the text with each `{name}` replaced by the input's text, in one pass; `{{name}}` becomes `{name}`.

    Nothing else in braces is touched (`{0}`, `{x.y}`, JSON), nothing is evaluated, and what was filled in is not looked
    at again.

    Args:
        template: the text.
        inputs: what to fill in.
        where: the text in words, for the error.

    Raises:
        ConfigurationError: an input is missing.

    Example:
        >>> fill("Research {topic}", {"topic": "tides"}, "the task")
        'Research tides'
    """
    if "{" not in template:
        return template

    def value(match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal:
            return f"{{{literal}}}"
        if name not in inputs:
            have = f"The inputs are: {', '.join(map(str, inputs))}." if inputs else "There are no inputs."
            raise ConfigurationError(
                f"{where} needs an input {name!r}. {have} Pass inputs={{{name!r}: ...}}, "
                f"or write {{{{{name}}}}} for the word in braces itself."
            )
        return str(inputs[name])

    return _NAME.sub(value, template)


def names_in(template: str) -> list[str]:
    """Return the names of the inputs that a text needs, in their order.

    Example:
        >>> names_in("Research {topic} for {{nobody}} until {year}")
        ['topic', 'year']
    """
    return [name for _, name in _NAME.findall(template) if name]


def several(inputs: object) -> list[Mapping[str, Any]]:
    """Return the inputs of several runs as a list.

    Raises:
        ConfigurationError: they are those of one run, or no inputs at all.
    """
    if isinstance(inputs, Mapping | str) or not isinstance(inputs, Iterable):
        raise ConfigurationError(
            f"Crew: kickoff_for_each takes a list of inputs, a mapping for each run, not {a_kind(inputs)}."
        )
    return list(inputs)
