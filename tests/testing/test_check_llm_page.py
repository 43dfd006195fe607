"""What the checks say about the classes of the page that users start from: its known flaws, and no others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract_llms import KEY

from oarlock.compat import as_crewai
from oarlock.testing import ContractReport, check_llm

PLAIN_KEY = "no_secret_in_state"  # each keeps its key as a plain attribute

FLAWS = {
    # say that they call functions and know stop words, and do neither
    "basic": {PLAIN_KEY, "tool_calls", "own_stop_words"},
    "jwt": {PLAIN_KEY, "tool_calls", "own_stop_words"},
    "try_except": {PLAIN_KEY},
    # says TimeoutError to every lost connection
    "retry": {PLAIN_KEY, "connection_dropped", "connection_refused"},
    "validate_input": {PLAIN_KEY},
    # appends to the caller's list
    "function_calling": {PLAIN_KEY, "own_stop_words", "messages_untouched"},
    "logging": {PLAIN_KEY},
    "rate_limiting": {PLAIN_KEY},
    "metrics": {PLAIN_KEY},
}  # "auth_errors" is no whole class: what it sends is left to the reader


class _Clock:
    """`time` whose sleeping takes none."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        pass


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "page")
    import page_blocks

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):  # requests heeds them, even for loopback
        monkeypatch.delenv(name, raising=False)
    with as_crewai(force=True):
        yield page_blocks


@pytest.mark.parametrize("name", FLAWS)
def test_flaws_of_the_page(name: str, page: Any) -> None:
    surroundings = {"__builtins__": page.imports_instead(time=_Clock())}

    def make(url: str) -> Any:
        return page.page_llm(name, url, KEY, **surroundings)

    skip = [] if name == "basic" else ["many_threads", "many_tasks", "answers_not_mixed_up", "deadline_ends_it"]
    report: ContractReport = check_llm(make, secrets=[KEY], skip=skip, timeout=20)
    assert set(report.failed) == FLAWS[name], str(report)
    assert KEY not in str(report)
