"""Another model in place of one that has failed: when, which, with what, and what is said if none answers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from policy_helpers import Watch

from oarlock import ChatLLM
from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CallFailedError,
    CircuitOpenError,
    ConfigurationError,
    ConnectionFailedError,
    ContentFilterError,
    ContextWindowExceededError,
    EmptyReply,
    LLMError,
    LLMTimeoutError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TruncatedStream,
)
from oarlock.contract.events import FellBack
from oarlock.contract.llm import BaseLLM
from oarlock.contract.messages import ToolSchema
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.policies import Deadline, Fallback, Metrics, RateLimit, Retry
from oarlock.testing import FunctionLLM, Hang, LoopbackEndpoint, ScriptedLLM, VirtualRuntime

QUESTION: Any = [{"role": "user", "content": "Hi"}]
TOOL: ToolSchema = {"type": "function", "function": {"name": "look", "parameters": {}}}


def failing(
    error: Callable[[], LLMError] | LLMError, model: str = "first", times: int = 20, **kwargs: Any
) -> ScriptedLLM:
    return ScriptedLLM([error] * times, model=model, **kwargs)


def down() -> ScriptedLLM:
    return failing(ServerError("down"))


def second(*answers: Any, **kwargs: Any) -> ScriptedLLM:
    return ScriptedLLM(list(answers) or ["from the second"], model="second", **kwargs)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailedError("refused"),
        LLMTimeoutError("slow"),
        ServerError("down"),
        CircuitOpenError("open"),
        RateLimitError("busy"),
        QuotaExceededError("empty"),
    ],
)
async def test_outages_and_limits_lead_to_the_next_in_both_colours(error: LLMError) -> None:
    llm = failing(error).with_policies(Fallback(second("one", "two")))
    assert llm.call("Hi") == "one"
    assert await llm.acall("Hi") == "two"


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("wrong key"),
        PermissionDeniedError("no"),
        BadRequestError("what?"),
        ContextWindowExceededError("long"),
        ContentFilterError("filtered"),
        EmptyReply("nothing"),
        CallFailedError("a bug"),
    ],
)
def test_other_failures_do_not(error: LLMError) -> None:
    other = second()
    with pytest.raises(type(error)) as caught:
        failing(error).with_policies(Fallback(other)).call("Hi")
    assert caught.value is error
    assert not hasattr(caught.value, "__notes__")
    assert other.requests == []


def test_errors_that_are_no_failed_call_pass() -> None:
    with pytest.raises(BudgetExceededError):
        ScriptedLLM([BudgetExceededError("spent")]).with_policies(Fallback(second(), on=LLMError)).call("Hi")


def test_on_names_the_errors() -> None:
    filtered = failing(ContentFilterError("filtered"))
    for on in (ContentFilterError, [ServerError, ContentFilterError], (LLMError,)):
        assert filtered.with_policies(Fallback(second(), on=on)).call("Hi") == "from the second"
    with pytest.raises(ServerError):
        down().with_policies(Fallback(second(), on=ContentFilterError)).call("Hi")


def test_each_error_may_have_its_own() -> None:
    big, cheap, other = (FunctionLLM(lambda messages: None, model=name) for name in ("big", "cheap", "other"))
    for llm in (big, cheap, other):
        llm.function = lambda messages, name=llm.model: name
    policy = Fallback(other, by_error={ContextWindowExceededError: big, QuotaExceededError: [cheap]})

    def answer(error: LLMError) -> Any:
        return failing(error).with_policies(policy).call("Hi")

    assert answer(ContextWindowExceededError("long")) == "big"
    assert answer(QuotaExceededError("empty")) == "cheap"
    assert answer(RateLimitError("busy")) == "other"
    with pytest.raises(BadRequestError):
        answer(BadRequestError("what?"))


def test_the_nearest_class_counts_and_the_general_ones_come_after() -> None:
    nearest = failing(ServerError("down too"), "nearest")
    wide, last = second("wide"), ScriptedLLM(["last"], model="last")
    policy = Fallback(last, by_error={RateLimitError: wide, QuotaExceededError: nearest})
    assert failing(QuotaExceededError("empty")).with_policies(policy).call("Hi") == "last"
    assert (len(nearest.requests), len(wide.requests)) == (1, 0)


def test_a_fallbacks_own_failure_may_name_another() -> None:
    """The first is down; the second finds the question too long; there is one for long questions."""
    big = ScriptedLLM(["big"], model="big")
    policy = Fallback(second(ContextWindowExceededError("long")), by_error={ContextWindowExceededError: big})
    assert down().with_policies(policy).call("Hi") == "big"


def test_each_is_asked_once() -> None:
    other = failing(ServerError("down too"), "second")
    with pytest.raises(ServerError):
        down().with_policies(Fallback(other, other, by_error={ServerError: other})).call("Hi")
    assert len(other.requests) == 1


def test_retries_come_first(runtime: VirtualRuntime) -> None:
    first, other = down(), second(ServerError("hiccup"), "ok")
    with runtime:
        assert first.with_policies(Fallback(other.with_policies(Retry(2))), Retry(3)).call("Hi") == "ok"
    assert (len(first.requests), len(other.requests)) == (3, 2)


def test_when_all_fail_the_first_error_tells_of_the_others(runtime: VirtualRuntime) -> None:
    other, third = failing(AuthenticationError("wrong key"), "second"), failing(RateLimitError("busy"), "third")
    llm = down().with_policies(Fallback(other, third.with_policies(Retry(4))), Retry(3))
    with runtime, pytest.raises(ServerError, match="down") as caught:
        llm.call("Hi")
    assert caught.value.__notes__ == [
        "second was asked instead and failed: AuthenticationError: wrong key",
        "third was asked instead and failed: RateLimitError: busy",
    ]
    assert caught.value.attempts == 3 + 1 + 4
    assert caught.value.elapsed == runtime.now() > 0
    assert pickle.loads(pickle.dumps(caught.value)).__notes__ == caught.value.__notes__


def test_an_error_raised_again_is_not_noted_twice() -> None:
    error = ServerError("down")
    llm = failing(error).with_policies(Fallback(failing(ServerError("down too"), "second")))
    for _ in range(3):
        with pytest.raises(ServerError):
            llm.call("Hi")
    assert len(error.__notes__) == 1


def test_the_reply_says_who_answered_and_what_it_cost() -> None:
    usage = Usage(prompt_tokens=3, completion_tokens=4, requests=1)
    said = ["unsigned", Reply(text="signed", usage=usage, model="second-2026")]
    llm = down().with_policies(Fallback(second(*said)))
    assert llm.complete(Request(messages=QUESTION)).model == "second"
    reply = llm.complete(Request(messages=QUESTION))
    assert (reply.model, reply.usage) == ("second-2026", usage)


def test_everything_of_the_request_goes_on(runtime: VirtualRuntime) -> None:
    other = second(supports_function_calling=True)
    request = Request(
        messages=QUESTION,
        tools=[TOOL],
        stop=("END",),
        temperature=0.5,
        max_tokens=9,
        timeout=7,
        json_schema={},
        deadline=50,
    )
    with runtime:
        down().with_policies(Deadline(60), Fallback(other)).complete(request)
    seen = other.requests[0]
    for name in (
        "messages",
        "tools",
        "stop",
        "temperature",
        "max_tokens",
        "timeout",
        "json_schema",
        "deadline",
        "retried",
    ):
        assert getattr(seen, name) == getattr(request, name)


def test_another_models_request_has_another_idempotency_key(runtime: VirtualRuntime) -> None:
    first, other, third = down(), failing(ServerError("x"), "a\r\nb"), ScriptedLLM(["ok"] * 9, model="third")
    llm = first.with_policies(Fallback(other.with_policies(Retry(2)), third))
    with runtime:
        llm.complete(Request(messages=QUESTION, idempotency_key="k"))
    keys = [[request.idempotency_key for request in one.requests] for one in (first, other, third)]
    assert keys == [["k"], ["k-1", "k-1"], ["k-2"]]
    assert llm.call("Hi") == "ok"
    assert third.requests[-1].idempotency_key is None


def test_no_other_without_time(runtime: VirtualRuntime) -> None:
    other = second()
    first = ScriptedLLM([ServerError("down")], latency=5)
    with runtime, pytest.raises(LLMError) as caught:
        first.with_policies(Deadline(5), Fallback(by_error={ServerError: other})).call("Hi")
    assert other.requests == []
    assert getattr(caught.value, "__notes__", []) in ([], ["second was not asked instead: no time was left."])


def test_one_that_hangs_leaves_time_for_the_others(runtime: VirtualRuntime) -> None:
    hanging, other, third = (ScriptedLLM(["late"], latency=100, model=name) for name in ("first", "second", "third"))
    with runtime, pytest.raises(LLMTimeoutError) as caught:
        hanging.with_policies(Deadline(60), Fallback(other, third.with_policies(Deadline(90)))).call("Hi")
    assert runtime.now() == 60
    assert [llm.requests[0].deadline for llm in (hanging, other, third)] == [20, 40, 60]
    assert len(caught.value.__notes__) == 2


def test_what_the_first_leaves_of_its_share_is_for_the_others(runtime: VirtualRuntime) -> None:
    other = second("in time", latency=55)
    with runtime:
        assert down().with_policies(Deadline(60), Fallback(other)).call("Hi") == "in time"
    assert other.requests[0].deadline == 60


def test_without_others_for_a_timeout_the_first_has_all_the_time(runtime: VirtualRuntime) -> None:
    slow = ScriptedLLM(["in time"], latency=55)
    with runtime:
        llm = slow.with_policies(Deadline(60), Fallback(by_error={ServerError: second()}))
        assert llm.call("Hi") == "in time"


def test_a_chat_llm_that_hangs_falls_back_by_default() -> None:
    with LoopbackEndpoint(Hang()) as endpoint:
        llm = ChatLLM("m", endpoint.url, timeout=0.2).with_policies(Fallback(second("ready")))
        assert llm.call("Hi") == "ready"


def test_tools_are_never_lost_in_silence() -> None:
    without, capable = second(), ScriptedLLM(["ok"], model="capable", supports_function_calling=True)
    request = Request(messages=QUESTION, tools=[TOOL])
    first = failing(ServerError("down"), supports_function_calling=True)
    assert first.with_policies(Fallback(without, capable)).complete(request).text == "ok"
    assert without.requests == []
    with pytest.raises(ServerError) as caught:
        failing(ServerError("down")).with_policies(Fallback(without)).complete(request)
    (note,) = caught.value.__notes__[-1:]
    assert "the request offers tools, and it does not support function calling" in note
    assert first.with_policies(Fallback(without)).call("Hi") == "from the second"


class BreaksOff(BaseLLM):
    """Gives a word of a stream, then breaks."""

    async def _respond(self, runtime: Any, request: Request) -> Reply:
        if request.deltas is not None:
            from oarlock.contract.reply import Delta

            await request.deltas.put(Delta("Once"))
        raise TruncatedStream("cut", text="Once")


async def test_streams_fall_back_before_their_first_piece_only() -> None:
    llm = down().with_policies(Fallback(second("a b", "c d")))
    with llm.stream("Hi") as stream:
        assert [str(delta) for delta in stream] == ["a ", "b"]
    assert stream.reply.model == "second"
    assert [str(delta) async for delta in llm.astream("Hi")] == ["c ", "d"]
    other = second()
    pieces: list[str] = []
    with pytest.raises(TruncatedStream) as caught:
        pieces.extend(map(str, BreaksOff().with_policies(Fallback(other, on=LLMError)).stream("Hi")))
    assert (pieces, other.requests) == (["Once"], [])
    assert "a part of the answer had been handed out" in caught.value.__notes__[0]


def test_a_stream_that_a_fallback_broke_off_ends_there() -> None:
    third = ScriptedLLM(["unasked"])
    with pytest.raises(ServerError):
        list(down().with_policies(Fallback(BreaksOff(), third)).stream("Hi"))
    assert third.requests == []


def test_what_happens_is_told(watch: Watch) -> None:
    other, third = failing(RateLimitError("busy"), "second"), ScriptedLLM(["ok"], model="third")
    metrics = Metrics()
    down().with_policies(watch, metrics, Fallback(other, third)).call("Hi")
    events = [event for event in watch.events if isinstance(event, FellBack)]
    assert [(one.from_model, one.to_model, type(one.error).__name__) for one in events] == [
        ("first", "second", "ServerError"),
        ("second", "third", "RateLimitError"),
    ]


def test_waits_inside_a_fallback_are_told_too(runtime: VirtualRuntime, watch: Watch) -> None:
    other = second("ok", "ok").with_policies(RateLimit(1))
    llm = down().with_policies(watch, Fallback(other))
    with runtime:
        llm.call("Hi")
        llm.call("Hi")
    assert [wait.cause for wait in watch.waits] == ["rate_limit"]


def test_fallbacks_of_fallbacks() -> None:
    last = ScriptedLLM(["last"], model="last")
    middle = failing(ServerError("down too"), "middle").with_policies(Fallback(last))
    reply = down().with_policies(Fallback(middle)).complete(Request(messages=QUESTION))
    assert (reply.text, reply.model) == ("last", "last")


def test_a_retry_around_everything_lets_nobody_inside_retry(runtime: VirtualRuntime) -> None:
    other = failing(ServerError("down too"), "second")

    class Asks(BaseLLM):
        inner_llm = down().with_policies(Fallback(other.with_policies(Retry(5))), Retry(5))

        def call(self, messages: Any) -> Any:
            return self.inner_llm.call(messages)

    with runtime, pytest.raises(ServerError):
        Asks().with_policies(Retry(2)).call("Hi")
    assert len(other.requests) == 2


def test_used_as_a_plain_policy() -> None:
    handler = Fallback(second())(down().handle_request)
    runtime = VirtualRuntime()
    assert runtime.run(handler(runtime, Request(messages=QUESTION))).text == "from the second"  # type: ignore[arg-type]


@pytest.mark.parametrize("wrap", [lambda llm: llm, lambda llm: llm.with_policies(Retry())])
def test_no_llm_is_its_own_fallback(wrap: Callable[[BaseLLM], BaseLLM]) -> None:
    llm = down()
    with pytest.raises(ConfigurationError, match="first is given as its own fallback"):
        llm.with_policies(Fallback(second(), wrap(llm)))
    with pytest.raises(ConfigurationError, match="first is given as its own fallback"):
        wrap(llm).with_policies(Fallback(by_error={ServerError: llm}))


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "nobody": (Fallback, "give an LLM to ask instead"),
    "nobody by error": (lambda: Fallback(by_error={}), "give an LLM to ask instead"),
    "on without llm": (lambda: Fallback(on=ServerError, by_error={ServerError: second()}), "on says when to ask"),
    "a name": (lambda: Fallback("gpt"), "was given a str"),  # type: ignore[arg-type]
    "a class": (lambda: Fallback(ScriptedLLM), "was given the class ScriptedLLM"),  # type: ignore[arg-type]
    "a mapping": (lambda: Fallback({ServerError: 1}), "was given a dict. Errors go into on= or by_error="),  # type: ignore[arg-type]
    "no class": (lambda: Fallback(second(), on=ServerError("x")), "on takes LLMError and its subclasses"),  # type: ignore[arg-type]
    "a builtin": (lambda: Fallback(second(), on=TimeoutError), "such as ServerError or LLMTimeoutError, not"),  # type: ignore[arg-type]
    "none": (lambda: Fallback(second(), on=[]), "on is empty"),
    "by name": (lambda: Fallback(by_error={"ServerError": second()}), "by_error takes LLMError and its subclasses"),  # type: ignore[dict-item]
    "by pairs": (lambda: Fallback(by_error=[(ServerError, second())]), "by_error must be a mapping"),  # type: ignore[arg-type]
    "by error, nobody": (lambda: Fallback(by_error={ServerError: []}), "an error for which no LLM is given"),
    "by error, a name": (lambda: Fallback(by_error={ServerError: ["gpt"]}), "was given a str"),  # type: ignore[list-item]
}


@pytest.mark.parametrize(("make", "said"), WRONG.values(), ids=WRONG)
def test_settings_that_cannot_work(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^Fallback: .*{said}"):
        make()


def test_in_words() -> None:
    other = second(supports_function_calling=True)
    assert repr(Fallback(other)) == "Fallback(second)"
    both = Fallback(other, on=[ServerError, EmptyReply], by_error={QuotaExceededError: [down(), other]})
    assert repr(both) == "Fallback(second, on=[ServerError, EmptyReply], by_error={QuotaExceededError: first, second})"
    assert "for good: after ServerError asks second. Not" in Fallback(by_error={ServerError: other}).explain()
    assert Fallback(other).explain() == (
        "When a call has failed for good: after an outage or a limit asks second. Not once a stream has begun. "
        "Each has an even share of the time to the deadline."
    )
    assert both.explain() == (
        "When a call has failed for good: after ServerError or EmptyReply asks second; after QuotaExceededError asks "
        "first, then second. Not once a stream has begun. Requests that offer tools pass over first: no function "
        "calling there."
    )
