"""The circuit breaker: when it opens, who may try, what counts, what it says."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from policy_helpers import Watch

from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CallFailedError,
    CircuitOpenError,
    ConfigurationError,
    ConnectionFailedError,
    EmptyReply,
    LLMError,
    LLMTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TruncatedStream,
)
from oarlock.contract.events import CircuitChanged
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies import CircuitBreaker, Metrics, RateLimit, Retry
from oarlock.runtime import Runtime
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

DOWN = ServerError("down", status=503)
REQUEST = Request(messages=[{"role": "user", "content": "Hi"}])  # type: ignore[arg-type]


class Endpoint(FunctionLLM):
    """A model that answers, or fails with what `failing` holds at the time; stands for a named endpoint."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(lambda messages: "ok")
        self.failing: BaseException | None = None
        self._name = name

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        reply = await super()._respond(runtime, request)
        if self.failing is not None:
            raise self.failing
        return reply

    def endpoint_name(self) -> str | None:
        return self._name


def ask(llm: Any, times: int = 1) -> list[str]:
    """Return what each of so many calls came to: the answer, or the name of the error."""
    outcomes = []
    for _ in range(times):
        try:
            outcomes.append(llm.call("Hi"))
        except LLMError as error:
            outcomes.append(type(error).__name__)
    return outcomes


def changes(watch: Watch) -> list[str]:
    return [event.state for event in watch.events if isinstance(event, CircuitChanged)]


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint("gpt-x at https://llm.example.com/v1")


def opened(endpoint: Endpoint, *policies: Any) -> Any:
    """Return the endpoint behind a breaker that it has just opened."""
    llm = endpoint.with_policies(CircuitBreaker(), *policies)
    endpoint.failing = DOWN
    ask(llm, 20)
    return llm


# Opening and closing.


def test_it_opens_tries_and_closes(runtime: VirtualRuntime, watch: Watch, endpoint: Endpoint) -> None:
    with runtime:
        llm = opened(endpoint, watch)
        assert ask(llm, 100) == ["CircuitOpenError"] * 100
        runtime.advance(4.999)
        assert ask(llm) == ["CircuitOpenError"]
        assert len(endpoint.requests) == 20
        runtime.advance(0.001)
        assert ask(llm, 2) == ["ServerError", "CircuitOpenError"]
        runtime.advance(5)
        endpoint.failing = None
        assert ask(llm, 3) == ["ok"] * 3
    assert changes(watch) == ["open", "half_open", "open", "half_open", "closed"]


@pytest.mark.parametrize(("good", "bad", "opens"), [(0, 19, False), (0, 20, True), (11, 10, False), (10, 10, True)])
def test_it_needs_enough_calls_and_enough_failures(
    runtime: VirtualRuntime, endpoint: Endpoint, good: int, bad: int, opens: bool
) -> None:
    llm = endpoint.with_policies(CircuitBreaker())
    with runtime:
        ask(llm, good)
        endpoint.failing = DOWN
        ask(llm, bad)
        assert ask(llm) == (["CircuitOpenError"] if opens else ["ServerError"])


def test_old_calls_are_forgotten(runtime: VirtualRuntime, endpoint: Endpoint) -> None:
    llm = endpoint.with_policies(CircuitBreaker())
    endpoint.failing = DOWN
    with runtime:
        ask(llm, 19)
        runtime.advance(30)
        assert ask(llm, 20) == ["ServerError"] * 20
        assert ask(llm) == ["CircuitOpenError"]


def test_calls_within_the_window_are_not(runtime: VirtualRuntime, endpoint: Endpoint) -> None:
    llm = endpoint.with_policies(CircuitBreaker())
    endpoint.failing = DOWN
    with runtime:
        ask(llm, 19)
        runtime.advance(29)
        assert ask(llm, 2) == ["ServerError", "CircuitOpenError"]


def test_it_begins_anew_once_closed(runtime: VirtualRuntime, endpoint: Endpoint) -> None:
    with runtime:
        llm = opened(endpoint)
        runtime.advance(5)
        endpoint.failing = None
        ask(llm)
        endpoint.failing = DOWN
        assert ask(llm, 20) == ["ServerError"] * 20
        assert ask(llm) == ["CircuitOpenError"]


def test_a_rate_such_as_a_tenth_is_met_exactly(runtime: VirtualRuntime, endpoint: Endpoint) -> None:
    llm = endpoint.with_policies(CircuitBreaker(failure_rate=0.1, minimum_calls=30))
    with runtime:
        ask(llm, 27)
        endpoint.failing = DOWN
        assert ask(llm, 4) == ["ServerError"] * 3 + ["CircuitOpenError"]


# What is said.


def test_the_error_says_why_and_for_how_long(runtime: VirtualRuntime, endpoint: Endpoint) -> None:
    with runtime:
        llm = opened(endpoint)
        runtime.advance(1.5)
        with pytest.raises(CircuitOpenError) as caught:
            llm.call("Hi")
    assert str(caught.value) == (
        "gpt-x at https://llm.example.com/v1 was not asked: 20 of 20 calls within 30 s failed, the last with ServerError "
        "(HTTP 503). The next call may try it in 3.5 s."
    )
    assert (caught.value.retry_after, caught.value.retryable, caught.value.attempts) == (3.5, False, 0)


def test_the_error_after_a_failed_try(runtime: VirtualRuntime) -> None:
    endpoint = Endpoint()
    with runtime:
        llm = opened(endpoint)
        runtime.advance(5)
        endpoint.failing = ConnectionFailedError("refused")
        ask(llm)
        with pytest.raises(CircuitOpenError) as caught:
            llm.call("Hi")
    assert str(caught.value) == (
        "The endpoint was not asked: a call that tried it again failed with ConnectionFailedError. "
        "The next call may try it in 5.0 s."
    )


def test_the_events(runtime: VirtualRuntime, watch: Watch, endpoint: Endpoint) -> None:
    with runtime:
        llm = opened(endpoint, watch)
        runtime.advance(5)
        endpoint.failing = None
        ask(llm)
    name = endpoint.endpoint_name()
    why = "20 of 20 calls within 30 s failed, the last with ServerError (HTTP 503)"
    assert watch.events == [
        CircuitChanged(endpoint=name, state="open", why=why, seconds=5.0),
        CircuitChanged(endpoint=name, state="half_open"),
        CircuitChanged(endpoint=name, state="closed"),
    ]


def test_it_explains_itself() -> None:
    assert CircuitBreaker().explain() == (
        "Stops asking an endpoint for 5 s once 50 % of at least 20 calls within 30 s have failed (a lost connection, a "
        "timeout, a 5xx or a cut stream), then lets one call at a time try it: a success ends the pause, a failure begins "
        "it anew."
    )
    assert "(by the rule of trip_on)" in CircuitBreaker(trip_on=lambda error: True).explain()


# What counts.

FAILURES = [
    ServerError("x", status=500),
    ServerError("x", status=501, retryable=False),
    ConnectionFailedError("x"),
    ConnectionFailedError("bad certificate", retryable=False),
    LLMTimeoutError("x"),
    LLMTimeoutError("x", status=408, retryable=False),
    TruncatedStream("x"),
]
SUCCESSES = [
    RateLimitError("x", status=429),
    QuotaExceededError("x", status=429),
    AuthenticationError("x", status=401),
    BadRequestError("x", status=400),
    EmptyReply("x"),
]
NEITHER = [
    ConnectionFailedError("no store", code="limit_store"),
    LLMTimeoutError("no time was left to send it", retryable=False),
    RateLimitError("the limiter's own", retryable=False),
    AuthenticationError("no token could be had"),
    CallFailedError("x"),
    CircuitOpenError("one further inside"),
    BudgetExceededError("x"),
    KeyError("x"),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
]


def outcome(llm: Any) -> str:
    try:
        llm.call("Hi")
    except BaseException as error:  # also cancelling
        return type(error).__name__
    return "ok"


@pytest.mark.parametrize("error", [*FAILURES, *SUCCESSES, *NEITHER], ids=repr)
def test_what_counts_as_what(runtime: VirtualRuntime, endpoint: Endpoint, error: BaseException) -> None:
    """A failure opens it, also when it is tried again; a success closes it; what is neither leaves the try to the next."""
    with runtime:
        llm = opened(endpoint)
        runtime.advance(5)
        endpoint.failing = error
        assert outcome(llm) == type(error).__name__
        endpoint.failing = DOWN
        after = [outcome(llm) for _ in range(2)]
    if error in FAILURES:
        assert after == ["CircuitOpenError"] * 2
    elif error in SUCCESSES:
        assert after == ["ServerError"] * 2
    else:
        assert after == ["ServerError", "CircuitOpenError"]


@pytest.mark.parametrize("error", [*SUCCESSES, *NEITHER], ids=repr)
def test_what_never_opens_it(runtime: VirtualRuntime, endpoint: Endpoint, error: BaseException) -> None:
    llm = endpoint.with_policies(CircuitBreaker())
    endpoint.failing = error
    with runtime:
        assert [outcome(llm) for _ in range(50)] == [type(error).__name__] * 50


def test_trip_on_decides(runtime: VirtualRuntime, endpoint: Endpoint) -> None:
    llm = endpoint.with_policies(CircuitBreaker(trip_on=lambda error: isinstance(error, RateLimitError)))
    with runtime:
        endpoint.failing = DOWN
        assert ask(llm, 30) == ["ServerError"] * 30
        endpoint.failing = RateLimitError("busy", status=429)
        assert ask(llm, 31) == ["RateLimitError"] * 30 + ["CircuitOpenError"]


def test_a_rule_that_fails_does_not_keep_the_place(runtime: VirtualRuntime, endpoint: Endpoint) -> None:
    rule = {"broken": False}

    def trip_on(error: LLMError) -> bool:
        return not rule["broken"] or bool(1 / 0)

    llm = endpoint.with_policies(CircuitBreaker(trip_on=trip_on))
    endpoint.failing = DOWN
    with runtime:
        ask(llm, 20)
        runtime.advance(5)
        rule["broken"] = True
        with pytest.raises(ZeroDivisionError):
            llm.call("Hi")
        rule["broken"], endpoint.failing = False, None
        assert ask(llm) == ["ok"]


# Other policies.


def test_a_retry_outside_gives_up_at_once(runtime: VirtualRuntime) -> None:
    endpoint = Endpoint()
    with runtime:
        llm = opened(endpoint, Retry())
        with pytest.raises(CircuitOpenError) as caught:
            llm.call("Hi")
        assert (len(endpoint.requests), caught.value.attempts) == (20, 0)
        runtime.advance(5)
        with pytest.raises(CircuitOpenError) as caught:
            llm.call("Hi")
        assert (len(endpoint.requests), caught.value.attempts) == (21, 1)


def test_a_refused_call_takes_no_place_in_the_rate_limit(runtime: VirtualRuntime, endpoint: Endpoint) -> None:
    with runtime:
        llm = opened(endpoint, RateLimit(60, burst=20), Metrics())
        ask(llm, 100)
    assert runtime.slept == []
    assert llm.get_metrics()["errors_by_class"] == {"ServerError": 20, "CircuitOpenError": 100}


# Whose circuit.


def test_llms_of_one_endpoint_share_the_circuit_of_one_breaker(runtime: VirtualRuntime) -> None:
    breaker = CircuitBreaker()
    first, second, other = Endpoint("a"), Endpoint("a"), Endpoint("b")
    first.failing = DOWN
    with runtime:
        ask(first.with_policies(breaker), 20)
        assert ask(second.with_policies(breaker)) == ["CircuitOpenError"]
        assert ask(other.with_policies(breaker)) == ["ok"]
        assert ask(second.with_policies(CircuitBreaker())) == ["ok"]


def test_an_llm_without_a_name_has_its_own(runtime: VirtualRuntime) -> None:
    breaker = CircuitBreaker()
    first, second = Endpoint(), Endpoint()
    first.failing = DOWN
    with runtime:
        assert ask(first.with_policies(breaker), 21)[-1] == "CircuitOpenError"
        assert ask(second.with_policies(breaker)) == ["ok"]


def test_it_works_without_an_llm(runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([lambda request: DOWN] * 30)
    handler = CircuitBreaker()(llm.handle_request)
    kinds = []
    for _ in range(21):
        with pytest.raises(LLMError) as caught:
            runtime.run(handler(runtime, REQUEST))  # type: ignore[arg-type]
        kinds.append(type(caught.value))
    assert kinds == [ServerError] * 20 + [CircuitOpenError]


def test_endpoints_without_end_are_forgotten(runtime: VirtualRuntime) -> None:
    breaker = CircuitBreaker(minimum_calls=1)
    endpoints = [Endpoint(f"number {number}") for number in range(1001)]
    with runtime:
        for endpoint in endpoints:
            endpoint.failing = DOWN
            ask(endpoint.with_policies(breaker))
        assert ask(endpoints[-1].with_policies(breaker)) == ["CircuitOpenError"]
        assert ask(endpoints[0].with_policies(breaker)) == ["ServerError"]


def test_a_copy_shares_and_a_pickle_begins_anew(runtime: VirtualRuntime) -> None:
    breaker = CircuitBreaker(failure_rate=0.25, minimum_calls=2, window=10, open_for=1)
    assert copy.copy(breaker) is copy.deepcopy(breaker) is breaker
    endpoint = Endpoint("a")
    endpoint.failing = DOWN
    again = pickle.loads(pickle.dumps(breaker))
    with runtime:
        assert ask(endpoint.with_policies(breaker), 3)[-1] == "CircuitOpenError"
        assert ask(endpoint.with_policies(again)) == ["ServerError"]
    assert repr(again) == repr(breaker) == "CircuitBreaker(failure_rate=0.25, minimum_calls=2, window=10, open_for=1)"


# Side by side.


def test_calls_under_way_when_it_opens_count_no_more(runtime: VirtualRuntime, watch: Watch) -> None:
    llm = ScriptedLLM([lambda request: DOWN] * 40, latency=1).with_policies(watch, CircuitBreaker())

    async def job() -> str:
        with pytest.raises(LLMError) as caught:
            await llm.acall("Hi")
        return type(caught.value).__name__

    async def crowd() -> list[str]:
        return await runtime.gather(*[job] * 40)

    assert runtime.run(crowd()) == ["ServerError"] * 40
    assert changes(watch) == ["open"]


def test_one_call_at_a_time_tries(runtime: VirtualRuntime, watch: Watch) -> None:
    llm = ScriptedLLM([lambda request: DOWN] * 20 + ["ok"] * 10, latency=1)
    policed = llm.with_policies(watch, CircuitBreaker())

    async def job() -> str:
        try:
            return str(await policed.acall("Hi"))
        except CircuitOpenError as error:
            return f"{'just trying' in str(error)} {error.retry_after}"

    async def crowd() -> list[str]:
        return await runtime.gather(*[job] * 5)

    with runtime:
        ask(policed, 20)
        runtime.advance(5)
    assert runtime.run(crowd()) == ["ok", *["True 5.0"] * 4]
    assert changes(watch) == ["open", "half_open", "closed"]


async def test_a_cancelled_try_leaves_its_place_to_the_next() -> None:
    began, answers = asyncio.Event(), asyncio.Event()

    class Hanging(Endpoint):
        async def _respond(self, runtime: Runtime, request: Request) -> Reply:
            if self.failing is None:
                began.set()
                await answers.wait()
            return await super()._respond(runtime, request)

    endpoint = Hanging("a")
    llm = endpoint.with_policies(CircuitBreaker(minimum_calls=1, open_for=1e-9))
    endpoint.failing = DOWN
    with pytest.raises(ServerError):
        await llm.acall("Hi")
    endpoint.failing = None
    task = asyncio.ensure_future(llm.acall("Hi"))
    await began.wait()
    with pytest.raises(CircuitOpenError, match="just trying"):
        await llm.acall("Hi")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answers.set()
    assert await llm.acall("Hi") == "ok"


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_a_stream_that_its_reader_leaves_counts_as_neither(runtime: VirtualRuntime, watch: Watch, how: str) -> None:
    llm = ScriptedLLM([DOWN, "a b c", "ok"]).with_policies(watch, CircuitBreaker(minimum_calls=1))
    with runtime:
        ask(llm)
        runtime.advance(5)
        stream = llm.stream("Hi")
        assert str(next(stream)) == "a "
        assert ask(llm) == ["CircuitOpenError"]
        if how == "closed":
            stream.close()
        del stream
        assert changes(watch) == ["open", "half_open"]
        assert ask(llm) == ["ok"]
    assert changes(watch) == ["open", "half_open", "closed"]


def test_a_lost_try_makes_room_after_the_window(runtime: VirtualRuntime, endpoint: Endpoint) -> None:
    llm = ScriptedLLM([DOWN, "a b c", "ok"]).with_policies(CircuitBreaker(minimum_calls=1))
    with runtime:
        ask(llm)
        runtime.advance(5)
        stream = llm.stream("Hi")
        next(stream)
        runtime.advance(29.9)
        assert ask(llm) == ["CircuitOpenError"]
        runtime.advance(0.2)
        assert ask(llm) == ["ok"]
        assert [str(delta) for delta in stream] == ["b ", "c"]


# Settings.


@pytest.mark.parametrize("name", ["failure_rate", "window", "open_for"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "5", None])
def test_numbers(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"CircuitBreaker: {name} must be a finite number, above zero"):
        CircuitBreaker(**{name: value})


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", None])
def test_minimum_calls(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="CircuitBreaker: minimum_calls must be a whole number of at least 1"):
        CircuitBreaker(minimum_calls=value)


def test_a_rate_is_a_share() -> None:
    CircuitBreaker(failure_rate=1)
    with pytest.raises(ConfigurationError, match=r"failure_rate must be a share, above 0 and at most 1, not 50"):
        CircuitBreaker(failure_rate=50)


@pytest.mark.parametrize("value", [5, "x", True, []])
def test_trip_on_is_a_function(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="CircuitBreaker: trip_on must be a function of an error, not"):
        CircuitBreaker(trip_on=value)


# Any order of events, against a naive model.


class Suspended:
    """Awaited by a call of the machine below; the machine decides how it goes on."""

    def __await__(self) -> Generator[None, None, Reply]:
        yield
        return Reply(text="ok")


async def suspended(runtime: Runtime, request: Request) -> Reply:
    return await Suspended()


class Machine(RuleBasedStateMachine):
    """Calls begin and end in any order while time passes; the naive model keeps every call and looks at all of them."""

    WINDOW, OPEN_FOR, MINIMUM, RATE = 30.0, 5.0, 4, 0.5

    def __init__(self) -> None:
        super().__init__()
        self.runtime = VirtualRuntime()
        breaker = CircuitBreaker(failure_rate=self.RATE, minimum_calls=self.MINIMUM)
        self.handler = breaker(suspended)
        self.under_way: list[tuple[Any, object]] = []
        self.ended: list[tuple[int, bool]] = []  # second, failed: of calls in the present closed state
        self.state = "closed"
        self.period = object()  # what a call belongs to: a closed state, or one try
        self.opened = self.tried = -math.inf
        self.trying = False

    @rule()
    def begin(self) -> None:
        call: Any = self.handler(self.runtime, REQUEST)
        now = self.runtime.now()
        if self.state == "open" and now >= self.opened + self.OPEN_FOR:
            self.state, self.trying = "half_open", False
        allowed = self.state == "closed"
        if self.state == "half_open" and (not self.trying or now >= self.tried + self.WINDOW):
            allowed, self.trying, self.tried, self.period = True, True, now, object()
        if allowed:
            call.send(None)
            self.under_way.append((call, self.period))
        else:
            with pytest.raises(CircuitOpenError) as caught:
                call.send(None)
            expected = self.OPEN_FOR if self.state == "half_open" else self.opened + self.OPEN_FOR - now
            assert caught.value.retry_after == pytest.approx(expected)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), how=st.sampled_from(["good", "bad", "bad", "refused", "left"]))
    def end(self, data: st.DataObject, how: str) -> None:
        index = data.draw(st.integers(0, len(self.under_way) - 1))
        call, period = self.under_way.pop(index)
        if how == "good":
            with pytest.raises(StopIteration):
                call.send(None)
        elif how == "left":
            call.close()
        else:
            with pytest.raises(LLMError):
                call.throw(ServerError("x") if how == "bad" else BadRequestError("x", status=400))
        if period is self.period:
            self.count({"bad": True, "left": None}.get(how, False))

    def count(self, failed: bool | None) -> None:
        now = self.runtime.now()
        if self.state == "half_open":
            self.trying = False
            if failed:
                self.open()
            elif failed is False:
                self.state, self.period, self.ended = "closed", object(), []
        elif failed is not None:
            self.ended.append((math.floor(now), failed))
            recent = [failed for second, failed in self.ended if second > math.floor(now) - self.WINDOW]
            if len(recent) >= self.MINIMUM and sum(recent) >= self.RATE * len(recent):
                self.open()

    def open(self) -> None:
        self.state, self.opened, self.period = "open", self.runtime.now(), object()

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.75, 5.0, 12.5, 29.75, 30.0]))
    def wait(self, seconds: float) -> None:
        self.runtime.advance(seconds)

    @invariant()
    def at_most_one_tries(self) -> None:
        if self.state == "half_open":
            assert sum(period is self.period for _, period in self.under_way) <= 1

    def teardown(self) -> None:
        for call, _ in self.under_way:
            call.close()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
