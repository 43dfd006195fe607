"""The official `openai` client, as it comes, against our server."""

import asyncio
import json
import threading
from collections.abc import Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from serve_helpers import HELLO, KEY, key

from oarlock import BaseLLM, ChatLLM, Reply, Usage
from oarlock.contract.reply import Delta
from oarlock.errors import AuthenticationError, RateLimitError, RefusalError, ServerError, TruncatedReply
from oarlock.serve import create_app, serving
from oarlock.testing import Answer, FunctionLLM, LoopbackEndpoint, ScriptedLLM, ToolCalls

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    },
}


class Plain(BaseLLM):
    """The page's LLM: one blocking method that returns a text."""

    def call(self, messages, tools=None, callbacks=None, available_functions=None):
        return f"You said: {messages[-1]['content']}"


class Tooled(BaseLLM):
    def supports_function_calling(self):
        return True

    def call(self, messages, tools=None, tool_choice="auto"):
        if messages[-1]["role"] == "tool":
            return f"The sum is {messages[-1]['content']}."
        call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'}}
        return [call, {**call, "id": "call_2"}]


def failing(error: Exception) -> FunctionLLM:
    def fail(messages, tools):
        raise error

    return FunctionLLM(fail)


USAGE = Usage(prompt_tokens=7, completion_tokens=2, cached_prompt_tokens=3)
MODELS = {
    "plain": Plain(),
    "tooled": Tooled(),
    "metered": FunctionLLM(lambda request: Reply(text="One two three", usage=USAGE, finish_reason="stop")),
    "refusing": failing(RefusalError("gpt-x refused to answer: I can't help with that.")),
    "cut": failing(TruncatedReply("ended", text="Once upon")),
    "locked": failing(AuthenticationError("https://inside.example.com answered 401: wrong key sk-123456789012345")),
    "slow-down": failing(RateLimitError("Slow down.", retry_after=7, retryable=False)),
    "broken": failing(ServerError("HTTP 500", status=500, retryable=False)),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(create_app(MODELS, keys=[key()])) as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


def test_chat(client: OpenAI):
    answer = client.chat.completions.create(model="plain", messages=HELLO)
    assert answer.choices[0].message.content == "You said: Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "plain"
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    assert answer.usage.model_extra == {"estimated": True}


def test_usage_as_the_model_tells_it(client: OpenAI):
    usage = client.chat.completions.create(model="metered", messages=HELLO).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 2, 9)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 3
    assert not usage.model_extra


def test_parts_of_text_are_one_text(client: OpenAI):
    parts = [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]
    answer = client.chat.completions.create(model="plain", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "You said: One\nTwo"


def test_a_stream(client: OpenAI):
    chunks = list(client.chat.completions.create(model="metered", messages=HELLO, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "One ", "two ", "three", None]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_of_an_llm_that_cannot_stream(client: OpenAI):
    chunks = client.chat.completions.create(model="plain", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: Hello"


def test_a_streams_usage(client: OpenAI):
    with client.chat.completions.stream(
        model="metered", messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        whole = stream.get_final_completion()
    assert whole.choices[0].message.content == "One two three"
    assert whole.usage is not None
    assert whole.usage.total_tokens == 9


@pytest.mark.parametrize("stream", [False, True])
def test_tools_in_both_turns(client: OpenAI, stream: bool):
    if stream:
        with client.chat.completions.stream(model="tooled", messages=HELLO, tools=[ADD]) as events:
            choice = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(model="tooled", messages=HELLO, tools=[ADD]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content in (None, "")
    calls = choice.message.tool_calls or []
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("call_1", "add", '{"a": 2, "b": 3}'),
        ("call_2", "add", '{"a": 2, "b": 3}'),
    ]
    history = [*HELLO, choice.message.model_dump(exclude_none=True)]
    history += [{"role": "tool", "tool_call_id": call.id, "content": "5"} for call in calls]
    answer = client.chat.completions.create(model="tooled", messages=history, tools=[ADD])
    assert answer.choices[0].message.content == "The sum is 5."


def test_tools_are_refused_where_there_are_none(client: OpenAI):
    with pytest.raises(openai.BadRequestError, match="'plain' cannot call tools") as caught:
        client.chat.completions.create(model="plain", messages=HELLO, tools=[ADD])
    assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")
    answer = client.chat.completions.create(model="plain", messages=HELLO, tools=[ADD], tool_choice="none")
    assert answer.choices[0].message.content == "You said: Hello"


def test_models(client: OpenAI):
    assert [model.id for model in client.models.list()] == list(MODELS)
    assert client.models.retrieve("plain").owned_by == "oarlock"
    with pytest.raises(openai.NotFoundError, match=r"'gpt-9' does not exist\. There are: plain, "):
        client.models.retrieve("gpt-9")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=HELLO)


def test_a_wrong_key(url: str):
    with OpenAI(base_url=url, api_key="wrong") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id


def test_a_refusal_is_an_answer_in_this_format(client: OpenAI):
    message = client.chat.completions.create(model="refusing", messages=HELLO).choices[0].message
    assert message.content is None
    assert message.refusal == "gpt-x refused to answer: I can't help with that."
    with client.chat.completions.stream(model="refusing", messages=HELLO) as stream:
        assert stream.get_final_completion().choices[0].message.refusal == message.refusal


def test_an_answer_cut_at_the_limit_of_tokens_is_one_too(client: OpenAI):
    choice = client.chat.completions.create(model="cut", messages=HELLO, max_tokens=2).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Once upon", "length")


@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_behind_us_is_not_the_clients_fault(client: OpenAI, stream: bool):
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="locked", messages=HELLO, stream=stream)
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_authentication_failed"
    assert "inside.example.com" not in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_waiting_is_told(client: OpenAI):
    with pytest.raises(openai.RateLimitError, match="Slow down") as caught:
        client.chat.completions.create(model="slow-down", messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "7"


def test_what_cannot_heal_is_sent_once(url: str):
    llm = ScriptedLLM([ServerError("HTTP 500", status=500, retryable=False), "Not asked for"])
    with (
        serving(create_app({"mine": llm})) as address,
        OpenAI(base_url=f"{address}/v1", api_key="none") as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(model="mine", messages=HELLO)
    assert len(llm.requests) == 1


async def test_the_async_client(url: str):
    async with AsyncOpenAI(base_url=url, api_key=KEY) as client:
        answer = await client.chat.completions.create(model="plain", messages=HELLO)
        assert answer.choices[0].message.content == "You said: Hello"
        stream = await client.chat.completions.create(model="metered", messages=HELLO, stream=True)
        assert [chunk.choices[0].delta.content async for chunk in stream] == ["", "One ", "two ", "three", None]
        with pytest.raises(openai.BadRequestError, match="from 0 to 2"):
            await client.chat.completions.create(model="plain", messages=HELLO, temperature=5)


def test_everything_is_passed_to_an_endpoint_that_takes_it():
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "additionalProperties": False}
    with LoopbackEndpoint(lambda request: Answer("{}")) as endpoint:
        app = create_app({"mine": ChatLLM("upstream", endpoint.url)})
        with serving(app) as address, OpenAI(base_url=f"{address}/v1", api_key="none") as client:
            client.chat.completions.create(
                model="mine",
                messages=HELLO,
                tools=[ADD],
                tool_choice={"type": "function", "function": {"name": "add"}},
                stop=["END"],
                temperature=0.5,
                max_completion_tokens=9,
                top_p=0.9,
                seed=3,
                presence_penalty=0,
                user="u-1",
                response_format={"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}},
            )
            client.chat.completions.create(
                model="mine", messages=HELLO, tools=[ADD], tool_choice="none", response_format={"type": "json_object"}
            )
    first, second = (request.json for request in endpoint.requests)
    assert first["model"] == "upstream"
    assert first["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert first["response_format"]["json_schema"]["schema"] == schema
    settings = {name: first[name] for name in ("stop", "temperature", "max_tokens", "top_p", "seed")}
    assert settings == {"stop": ["END"], "temperature": 0.5, "max_tokens": 9, "top_p": 0.9, "seed": 3}
    assert not first.keys() & {"user", "presence_penalty"}
    assert (second["tool_choice"], second["response_format"]) == ("none", {"type": "json_object"})


def test_tool_calls_stream_as_they_come():
    with LoopbackEndpoint([ToolCalls([("add", {"a": 20, "b": 30}), ("add", {"a": 1, "b": 2})])]) as endpoint:
        app = create_app({"mine": ChatLLM("upstream", endpoint.url)})
        with serving(app) as address, OpenAI(base_url=f"{address}/v1", api_key="none") as client:
            chunks = list(client.chat.completions.create(model="mine", messages=HELLO, tools=[ADD], stream=True))
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or ()]
    assert len(pieces) > 4
    for number, numbers in enumerate(({"a": 20, "b": 30}, {"a": 1, "b": 2})):
        arguments = "".join(piece.function.arguments for piece in pieces if piece.index == number)
        assert json.loads(arguments) == numbers
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_leaving_a_stream_ends_the_call_behind_it():
    ended = threading.Event()

    class Endless(BaseLLM):
        async def _respond(self, runtime, request):
            try:
                while True:
                    await request.deltas.put(Delta("word "))
                    await runtime.sleep(0.001)
            finally:
                ended.set()

    with serving(create_app({"mine": Endless()})) as address:
        with (
            OpenAI(base_url=f"{address}/v1", api_key="none") as client,
            client.chat.completions.create(model="mine", messages=HELLO, stream=True) as stream,
        ):
            assert [next(stream).choices[0].delta.content for _ in range(3)] == ["", "word ", "word "]
        assert ended.wait(10)


async def test_leaving_ends_a_call_without_a_stream_too():
    began, ended = threading.Event(), threading.Event()

    class Endless(BaseLLM):
        async def acall(self, messages):
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    with serving(create_app({"mine": Endless()})) as address:
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:
            asking = asyncio.ensure_future(client.chat.completions.create(model="mine", messages=HELLO))
            assert await asyncio.to_thread(began.wait, 10)
            asking.cancel()
        assert await asyncio.to_thread(ended.wait, 10)


def test_an_error_in_the_middle_of_a_stream():
    with LoopbackEndpoint(lambda request: iter_then_fail()) as endpoint:
        app = create_app({"mine": ChatLLM("upstream", endpoint.url)})
        with serving(app) as address, OpenAI(base_url=f"{address}/v1", api_key="none") as client:
            stream = client.chat.completions.create(model="mine", messages=HELLO, stream=True)
            with pytest.raises(openai.APIError, match="could not be used") as caught:
                for _ in stream:
                    pass
    assert caught.value.code == "upstream_bad_answer"


def iter_then_fail() -> Iterator[str]:
    yield "One "
    raise RuntimeError("the endpoint cuts the stream")
