"""Checks that the secrets which the LLM's owner named are seen nowhere."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from oarlock.contract.llm import BaseLLM
from oarlock.testing.contract.asking import once, request
from oarlock.testing.contract.stage import question
from oarlock.testing.contract.subject import NotApplicable, Scene, require
from oarlock.testing.endpoint import RecordedRequest, Status

__all__ = ["no_secret_in_errors", "no_secret_in_logs", "no_secret_in_repr", "no_secret_in_state"]

_WITHOUT_TEXT = (int, float, complex, type(None), type, FunctionType, BuiltinFunctionType, ModuleType)
"""Plain values, and what a pickle holds by name only."""


def no_secret_in_repr(scene: Scene) -> None:
    """Neither repr nor str shows a secret."""
    secrets = _secrets(scene)
    llm = scene.llm()
    for show in (repr, str, ascii):
        require(
            not _found(secrets, show(llm)),
            f"{show.__name__}() of it shows a secret: leave secrets out of __repr__ and __str__.",
        )


def no_secret_in_state(scene: Scene) -> None:
    """The attributes, and what a pickle would hold, show no secret."""
    secrets = _secrets(scene)
    llm = scene.llm()
    for name, value in vars(llm).items():
        texts = [repr(value), *_pickled(value, {})]
        require(
            not any(_found(secrets, text) for text in texts),
            f"self.{name} holds a secret as plain text, so vars(), a debugger or a pickle shows it: "
            f"keep oarlock.auth.Secret(...) instead, and use self.{name}.reveal() where it is sent.",
        )


def _pickled(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    """Yield the texts that a pickle of the value would hold, as far as it lets itself be pickled."""
    if isinstance(value, str | bytes):
        yield value if isinstance(value, str) else value.decode("latin-1")
    elif not isinstance(value, _WITHOUT_TEXT) and id(value) not in seen:
        seen[id(value)] = value  # kept alive, so that its id stays its own
        for part in _parts(value):
            yield from _pickled(part, seen)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001  an owner's class that refuses to be pickled, in whatever way: nothing leaks
        return []
    return [] if isinstance(reduced, str) else [list(part) if isinstance(part, Iterator) else part for part in reduced]


def no_secret_in_logs(scene: Scene) -> None:
    """No log of a call, of any logger and down to DEBUG, shows a secret."""
    secrets = _secrets(scene)
    llms = [scene.llm(), scene.behind(401)[0]] if scene.subject.takes_url else [scene.llm()]
    with _all_logs() as lines:
        for llm in llms:
            with suppress(Exception):  # only what is logged of it counts here
                once(llm).complete(request(question(1)))
    names = {line.partition(":")[0] for line in lines if _found(secrets, line)}
    require(not names, f"The logger {', '.join(sorted(names))} was given a secret: log neither headers nor settings.")


@contextmanager
def _all_logs() -> Iterator[list[str]]:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name}: {self.format(record)}")

    root = logging.getLogger()
    level, handlers = root.level, root.handlers
    root.handlers = [Keep()]  # nobody's files and terminals get what only this check wants to see
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.handlers = handlers


def no_secret_in_errors(scene: Scene) -> None:
    """No error of a refused call shows a secret, even if the endpoint repeats what it was sent."""
    secrets = _secrets(scene)
    llm, _ = scene.behind(_tell_tale)
    plain = once(llm)
    for ask in (lambda: plain.complete(request(question(1))), lambda: _call(llm)):
        error = _error_of(ask)
        shown = "" if error is None else "".join([repr(error), *traceback.format_exception(error)])
        require(
            not _found(secrets, shown),
            f"The {type(error).__name__} for a 401, or what caused it, shows a secret: keep credentials, headers and the "
            "endpoint's own words out of error messages.",
        )


def _tell_tale(request: RecordedRequest) -> Status:
    headers = ", ".join(f"{name}: {value}" for name, value in request.headers.items())
    return Status(401, body={"error": {"message": f"Not accepted: {headers}"}})


def _call(llm: BaseLLM) -> object:
    return llm.call(question(1))


def _error_of(ask: Callable[[], object]) -> Exception | None:
    try:
        ask()
    except Exception as error:  # noqa: BLE001  a user's own code: whatever it raises is looked at
        return error
    return None


def _secrets(scene: Scene) -> list[str]:
    if not scene.subject.secrets:
        raise NotApplicable('It needs to know what to look for: check_llm(..., secrets=["the-key"]).')
    return list(scene.subject.secrets)


def _found(secrets: list[str], text: str) -> bool:
    return any(secret in text for secret in secrets)
