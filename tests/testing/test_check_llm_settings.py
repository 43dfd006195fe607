"""What `check_llm` itself takes, refuses and reports."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from oarlock import ConfigurationError
from oarlock.testing import CheckResult, ContractError, ContractReport, FunctionLLM, check_llm
from oarlock.testing.contract.places import in_words
from oarlock.testing.contract.table import CHECKS


def hello() -> FunctionLLM:
    return FunctionLLM(lambda messages: "Hello")


@pytest.mark.parametrize(
    ("factory", "given", "message"),
    [
        (hello(), {}, r"the factory must be a function that makes a new LLM, .* not a FunctionLLM\."),
        ("MyLLM", {}, r"not a str\."),
        (lambda url, key: None, {}, r"this one takes url, key\. Wrap it: lambda url: MyLLM\(url, \.\.\.\)\."),
        (hello, {"secrets": "key"}, r"secrets must be a list of texts, not str\."),
        (hello, {"secrets": 3}, r"secrets must be a list of texts, not int\."),
        (hello, {"secrets": [""]}, r"secrets must hold texts, and none of them empty\."),
        (hello, {"secrets": [b"key"]}, r"secrets must hold texts"),
        (hello, {"skip": ["many_taks"]}, r"skip names 'many_taks', which is no check\. .* many_tasks"),
        (hello, {"timeout": 0}, r"timeout"),
        (hello, {"timeout": "1"}, r"timeout"),
        (hello, {"respond": lambda request, answer: answer}, r"respond .* needs a factory that takes a URL\."),
        (lambda url: hello(), {"respond": "text"}, r"respond must be a function"),
    ],
)
def test_settings_that_cannot_work(factory: Any, given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_llm(factory, **given)


def test_a_factory_may_have_parameters_with_defaults() -> None:
    assert "long_message" in check_llm(lambda text="Hello", **rest: FunctionLLM(lambda messages: text)).passed


def test_a_check_that_hangs_has_failed() -> None:
    never = threading.Event()
    report = check_llm(lambda: FunctionLLM(lambda messages: never.wait()), timeout=0.05)
    never.set()
    assert report.failed == ["answers_text"]
    assert report["answers_text"].message.startswith("It did not end within 0.05 s: ")


def test_secrets_are_not_in_the_report() -> None:
    def told(messages: Any) -> str:
        raise RuntimeError("The key hunter2-0815 is not good")

    report = check_llm(lambda: FunctionLLM(told), secrets=["hunter2-0815"])
    assert "hunter2-0815" not in str(report)
    assert "The key … is not good" in report["answers_text"].message


def test_skipped_checks_hold_up_none_that_build_on_them() -> None:
    report = check_llm(hello, skip=["answers_text", "many_threads"])
    assert report["answers_text"].message == "Its owner asked for that."
    assert "answers_messages" in report.passed


def test_one_that_refuses_to_be_copied_says_so_clearly() -> None:
    class Bound(FunctionLLM):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("bound to this process")

    assert "copies" in check_llm(lambda: Bound(lambda messages: "Hello"), skip=["many_tasks"]).passed


def test_an_error_that_never_comes_shows_no_secret() -> None:
    report = check_llm(lambda url: hello(), secrets=["never-seen"], skip=["many_tasks", "deadline_ends_it"])
    assert "no_secret_in_errors" in report.passed
    assert "unauthorized" in report.failed
    assert report["unauthorized"].message.startswith("It must be an AuthenticationError, and it returned 'Hello': ")


def test_logging_is_left_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    def told(messages: Any) -> str:
        logging.getLogger("mine").debug("Asked with hunter2-0815")
        return "Hello"

    root = logging.getLogger()
    before = root.level, list(root.handlers)
    report = check_llm(lambda: FunctionLLM(told), secrets=["hunter2-0815"], skip=["many_tasks", "many_threads"])
    assert report.failed == ["no_secret_in_logs"]
    assert (
        report["no_secret_in_logs"].message == "The logger mine was given a secret: log neither headers nor settings."
    )
    assert (root.level, root.handlers) == before
    assert "hunter2-0815" not in caplog.text


def test_failures_can_be_raised() -> None:
    results = (
        CheckResult(name="unicode", says="Letters arrive.", outcome="passed"),
        CheckResult(name="usage", says="Figures are sane.", outcome="failed", message="usage.requests is -1."),
        CheckResult(name="copies", says="It can be copied.", outcome="skipped", message="No."),
    )
    report = ContractReport(llm="MyLLM", results=results)
    assert (report.ok, report.passed, report.failed, report.skipped) == (False, ["unicode"], ["usage"], ["copies"])
    assert str(report).splitlines() == [
        "MyLLM: 1 passed, 1 failed, 1 skipped",
        "  passed   unicode: Letters arrive.",
        "  failed   usage: Figures are sane.",
        "             usage.requests is -1.",
        "  skipped  copies: It can be copied.",
        "             No.",
    ]
    with pytest.raises(
        ContractError, match=r"(?s)\AMyLLM: 1 passed, 1 failed, 1 skipped\n  failed   usage: .* is -1\.\Z"
    ):
        report.raise_for_failures()
    with pytest.raises(KeyError, match="no_such"):
        _ = report["no_such"]


def test_every_check_says_what_it_finds_out() -> None:
    for name, check in CHECKS.items():
        assert check.name == name
        assert check.says.endswith(".")
        assert "\n" not in check.says
        assert set(check.after) < set(CHECKS)


def test_the_place_is_found_among_causes() -> None:
    def fail() -> None:
        raise KeyError("boat")

    def wrap() -> None:
        try:
            fail()
        except KeyError as error:
            raise ValueError("Nothing came") from error

    with pytest.raises(ValueError, match="Nothing came") as caught:
        wrap()
    assert in_words(caught.value).startswith("It raised ValueError in test_check_llm_settings.py, line ")
    assert in_words(OSError("gone")) == "It raised OSError: gone"
