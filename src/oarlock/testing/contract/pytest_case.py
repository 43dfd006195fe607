"""`LLMContract`: the checks as pytest's tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from oarlock.contract.errors import ConfigurationError
from oarlock.testing.contract.check import Examination
from oarlock.testing.contract.faulty import fault_checks
from oarlock.testing.contract.stage import Respond
from oarlock.testing.contract.table import CHECKS

try:
    import pytest
except ImportError as error:  # pragma: no cover  our tests have it
    raise ImportError("LLMContract needs pytest: pip install 'oarlock[testing]'.") from error

__all__ = ["PROPERTY", "LLMContract"]

PROPERTY = "oarlock_check"
"""Under this name each test leaves its result for `oarlock.testing.pytest_plugin`."""


class LLMContract:
    """The checks of `check_llm` as tests: subclass it in a test file, and say how to make your LLM.

    Each check is a test, `test_contract[answers_text]` and so on; one that does not apply is skipped with its reason.
    With `pytest -p oarlock.testing.pytest_plugin`, or `pytest_plugins = ["oarlock.testing.pytest_plugin"]` in the
    topmost conftest.py, the run ends with the whole report.

    Attributes:
        secrets, echo, respond, faults, skip, timeout: see `check_llm`; `respond` may be a method.

    Example:
        >>> from oarlock import ChatLLM
        >>> from oarlock.testing import LLMContract
        >>> class TestMyLLM(LLMContract):
        ...     def make_llm(self, url):
        ...         return ChatLLM("my-model", url)
    """

    secrets: ClassVar[Sequence[str]] = ()
    echo: ClassVar[bool] = False
    respond: Respond | Callable[..., Any] | None = None
    faults: ClassVar[Sequence[str]] = ()
    skip: ClassVar[Sequence[str]] = ()
    timeout: ClassVar[float] = 60.0

    def make_llm(self, *args: Any, **kwargs: Any) -> Any:
        """Return a new LLM each time. Write it as `make_llm(self, url)`, or as `make_llm(self)` for a real endpoint.

        Raises:
            ConfigurationError: a subclass did not write it.
        """
        raise ConfigurationError(f"{type(self).__name__} does not say how to make the LLM: write make_llm(self, url).")

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make a test of each check; called by pytest."""
        if "check" in metafunc.fixturenames:
            metafunc.parametrize("check", [*CHECKS, *fault_checks(self.faults)])

    def test_contract(self, check: str, record_property: Callable[[str, Any], None]) -> None:
        """Run one check."""
        examination = self._examination()
        result = examination.result(check)
        record_property(PROPERTY, [type(self).__name__, examination.name, dataclasses.asdict(result)])
        if result.outcome == "skipped":
            pytest.skip(result.message)
        if result.outcome == "failed":
            pytest.fail(f"{result.says} {result.message}", pytrace=False)

    def _examination(self) -> Examination:
        """Return the one examination of this class: a check that others build on runs once."""
        cls = type(self)
        if "_oarlock_examination" not in vars(cls):
            cls._oarlock_examination = Examination(  # type: ignore[attr-defined]
                self.make_llm,
                secrets=self.secrets,
                echo=self.echo,
                respond=self.respond,
                faults=self.faults,
                skip=self.skip,
                timeout=self.timeout,
            )
        examination: Examination = vars(cls)["_oarlock_examination"]
        return examination
