"""A caller's pace around the calls of a run: waited for, where a single question would be refused."""

import pytest

from oarlock.errors import RateLimitError
from oarlock.policies import Budget, RateLimit
from oarlock.serve.pacing import patient
from oarlock.testing import ScriptedLLM, VirtualRuntime


def test_a_run_waits_until_it_may():
    pace = RateLimit(requests_per_minute=60, burst=1, max_wait=0)
    with VirtualRuntime() as runtime:
        llm = ScriptedLLM(["One.", "Two.", "Three."]).with_policies(patient(pace))
        assert [llm.call("Hi") for _ in range(3)] == ["One.", "Two.", "Three."]
        assert runtime.now() >= 2


def test_what_the_endpoint_says_is_passed_on():
    llm = ScriptedLLM([RateLimitError("slow down", status=429, retry_after=50)])
    with VirtualRuntime() as runtime, pytest.raises(RateLimitError, match="slow down"):
        llm.with_policies(patient(RateLimit(requests_per_minute=60, max_wait=0))).call("Hi")
    assert runtime.now() < 1


def test_other_limits_stay_as_they_are():
    budget = Budget(requests=1)
    assert patient(budget) is budget
