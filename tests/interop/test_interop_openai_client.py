"""OpenAI's own client, with an LLM of ours behind it."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

openai = pytest.importorskip("openai", reason="openai is not installed here: make interop")

from interop_helpers import TOKEN, Behind  # noqa: E402

from oarlock import AuthenticationError, BudgetExceededError, Request, ToolCall  # noqa: E402
from oarlock.compat import as_async_openai_client, as_openai_client  # noqa: E402
from oarlock.compat.interop.openai_client import with_cause  # noqa: E402
from oarlock.errors import OarlockError  # noqa: E402
from oarlock.policies import Budget  # noqa: E402
from oarlock.testing import Drop, Hang, ScriptedLLM, Status, ToolCalls  # noqa: E402

HI: Any = [{"role": "user", "content": "Hi"}]
TOOL: Any = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}


def create(client: Any, **given: Any) -> Any:
    return client.chat.completions.create(**{"model": "gpt-ours", "messages": HI, **given})


def test_an_answer(behind: Behind) -> None:
    llm, endpoint = behind("Hello")
    answer = create(as_openai_client(llm), temperature=0.2, top_p=0.5, max_completion_tokens=9, stop="END")
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens > 0
    (sent,) = endpoint.requests
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    facts = {"temperature": 0.2, "top_p": 0.5, "max_tokens": 9, "stop": ["END"], "messages": HI, "model": "gpt-ours"}
    assert sent.json == facts


async def test_an_answer_for_coroutines(behind: Behind) -> None:
    llm, _ = behind("Hello")
    answer = await create(as_async_openai_client(llm))
    assert answer.choices[0].message.content == "Hello"


def test_a_stream(behind: Behind) -> None:
    llm, endpoint = behind("Row, row, row your boat")
    chunks = list(create(as_openai_client(llm), stream=True))
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Row, row, row your boat"
    )
    assert chunks[-1].usage.total_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1
    assert endpoint.requests[0].json["stream"] is True


class Watched(ScriptedLLM):
    """Takes note when its work has ended."""

    ended = False

    async def _respond(self, runtime: Any, request: Request) -> Any:
        try:
            return await super()._respond(runtime, request)
        finally:
            self.ended = True


async def test_a_stream_for_coroutines_that_is_left_early() -> None:
    llm = Watched(["Row, row, row your boat"])
    stream = await create(as_async_openai_client(llm), stream=True)
    assert [(await anext(stream)).choices[0].delta.content for _ in range(2)] == ["", "Row, "]
    assert not llm.ended
    await stream.close()
    assert llm.ended


def test_a_stream_that_is_left_early() -> None:
    llm = Watched(["Row, row, row your boat"])
    with create(as_openai_client(llm), stream=True) as stream:
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "Row, "]
        assert not llm.ended
    assert llm.ended


def test_tool_calls_and_their_results(behind: Behind) -> None:
    llm, endpoint = behind(ToolCalls([("add", {"a": 1}), ("add", {"a": 2})]), "3")
    client = as_openai_client(llm)
    answer = create(client, tools=[TOOL], tool_choice="required")
    calls = answer.choices[0].message.tool_calls
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("add", '{"a": 1}'),
        ("add", '{"a": 2}'),
    ]
    assert answer.choices[0].finish_reason == "tool_calls"
    results: Any = [{"role": "tool", "tool_call_id": call.id, "content": "1"} for call in calls]
    messages = [*HI, answer.choices[0].message, *results]
    assert create(client, messages=messages, tools=[TOOL]).choices[0].message.content == "3"
    first, second = endpoint.requests
    assert (first.json["tools"], first.json["tool_choice"]) == ([TOOL], "required")
    assert [message["role"] for message in second.json["messages"]] == ["user", "assistant", "tool", "tool"]


def test_streamed_tool_calls(behind: Behind) -> None:
    llm, _ = behind(ToolCalls([("add", {"a": 1}), ("add", {"a": 2})]))
    pieces: dict[int, list[str]] = {}
    for chunk in create(as_openai_client(llm), tools=[TOOL], stream=True):
        for call in chunk.choices[0].delta.tool_calls or () if chunk.choices else ():
            pieces.setdefault(call.index, []).append(call.function.arguments)
    assert {index: "".join(parts) for index, parts in pieces.items()} == {0: '{"a": 1}', 1: '{"a": 2}'}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("replies", "error", "requests"),
    [
        ([Status(503)] * 3, "InternalServerError", 3),  # tried again by our policies, and by nobody else
        ([Status(429)] * 3, "RateLimitError", 3),
        ([Status(400)], "BadRequestError", 1),
        ([Drop()] * 3, "APIConnectionError", 3),
    ],
)
def test_errors_and_one_retry_loop(replies: list[Any], error: str, requests: int, stream: bool, behind: Behind) -> None:
    llm, endpoint = behind(*replies)
    with pytest.raises(getattr(openai, error)):
        create(as_openai_client(llm), stream=stream)
    assert len(endpoint.requests) == requests


def test_a_wrong_token_costs_one_request_and_is_shown_nowhere(behind: Behind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    llm, endpoint = behind("Hello", token="wr0ng-token-of-ours")
    client = as_openai_client(llm)
    with pytest.raises(openai.AuthenticationError) as caught:
        create(client)
    assert len(endpoint.requests) == 1
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(client) + repr(vars(client))
    assert "wr0ng" not in shown


def test_a_timeout(behind: Behind) -> None:
    llm, _ = behind(Hang(), timeout=0.05, policies=())
    with pytest.raises(openai.APITimeoutError):
        create(as_openai_client(llm))


def test_a_stream_that_breaks_off(behind: Behind) -> None:
    llm, _ = behind(lambda request: broken(), policies=())
    stream = create(as_openai_client(llm), stream=True)
    assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "Row, "]
    with pytest.raises(openai.APIError, match=r"broke off|ended before"):
        list(stream)


def broken() -> Any:
    yield "Row, "
    raise ConnectionResetError


def test_an_answer_from_one_of_our_own_limits() -> None:
    llm = ScriptedLLM(["Hello", "Hello"]).with_policies(Budget(requests=1))
    client = as_openai_client(llm)
    create(client)
    with pytest.raises(openai.APIStatusError) as caught:
        create(client)
    assert caught.value.status_code == 402
    assert isinstance(caught.value.request.extensions["oarlock_error"], BudgetExceededError)
    assert isinstance(caught.value.request.extensions["oarlock_error"], OarlockError)


def test_other_interfaces_are_refused() -> None:
    with pytest.raises(openai.BadRequestError, match="use the chat completions API"):
        as_openai_client(ScriptedLLM(["Hello"])).embeddings.create(model="m", input="Hi")


def test_the_environment_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "https://api.openai.com/v1" if "URL" in name else "s3cret")
    client = as_openai_client(ScriptedLLM(["Hello"]))
    assert create(client).choices[0].message.content == "Hello"
    assert "s3cret" not in repr({name: vars(client)[name] for name in ("api_key", "organization", "project")})
    assert str(client.base_url) == "http://oarlock.invalid/v1/"


def test_a_custom_llm_that_names_no_ids() -> None:
    llm = ScriptedLLM([ToolCall(id="", name="add", arguments="{}")], supports_function_calling=True)
    chunks = list(create(as_openai_client(llm), tools=[TOOL], stream=True))
    calls = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or ()]
    assert [call.function.name for call in calls] == ["add"]


async def test_failures_for_coroutines(behind: Behind) -> None:
    llm, endpoint = behind(Status(400), Status(400), lambda request: broken(), policies=())
    client = as_async_openai_client(llm)
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError):
            await create(client, stream=stream)
    pieces = await create(client, stream=True)
    assert [(await anext(pieces)).choices[0].delta.content for _ in range(2)] == ["", "Row, "]
    with pytest.raises(openai.APIError, match=r"broke off|ended before"):
        async for _ in pieces:
            pass
    assert len(endpoint.requests) == 3


def test_the_cause_of_an_error_can_be_had(behind: Behind) -> None:
    llm, _ = behind("Hello", token="wrong")
    client = as_openai_client(llm)
    with pytest.raises(openai.AuthenticationError) as caught, with_cause():
        create(client)
    assert isinstance(caught.value.__cause__, AuthenticationError)
    with pytest.raises(RuntimeError) as wrapped, with_cause():
        try:
            create(client)
        except openai.AuthenticationError as error:
            raise RuntimeError("As frameworks do") from error
    assert isinstance(wrapped.value.__cause__.__cause__, AuthenticationError)
    with pytest.raises(KeyError) as other, with_cause():
        raise KeyError
    assert other.value.__cause__ is None
