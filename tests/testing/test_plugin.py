"""`LLMContract` and the plugin as their users meet them: in a pytest run of their own."""

from __future__ import annotations

import subprocess
import sys

import pyreqwest.exceptions  # noqa: F401  in the main thread: loaded first by a thread that ends, it crashes later
import pytest

from oarlock import ChatLLM
from oarlock.testing import LLMContract
from oarlock.testing.contract.table import CHECKS

pytest_plugins = ["pytester"]

PLUGIN = "oarlock.testing.pytest_plugin"
PLAIN = ["-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:xdist", "-p", "no:cov", "-p", "no:randomly"]


class TestChatLLM(LLMContract):
    """The three lines that a user writes; this run collects them too."""

    def make_llm(self, url: str) -> ChatLLM:
        return ChatLLM("m", url)


USERS_TESTS = """
from oarlock import BaseLLM
from oarlock.testing import FunctionLLM, LLMContract

class TestEcho(LLMContract):
    echo = True
    skip = ["many_tasks"]

    def make_llm(self):
        return FunctionLLM(lambda messages: messages[-1]["content"])

class TestNone(LLMContract):
    secrets = ["canary-4711"]
    timeout = 20

    def make_llm(self, url):
        class SaysNone(BaseLLM):
            key = "canary-4711"

            def call(self, messages):
                return None
        return SaysNone()

    def respond(self, request, answer):
        return {"a": answer}

class TestUnsaid(LLMContract):
    pass
"""


def test_each_check_is_a_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mine=USERS_TESTS)
    result = pytester.runpytest_inprocess(*PLAIN, "-p", PLUGIN, "-rf")
    outcomes = result.parseoutcomes()
    assert sum(outcomes[one] for one in ("passed", "failed", "skipped")) == 3 * len(CHECKS)
    assert outcomes["failed"] == 2
    result.stdout.fnmatch_lines(
        [
            "*It answers a plain text. It raised EmptyReply: SaysNone.call() returned None.*",
            "*TestUnsaid does not say how to make the LLM: write make_llm(self, url).*",
            "*oarlock: the contract of FunctionLLM (TestEcho)*",
            "FunctionLLM: * passed, 0 failed, * skipped",
            "  passed   answers_not_mixed_up: *",
            "  skipped  unauthorized: *",
            "             It needs an endpoint of ours: *",
            "*oarlock: the contract of SaysNone (TestNone)*",
            "SaysNone: * passed, 1 failed, * skipped",
            "             It can show nothing as long as answers_text fails.",
            "FAILED test_mine.py::TestNone::test_contract[[]answers_text[]]*",
            "FAILED test_mine.py::TestUnsaid::test_contract[[]fresh_objects[]]*",
        ]
    )


def test_one_check_alone_runs_those_that_it_builds_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mine=USERS_TESTS)
    result = pytester.runpytest_inprocess(*PLAIN, "-p", PLUGIN, "-k", "TestNone and works_in_a_crew", "-rs")
    result.assert_outcomes(skipped=1, deselected=3 * len(CHECKS) - 1)
    result.stdout.fnmatch_lines(["SKIPPED *It can show nothing as long as answers_text fails."])


def test_a_run_without_contracts_prints_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_other="def test_it(): pass")
    result = pytester.runpytest_inprocess(*PLAIN, "-p", PLUGIN)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*oarlock*contract*")


def test_without_the_plugin_there_is_no_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mine=USERS_TESTS)
    result = pytester.runpytest_inprocess(*PLAIN, "-k", "TestEcho and answers_text")
    result.assert_outcomes(passed=1, deselected=3 * len(CHECKS) - 1)
    result.stdout.no_fnmatch_line("*oarlock: the contract of*")


def test_nobody_loads_the_plugin_unasked() -> None:
    program = (
        "import sys, pytest; pytest.main(['--version']); print([n for n in sys.modules if n.startswith('oarlock')])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
