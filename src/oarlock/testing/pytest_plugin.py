"""A pytest plugin: ends a run with the report of every `LLMContract`, skipped checks and their reasons included.

It is never loaded by itself. Ask for it with `pytest -p oarlock.testing.pytest_plugin`, or in the topmost conftest.py:
`pytest_plugins = ["oarlock.testing.pytest_plugin"]`.
"""

from __future__ import annotations

from typing import Any

from oarlock.testing.contract.pytest_case import PROPERTY
from oarlock.testing.contract.report import CheckResult, ContractReport
from oarlock.testing.contract.table import CHECKS

__all__ = ["pytest_terminal_summary"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the reports; called by pytest."""
    found: dict[tuple[str, str], list[CheckResult]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for case, llm, result in (value for name, value in report.user_properties if name == PROPERTY):
                    found.setdefault((case, llm), []).append(CheckResult(**result))
    order = {name: number for number, name in enumerate(CHECKS)}
    for (case, llm), results in found.items():
        results.sort(key=lambda result: order.get(result.name, len(order)))  # pytest keeps them by outcome
        terminalreporter.section(f"oarlock: the contract of {llm} ({case})")
        terminalreporter.write_line(str(ContractReport(llm=llm, results=tuple(results))))
