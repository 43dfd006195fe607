"""The error tree: as drawn, with its builtin bases, and fit to be pickled."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from oarlock.contract import errors
from oarlock.contract.errors import LLMError, OarlockError, RateLimitError, TruncatedStream, misspelt

CLASSES = {name: one for name, one in vars(errors).items() if inspect.isclass(one) and issubclass(one, OarlockError)}
LLM_ERRORS = [one for one in CLASSES.values() if issubclass(one, LLMError)]


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """Return name -> (parent, builtin base) from the tree in the module's docstring."""
    tree: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([│ ├└─]*)([A-Z]\w+)(?: \((\w+)\))?(?: {2,}.*)?$", line)
        if found and (found[1] or found[2] == "OarlockError"):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            tree[found[2]] = (path[depth - 1] if depth else None, found[3])
    return tree


def test_the_drawing_is_the_tree() -> None:
    real = {}
    for name, one in CLASSES.items():
        builtin = [base.__name__ for base in one.__bases__ if base.__module__ == "builtins" and base is not Exception]
        ours = [base.__name__ for base in one.__bases__ if base.__name__ in CLASSES]
        real[name] = (ours[0] if ours else None, builtin[0] if builtin else None)
    assert drawn() == real


def test_every_error_is_public() -> None:
    assert set(errors.__all__) == set(CLASSES) | {"misspelt"}
    assert all(one.__doc__ for one in CLASSES.values())


@pytest.mark.parametrize("kind", LLM_ERRORS)
def test_pickling_keeps_the_facts_and_drops_the_cause(kind: type[LLMError]) -> None:
    error = kind(
        "what happened", status=429, code="c", request_id="r", attempts=3, elapsed=1.5, retry_after=2, retryable=True
    )
    error.__cause__ = RuntimeError(lambda: "not to be pickled")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "what happened"
    assert vars(copy) == vars(error)
    assert copy.__cause__ is None


def test_a_truncated_stream_keeps_its_text() -> None:
    assert pickle.loads(pickle.dumps(TruncatedStream("cut", text="so far"))).text == "so far"


@pytest.mark.parametrize("kind", LLM_ERRORS)
def test_retryable_by_class_unless_said(kind: type[LLMError]) -> None:
    assert kind().retryable is kind.default_retryable
    assert kind(retryable=not kind.default_retryable).retryable is not kind.default_retryable
    assert kind().attempts == 1


def test_which_heal_by_themselves() -> None:
    assert {one.__name__ for one in LLM_ERRORS if one.default_retryable} == {
        "RateLimitError",
        "LLMTimeoutError",
        "ConnectionFailedError",
        "ServerError",
        "TruncatedStream",
    }


def test_old_except_clauses_work() -> None:
    with pytest.raises(RuntimeError):
        raise RateLimitError("x")


class TestMisspelt:
    def test_the_nearest_name(self) -> None:
        error = misspelt("Agent", ["rol"], ["role", "goal"])
        assert str(error) == "Agent has no argument 'rol'. Did you mean 'role'?"
        assert isinstance(error, ValueError)

    def test_nothing_near_lists_them(self) -> None:
        assert str(misspelt("Agent", ["xyzzy"], ["role", "goal"])).endswith("It takes: goal, role.")

    def test_several(self) -> None:
        assert str(misspelt("A", ["rol", "gaol"], ["role", "goal"])).count("Did you mean") == 2
