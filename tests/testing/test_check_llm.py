"""Every check can fail: one LLM that does one thing wrong for each, and nothing but its check finds it."""

from __future__ import annotations

import pyreqwest.exceptions  # noqa: F401  in the main thread: loaded first by a thread that ends, it crashes later
import pytest
from contract_llms import BROKEN, KEY, Good, Structured

from oarlock.testing import check_llm
from oarlock.testing.contract import colours
from oarlock.testing.contract.table import CHECKS

SLOW = ["many_threads", "many_tasks", "answers_not_mixed_up", "deadline_ends_it"]


@pytest.mark.parametrize("cls", [Good, Structured])
def test_a_good_one_passes_all(cls) -> None:
    report = check_llm(cls, secrets=[KEY])
    assert report.ok, str(report)
    assert report.skipped == ["tools_ignored"]
    head = f"{cls.__name__}: {len(CHECKS) - 1} passed, 0 failed, 1 skipped"
    assert str(report).startswith(f"{head}\n  passed   fresh_objects: ")
    report.raise_for_failures()


@pytest.mark.parametrize(("factory", "name"), BROKEN, ids=[f"{name}-{n}" for n, (_, name) in enumerate(BROKEN)])
def test_a_broken_one_fails_its_check_only(factory, name, monkeypatch) -> None:
    if name == "loop_stays_free":
        monkeypatch.setattr(colours, "PATIENCE", 0.3)  # it waits in vain; all others must have all the time they need
    report = check_llm(factory, secrets=[KEY], skip=[] if name in SLOW else SLOW, timeout=20)
    assert report.failed == [name], str(report)
    assert report[name].message
    assert KEY not in str(report)


def test_every_check_has_one_that_fails_it() -> None:
    assert {name for _, name in BROKEN} == set(CHECKS)
