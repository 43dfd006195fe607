"""The library's own LLMs hold the contract: behind an endpoint, in a private protocol, and as they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pyreqwest.exceptions  # noqa: F401  in the main thread: loaded first by a thread that ends, it crashes later
import pytest
from contract_llms import KEY

from oarlock import ChatLLM, HttpLLM, LLMError, Reply, ToolCall
from oarlock.auth import ApiKey
from oarlock.contract.http import HttpRequest
from oarlock.policies import Metrics, Retry
from oarlock.testing import FunctionLLM, RecordedRequest, ScriptedLLM, Status, ToolCalls, VirtualRuntime, check_llm
from oarlock.testing.contract.table import CHECKS

NEEDS_URL = {
    *("loop_stays_free", "ends_with_unknown_function", "unauthorized", "forbidden", "bad_request", "server_error"),
    *("html_page", "empty_body", "empty_answer", "connection_dropped", "connection_refused", "too_many_requests"),
    *("retry_helps", "one_retry_loop", "deadline_ends_it", "uses_tools_in_a_crew"),
}


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
def test_chat_llm(transport: str) -> None:
    report = check_llm(lambda url: ChatLLM("m", url, auth=ApiKey(KEY), transport=transport), secrets=[KEY])
    assert report.ok, str(report)
    assert report.skipped == ["tools_ignored"]


def test_chat_llm_in_policies_and_without_functions() -> None:
    def make(url: str) -> Any:
        return ChatLLM("m", url, function_calling=False).with_policies(Metrics(), Retry(attempts=2))

    report = check_llm(make)
    assert report.ok, str(report)
    assert report.llm == "PolicedLLM"
    secrets = [name for name in CHECKS if name.startswith("no_secret")]
    functions = ["answers_tool_messages", "tool_calls", "ends_with_unknown_function"]
    assert sorted(report.skipped) == sorted([*secrets, *functions])


class Lines(HttpLLM):
    """A private protocol: `who: what` in each line, asked below /talk; the answer is plain text."""

    def encode(self, request: Any) -> HttpRequest:
        lines = [f"{message['role']}: {message['content'] or ''}" for message in request.messages]
        lines += [f"tool: {json.dumps(tool)}" for tool in request.tools] + [f"stop: {word}" for word in request.stop]
        body = "\n".join(lines + [f"stop: {word}" for word in self.stop]).encode()
        return HttpRequest(method="POST", url=f"{self.base_url}/talk", body=body)

    def decode(self, response: Any) -> Reply | str:
        if response.headers["content-type"] != "text/plain":
            raise ValueError("That is no text")
        kind, _, text = response.body.decode().partition("\n")
        return Reply(tool_calls=(ToolCall(id="1", **json.loads(text)),)) if kind == "tool" else text


def in_lines(request: RecordedRequest, answer: str | ToolCalls) -> Status:
    if isinstance(answer, str):
        body = f"text\n{answer}"
    else:
        (name, arguments) = answer.calls[0]
        body = "tool\n" + json.dumps({"name": name, "arguments": json.dumps(arguments)})
    return Status(200, headers={"Content-Type": "text/plain"}, body=body)


def test_http_llm_in_a_private_protocol() -> None:
    report = check_llm(lambda url: Lines("m", url), respond=in_lines)
    assert report.ok, str(report)
    assert len(report.passed) == len(CHECKS) - 5


def test_a_private_protocol_of_json() -> None:
    class Ask(HttpLLM):
        def encode(self, request: Any) -> Any:
            return {"q": request.messages[-1]["content"], "until": [*self.stop, *request.stop]}

        def decode(self, response: Any) -> str:
            return str(json.loads(response.body)["a"])

    report = check_llm(
        lambda url: Ask("m", url, function_calling=False), respond=lambda request, answer: {"a": answer}, timeout=20
    )
    assert report.ok, str(report)


def test_a_private_protocol_that_loses_letters() -> None:
    class Ask(Lines):
        def encode(self, request: Any) -> HttpRequest:
            sent = super().encode(request)
            return HttpRequest(method="POST", url=sent.url, body=sent.body.decode().encode("ascii", "replace"))

    assert check_llm(lambda url: Ask("m", url), respond=in_lines).failed == ["unicode"]


def echo(messages: Any) -> str:
    return str(messages[-1]["content"])


def test_function_llm_as_it_is() -> None:
    report = check_llm(lambda: FunctionLLM(echo), echo=True)
    assert report.ok, str(report)
    assert set(report.skipped) >= NEEDS_URL
    assert "answers_not_mixed_up" in report.passed


def test_scripted_llm_as_it_is() -> None:
    report = check_llm(lambda: ScriptedLLM(["Hello"] * 100, supports_function_calling=True))
    assert report.ok, str(report)
    assert {"answers_not_mixed_up", "tool_calls"} <= set(report.skipped)
    assert "repeats" not in report["tool_calls"].message
    assert report["tool_calls"].message == "The model answered without the tool, so nothing was shown."


@pytest.mark.parametrize("answer", [ToolCall(id="1", name="look_up", arguments='{"word": "boat"}'), "I do not know."])
def test_a_model_that_may_call_functions(answer: Any) -> None:
    def answered(messages: Any, tools: Any) -> Any:
        return answer if tools and messages[-1]["role"] == "user" else "Hello"

    report = check_llm(
        lambda: FunctionLLM(answered, supports_function_calling=True), skip=["many_tasks", "many_threads"]
    )
    assert report.ok, str(report)
    assert report["tool_calls"].outcome == ("skipped" if isinstance(answer, str) else "passed")


def test_a_window_too_small_for_the_long_message_is_no_fault() -> None:
    def answered(messages: Any) -> str:
        if len(messages[-1]["content"]) > 10_000:
            error = RuntimeError("This model's maximum context length is 8192 tokens")
            error.status_code = 400  # type: ignore[attr-defined]
            raise error
        return echo(messages)

    report = check_llm(lambda: FunctionLLM(answered), skip=["many_tasks", "many_threads"])
    assert report.ok, str(report)
    assert "long_message" in report.passed


async def test_inside_a_running_event_loop() -> None:
    report = check_llm(lambda: FunctionLLM(echo), skip=["many_tasks"])
    assert report.ok, str(report)
    await asyncio.sleep(0)


def test_inside_a_virtual_runtime() -> None:
    with VirtualRuntime():
        assert check_llm(lambda: FunctionLLM(echo), skip=["many_tasks"]).ok


def test_how_often_a_real_endpoint_is_asked() -> None:
    """The docstring says so: somebody may have to pay for it."""
    asked: list[Any] = []

    def counted(messages: Any) -> str:
        asked.append(messages)
        return echo(messages)

    check_llm(lambda: FunctionLLM(counted), echo=True, secrets=["never-seen"])
    assert 150 < len(asked) < 170


@pytest.mark.parametrize("error", [LLMError("Out of order"), SystemExit(3), ZeroDivisionError("division by zero")])
def test_one_that_cannot_even_answer_has_one_failure(error: BaseException) -> None:
    def fail() -> Callable[..., Any]:
        raise error

    report = check_llm(lambda: FunctionLLM(lambda messages: fail()))
    assert report.failed == ["answers_text"]
    assert type(error).__name__ in report["answers_text"].message
    assert "in test_check_llm_ready.py, line " in report["answers_text"].message
    assert report["works_in_a_crew"].message == "It can show nothing as long as answers_text fails."
