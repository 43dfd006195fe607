"""What came of the checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from oarlock.contract.errors import OarlockError

__all__ = ["CheckResult", "ContractError", "ContractReport"]

Outcome = Literal["passed", "failed", "skipped"]


class ContractError(OarlockError, AssertionError):
    """An LLM does not hold the contract; the message has a sentence for each failed check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What came of one check.

    Attributes:
        name: of the check, such as `"answers_text"`.
        says: what the check finds out, in a sentence.
        outcome: `"passed"`, `"failed"` or `"skipped"`.
        message: what is wrong and how to mend it, or why it was skipped; empty if it passed.

    Example:
        >>> str(CheckResult(name="answers_text", says="It answers a text.", outcome="passed"))
        'passed   answers_text: It answers a text.'
    """

    name: str
    says: str
    outcome: Outcome
    message: str = ""

    def __str__(self) -> str:
        said = f"{self.outcome:<8} {self.name}: {self.says}"
        return f"{said}\n{'':13}{self.message}" if self.message else said


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractReport:
    """What came of all checks; `print(report)` shows it as a list.

    Attributes:
        llm: the name of the LLM's class.
        results: one for each check, in order.

    Example:
        >>> result = CheckResult(name="answers_text", says="It answers a text.", outcome="passed")
        >>> print(ContractReport(llm="MyLLM", results=(result,)))
        MyLLM: 1 passed, 0 failed, 0 skipped
          passed   answers_text: It answers a text.
    """

    llm: str
    results: tuple[CheckResult, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def passed(self) -> list[str]:
        """The names of the checks that passed."""
        return self._names("passed")

    @property
    def failed(self) -> list[str]:
        """The names of the checks that failed."""
        return self._names("failed")

    @property
    def skipped(self) -> list[str]:
        """The names of the checks that were skipped."""
        return self._names("skipped")

    def __getitem__(self, name: str) -> CheckResult:
        return {result.name: result for result in self.results}[name]

    def raise_for_failures(self) -> None:
        """Do nothing if no check failed.

        Raises:
            ContractError: some did; it is an `AssertionError` too.
        """
        if not self.ok:
            raise ContractError(_text(self._head(), [result for result in self.results if result.outcome == "failed"]))

    def _names(self, outcome: Outcome) -> list[str]:
        return [result.name for result in self.results if result.outcome == outcome]

    def _head(self) -> str:
        counts = (f"{len(self._names(outcome))} {outcome}" for outcome in ("passed", "failed", "skipped"))
        return f"{self.llm}: {', '.join(counts)}"

    def __str__(self) -> str:
        return _text(self._head(), self.results)


def _text(head: str, results: Sequence[CheckResult]) -> str:
    return "\n  ".join([head, *map(str, results)])
