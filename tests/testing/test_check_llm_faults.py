"""`check_llm(..., faults=...)`: a user's LLM against the named faults."""

from __future__ import annotations

from typing import Any

import pyreqwest.exceptions  # noqa: F401  in the main thread: loaded first by a thread that ends, it crashes later
import pytest
from contract_llms import KEY, Good, hiding

from oarlock import ChatLLM, ConfigurationError
from oarlock.auth import ApiKey
from oarlock.testing import check_llm
from oarlock.testing.contract.table import CHECKS

OTHERS = [name for name in CHECKS if name not in ("fresh_objects", "needs_only_messages", "answers_text")]


def failed_faults(factory: Any, *names: str, **given: Any) -> dict[str, str]:
    report = check_llm(factory, faults=names, skip=OTHERS, secrets=[KEY], **given)
    assert {f"fault_{name}" for name in names} <= {*report.passed, *report.failed}, str(report)
    return {name.removeprefix("fault_"): report[name].message for name in report.failed}


def test_chat_llm_survives() -> None:
    names = [
        "body_hang",
        "huge_body",
        "redirect_307",
        "fail_twice",
        "throttle_once",
        "reset_then_answer",
        "endless_headers",
    ]
    assert failed_faults(lambda url: ChatLLM("m", url, auth=ApiKey(KEY)), *names) == {}


def test_a_client_that_follows_redirects_does_not() -> None:
    failed = failed_faults(Good, "body_hang", "fail_twice", "redirect_307")
    assert list(failed) == ["redirect_307"]
    assert failed["redirect_307"].startswith(
        "A good client raises BadRequestError; 1 request, and it returned an answer."
    )


def test_an_error_in_the_place_of_an_answer() -> None:
    failed = failed_faults(hiding(503), "fail_once")
    assert "and it raised CallFailedError" in failed["fail_once"]


def test_retries_of_its_own() -> None:
    class Stubborn(Good):
        def post(self, body: Any) -> Any:
            for _ in range(4):
                try:
                    return super().post(body)
                except Exception as error:
                    last = error
            raise last

    assert failed_faults(Stubborn, "status_400")["status_400"].endswith("and it sent 4 requests.")


def test_a_key_in_an_error() -> None:
    class Tells(Good):
        def post(self, body: Any) -> Any:
            try:
                return super().post(body)
            except Exception:
                raise RuntimeError(f"Not with {self.key.reveal()}") from None

    assert failed_faults(Tells, "status_400") == {"status_400": "The error, or its cause, shows a secret."}


def test_a_look_at_another_origin() -> None:
    class Curious(Good):
        def post(self, body: Any) -> Any:
            response = super().post(body)
            if response.history:
                raise ValueError("It has moved")
            return response

    assert "another origin" in failed_faults(Curious, "redirect_307")["redirect_307"]


def test_those_that_cannot_be_tried() -> None:
    names = ["stream_crlf", "tls_expired", "status_500"]
    report = check_llm(Good, faults=names, skip=OTHERS)
    assert [report[f"fault_{name}"].outcome for name in names] == ["skipped", "skipped", "passed"]
    private = check_llm(Good, faults=["status_500"], skip=OTHERS, respond=lambda request, answer: {"a": answer})
    assert private["fault_status_500"].outcome == "skipped"


def test_one_by_one_in_pytest(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_mine="""
from oarlock import ChatLLM
from oarlock.testing import LLMContract

class TestMine(LLMContract):
    faults = ["status_500"]
    skip = ["answers_text"]

    def make_llm(self, url):
        return ChatLLM("m", url)
"""
    )
    result = pytester.runpytest_inprocess(
        "-p", "no:asyncio", "-p", "no:cov", "-p", "no:xdist", "-k", "fault_status_500"
    )
    result.assert_outcomes(passed=1, deselected=len(CHECKS))


def test_an_unknown_fault() -> None:
    with pytest.raises(ConfigurationError, match=r"slow_bodi.*slow_body"):
        check_llm(Good, faults=["slow_bodi"])


pytest_plugins = ["pytester"]
