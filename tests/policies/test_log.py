"""What stands in the log, and what does not."""

from __future__ import annotations

import logging
import pickle

import pytest

from oarlock.contract.errors import AuthenticationError, RateLimitError, ServerError
from oarlock.contract.events import CacheHit, CircuitChanged, SignedIn
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.policies import Concurrency, Fallback, Log, RateLimit, Retry
from oarlock.runtime import Runtime
from oarlock.testing import FunctionLLM, ScriptedLLM, VirtualRuntime

KEY = "sk-canary0123456789abcdef"


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    assert {record.name for record in caplog.records} <= {"oarlock.llm"}
    return [(record.levelname, record.getMessage()) for record in caplog.records]


@pytest.fixture(autouse=True)
def debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "oarlock.llm")


def test_a_call_and_its_answer(caplog: pytest.LogCaptureFixture, runtime: VirtualRuntime) -> None:
    reply = Reply(text="private", finish_reason="stop", usage=Usage(prompt_tokens=8, completion_tokens=3))
    with runtime:
        ScriptedLLM([reply], latency=1.5).with_policies(Log()).call("private")
    assert lines(caplog) == [
        ("DEBUG", "calling with 1 messages and 0 tools"),
        ("INFO", "answered in 1.50 s: stop, 8 + 3 tokens, 0 tool calls"),
    ]


def test_estimated_tokens_are_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    reply = Reply(tool_calls=(ToolCall(id="1", name="f"),), usage=Usage(prompt_tokens=8, estimated=True))
    ScriptedLLM([reply]).with_policies(Log()).complete(Request(messages=[{"role": "user", "content": "Hi"}]))
    assert lines(caplog)[1][1].endswith("done, 8 + 0 tokens (estimated), 1 tool calls")


def test_waits_and_failures_are_warnings(caplog: pytest.LogCaptureFixture, runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([ServerError("down"), RateLimitError("busy", retry_after=99)])
    with runtime, pytest.raises(RateLimitError):
        llm.with_policies(Log(), Retry(retry_on=lambda e: 2 if isinstance(e, ServerError) else False)).call("Hi")
    assert lines(caplog)[1:] == [
        ("WARNING", "waiting 2.00 s (retry): ServerError: down"),
        ("WARNING", "call failed after 2.00 s: RateLimitError: busy"),
    ]


def test_waiting_for_a_limiter(caplog: pytest.LogCaptureFixture, runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM(["ok", "ok"]).with_policies(Log(), RateLimit(1))
    with runtime:
        llm.call("Hi")
        llm.call("Hi")
    assert ("WARNING", "waiting 60.00 s (rate_limit)") in lines(caplog)


def test_waiting_for_a_place(caplog: pytest.LogCaptureFixture, runtime: VirtualRuntime) -> None:
    slow = FunctionLLM(lambda messages: runtime.advance(3) or "ok").with_policies(Log(), Concurrency(1))

    async def both() -> None:
        await runtime.gather(lambda: slow.acall("Hi"), lambda: slow.acall("Hi"))

    runtime.run(both())
    assert ("WARNING", "waited 3.00 s (concurrency)") in lines(caplog)


def test_fallbacks(caplog: pytest.LogCaptureFixture) -> None:
    llm = ScriptedLLM([ServerError("down"), ServerError("down")], model="first")
    other = ScriptedLLM([ServerError(f"wrong {KEY}"), "ok"], model="second")
    policed = llm.with_policies(Log(), Fallback(other))
    with VirtualRuntime():
        with pytest.raises(ServerError):
            policed.call("Hi")
        policed.call("Hi")
    assert lines(caplog)[1:4] == [
        ("WARNING", "first failed, asking second: ServerError: down"),
        ("WARNING", "call failed after 0.00 s: ServerError: down"),
        ("WARNING", "second was asked instead and failed: ServerError: wrong …"),
    ]
    assert lines(caplog)[-2][1] == "first failed, asking second: ServerError: down"


def test_circuits_and_caches(caplog: pytest.LogCaptureFixture) -> None:
    def told(handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            request.emit(CircuitChanged(endpoint="here", state="open", why="10 of 20 calls failed", seconds=5))
            request.emit(CircuitChanged(endpoint="here", state="half_open"))
            request.emit(CacheHit(model="m", saved=Usage(prompt_tokens=7)))
            request.emit(SignedIn(method="x", why="first use"))
            return await handler(runtime, request)

        return handle

    ScriptedLLM(["ok"]).with_policies(Log(), told, order="given").call("Hi")
    assert lines(caplog)[1:-1] == [
        ("WARNING", "circuit open: 10 of 20 calls failed"),
        ("INFO", "circuit half open"),
        ("DEBUG", "answered from the cache, saving 7 tokens"),
    ]


def test_any_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            raise ZeroDivisionError("a bug of a policy")

        return handle

    with pytest.raises(ZeroDivisionError):
        ScriptedLLM(["ok"]).with_policies(Log(), broken, order="given").call("Hi")
    assert lines(caplog)[-1] == ("WARNING", "call failed after 0.00 s: ZeroDivisionError: a bug of a policy")


def test_no_content_unless_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    ScriptedLLM(["answer-canary"]).with_policies(Log()).call("question-canary")
    assert "canary" not in caplog.text


def test_content_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    llm = ScriptedLLM(["y" * 5000]).with_policies(Log(content=True))
    llm.call([{"role": "system", "content": "be brief"}, {"role": "user", "content": "x" * 5000}])
    said = lines(caplog)
    assert ("DEBUG", "system: be brief") in said
    assert ("DEBUG", "user: " + "x" * 999 + "…") in said
    assert ("DEBUG", "answer: " + "y" * 999 + "…") in said


def test_content_of_other_shapes(caplog: pytest.LogCaptureFixture) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "see this"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": ""},
    ]
    ScriptedLLM(["ok"]).with_policies(Log(content=True)).call(messages)
    texts = [text for _, text in lines(caplog)]
    assert any("see this" in text for text in texts)
    assert any(text.startswith("assistant: ") and "look_up" in text for text in texts)
    assert "tool: " in texts


def test_content_only_where_debug_is_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oarlock.llm")
    ScriptedLLM(["answer-canary"]).with_policies(Log(content=True)).call("question-canary")
    assert "canary" not in caplog.text


def test_secrets_are_scrubbed(caplog: pytest.LogCaptureFixture, runtime: VirtualRuntime) -> None:
    llm = ScriptedLLM([ServerError(f"wrong {KEY}"), AuthenticationError(f"wrong {KEY}"), f"your key is {KEY}"])
    policed = llm.with_policies(Log(content=True), Retry())
    with runtime:
        with pytest.raises(AuthenticationError):
            policed.call(f"my key is {KEY}")
        policed.call(f"Authorization: Bearer {KEY}")
    assert len(caplog.records) == 8
    assert "canary" not in caplog.text


@pytest.mark.parametrize("evil", ["a\nroot: fake line", "a\r\nb", "a\x1b[31mred", "a\u2028b", "a\x00b", "a\ud800b"])
def test_control_characters_do_not_get_through(
    caplog: pytest.LogCaptureFixture, evil: str, runtime: VirtualRuntime
) -> None:
    replies = [ServerError(evil), Reply(text=evil, finish_reason=evil)]
    with runtime:
        ScriptedLLM(replies).with_policies(Log(content=True), Retry()).call([{"role": evil, "content": evil}])
    for _, text in lines(caplog):
        assert text.isprintable()


def test_a_logger_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    mine = logging.getLogger("mine")
    caplog.set_level(logging.DEBUG, "mine")
    ScriptedLLM(["ok"]).with_policies(Log(logger=mine)).call("Hi")
    adapter = logging.LoggerAdapter(mine, {"who": "me"})
    ScriptedLLM(["ok"]).with_policies(Log(logger=adapter)).call("Hi")
    assert [record.name for record in caplog.records] == ["mine"] * 4
    assert caplog.records[-1].who == "me"


def test_repr_and_pickle() -> None:
    assert (repr(Log()), repr(Log(content=True))) == ("Log()", "Log(content=True)")
    assert pickle.loads(pickle.dumps(Log(content=True))).content
