"""Checks of the object itself: nothing is asked, but of a copy."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

from oarlock.testing.contract.asking import ask, name_of
from oarlock.testing.contract.stage import question
from oarlock.testing.contract.subject import Scene, require

__all__ = ["copies", "describes_itself", "fresh_objects", "needs_only_messages"]


def fresh_objects(scene: Scene) -> None:
    """The factory makes a new LLM each time."""
    require(
        scene.llm() is not scene.llm(), "The factory returned the same object twice: let it make a new one each time."
    )


def needs_only_messages(scene: Scene) -> None:
    """All parameters after the messages have defaults."""
    llm = scene.llm()
    for method in ("call", "acall", "complete", "acomplete"):
        extra = _demanded(getattr(llm, method))
        require(not extra, f"{name_of(llm, method)} demands {', '.join(extra)}, which nobody gives it: add defaults.")


def _demanded(method: Callable[..., Any]) -> list[str]:
    """Return the parameters after the first that have no default."""
    after_first = list(inspect.signature(method).parameters.values())[1:]
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in after_first if one.default is one.empty and one.kind not in optional]


def describes_itself(scene: Scene) -> None:
    """What it says about itself can be used."""
    llm = scene.llm()
    for method in ("supports_function_calling", "supports_stop_words"):
        said = getattr(llm, method)()
        require(isinstance(said, bool), f"{name_of(llm, method)} returned {said!r}: return True or False.")
    window = llm.get_context_window_size()
    require(
        type(window) is int and window > 0,
        f"{name_of(llm, 'get_context_window_size')} returned {window!r}: return a whole number of tokens above 0.",
    )
    stop = llm.stop
    require(
        isinstance(stop, list) and all(isinstance(word, str) for word in stop),
        f"llm.stop is {stop!r}: set it to a list of texts.",
    )
    require(isinstance(repr(llm), str) and isinstance(str(llm), str), "")  # what fails here raises by itself


def copies(scene: Scene) -> None:
    """A deep copy answers, or copying is refused with a TypeError."""
    llm = scene.llm()
    try:
        twin = copy.deepcopy(llm)
    except TypeError:  # how Python says that something, such as an open connection, cannot be copied
        return
    ask(twin, question(1))
