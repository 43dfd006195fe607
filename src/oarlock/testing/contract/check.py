"""`check_llm`: all checks on one LLM, and a report."""

from __future__ import annotations

import contextvars
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM
from oarlock.policies.checks import positive
from oarlock.runtime import ThreadPool
from oarlock.testing.contract.faulty import fault_checks
from oarlock.testing.contract.places import in_words
from oarlock.testing.contract.report import CheckResult, ContractReport, Outcome
from oarlock.testing.contract.stage import Respond
from oarlock.testing.contract.subject import Broken, NotApplicable, Scene, Subject
from oarlock.testing.contract.table import CHECKS, Check

__all__ = ["Examination", "check_llm"]


def check_llm(
    factory: Callable[..., BaseLLM],
    *,
    secrets: Sequence[str] = (),
    echo: bool = False,
    respond: Respond | None = None,
    faults: Sequence[str] = (),
    skip: Sequence[str] = (),
    timeout: float = 60.0,
) -> ContractReport:
    """Find out whether an LLM of your own holds the contract: answers, threads and tasks, tools, errors, secrets, crews.

    With a factory that takes a base URL, an endpoint on 127.0.0.1 stands in for the real one, so that failures can be
    tried too. Without, the LLM is asked as it is, some 160 times (`skip` the crowds and the long message if each
    question costs money), and checks that need an endpoint of ours are skipped. No check is random.

    Args:
        factory: makes a new LLM at each call: `lambda url: MyLLM(url)`, where the URL ends with `/v1` and the endpoint
            answers OpenAI's chat format below it at `/chat/completions`; or `lambda: MyLLM(...)`.
        secrets: texts that must not be seen in reprs, attributes, logs and errors: the keys that your factory uses.
        echo: its answers repeat a word when asked to; then it can be checked that answers are not mixed up. (An
            endpoint of ours does so in any case.)
        respond: writes answers in a private protocol: it takes the `RecordedRequest` and the answer (a text, or
            `ToolCalls` for an LLM that calls functions) and returns the body: a mapping for JSON, a text or bytes, or
            a `Status`. Then every path below the URL is answered.
        faults: names of faults of `oarlock.testing.faults` to try too, such as `["slow_body"]`, or `faults.names("http")`
            for a group; each is a check, `fault_slow_body`. One that hangs takes a second.
        skip: names of checks to leave out.
        timeout: seconds after which a check that does not end has failed.

    Returns:
        The report: `report.ok`, `print(report)`, `report.raise_for_failures()`.

    Raises:
        ConfigurationError: an argument that cannot work.

    Example:
        >>> from oarlock.testing import FunctionLLM, check_llm
        >>> report = check_llm(lambda: FunctionLLM(lambda messages: messages[-1]["content"]), echo=True)
        >>> report.ok, report["answers_not_mixed_up"].outcome, report["server_error"].outcome
        (True, 'passed', 'skipped')
    """
    examination = Examination(
        factory, secrets=secrets, echo=echo, respond=respond, faults=faults, skip=skip, timeout=timeout
    )
    results = tuple(examination.result(name) for name in examination.checks)
    return ContractReport(llm=examination.name, results=results)


class Examination:
    """Runs checks on one LLM when asked for their results, each check once, and before it those it builds on."""

    def __init__(
        self,
        factory: Callable[..., Any],
        *,
        secrets: Sequence[str] = (),
        echo: bool = False,
        respond: Respond | None = None,
        faults: Sequence[str] = (),
        skip: Sequence[str] = (),
        timeout: float = 60.0,
    ) -> None:
        self.name = "LLM"
        self._subject = Subject(
            factory=self._named(factory),
            takes_url=_takes_url(factory),
            secrets=_texts("secrets", secrets),
            echo=echo,
            respond=respond,
        )
        if respond is not None and not (callable(respond) and self._subject.takes_url):
            raise ConfigurationError("check_llm: respond must be a function, and needs a factory that takes a URL.")
        self._skip = _texts("skip", skip)
        self.checks = {**CHECKS, **fault_checks(_texts("faults", faults))}
        for name in self._skip:
            if name not in self.checks:
                known = ", ".join(self.checks)
                raise ConfigurationError(f"check_llm: skip names {name!r}, which is no check. The checks are: {known}.")
        self._timeout = positive("check_llm", "timeout", timeout)
        self._results: dict[str, CheckResult] = {}
        self._threads = ThreadPool(name="oarlock-check")

    def result(self, name: str) -> CheckResult:
        """Return what came of a check."""
        if name not in self._results:
            self._results[name] = self._examined(self.checks[name])
        return self._results[name]

    def _examined(self, check: Check) -> CheckResult:
        if check.name in self._skip:
            return _result(check, "skipped", "Its owner asked for that.")
        below = self._failed_below(check)
        if below is not None:
            return _result(check, "skipped", f"It can show nothing as long as {below} fails.")
        with Scene(self._subject) as scene:
            result = self._in_time(check, scene)
        message = result.message
        for secret in self._subject.secrets:
            message = message.replace(secret, "…")
        return dataclasses.replace(result, message=message)

    def _in_time(self, check: Check, scene: Scene) -> CheckResult:
        """Run a check in another thread, since it may hang, and since an event loop may run in this one."""
        context = contextvars.Context()  # not the caller's, in which the clock may be a virtual one
        running = self._threads.submit(context.run, _outcome, check, scene)
        try:
            result: CheckResult = running.result(self._timeout)
        except TimeoutError:
            seconds = f"{self._timeout:g} s"
            return _result(
                check, "failed", f"It did not end within {seconds}: give your HTTP client a timeout, look for locks."
            )
        return result

    def _failed_below(self, check: Check) -> str | None:
        """Return a check that failed, of those that this one builds on, directly or not."""
        for name in check.after:
            failed = name if self.result(name).outcome == "failed" else self._failed_below(self.checks[name])
            if failed is not None:
                return failed
        return None

    def _named(self, factory: Callable[..., Any]) -> Callable[..., Any]:
        def make(*url: str) -> Any:
            made = factory(*url)
            self.name = type(made).__name__
            return made

        return make


def _outcome(check: Check, scene: Scene) -> CheckResult:
    try:
        check.run(scene)
    except NotApplicable as reason:
        return _result(check, "skipped", str(reason))
    except Broken as finding:
        return _result(check, "failed", str(finding))
    except BaseException as error:  # noqa: BLE001  the owner's own code: whatever it raises is the finding
        return _result(check, "failed", in_words(error))
    return _result(check, "passed", "")


def _result(check: Check, outcome: Outcome, message: str) -> CheckResult:
    return CheckResult(name=check.name, says=check.says, outcome=outcome, message=message)


def _takes_url(factory: object) -> bool:
    """Return whether a factory takes one argument.

    Raises:
        ConfigurationError: it is no function of none or one.
    """
    if isinstance(factory, BaseLLM) or not callable(factory):
        name = type(factory).__name__
        raise ConfigurationError(
            f"check_llm: the factory must be a function that makes a new LLM, such as lambda url: MyLLM(url), not a {name}."
        )
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(factory).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty and one.kind in (*kinds, one.KEYWORD_ONLY)]
    if len(needed) > 1:
        raise ConfigurationError(
            f"check_llm: the factory must take nothing or one argument, a base URL; this one takes {', '.join(needed)}. "
            "Wrap it: lambda url: MyLLM(url, ...)."
        )
    return len(needed) == 1


def _texts(name: str, texts: object) -> tuple[str, ...]:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise ConfigurationError(f"check_llm: {name} must be a list of texts, not {type(texts).__name__}.")
    given = tuple(texts)
    if not all(isinstance(text, str) and text for text in given):
        raise ConfigurationError(f"check_llm: {name} must hold texts, and none of them empty.")
    return given
