"""LangChain on an LLM of ours."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed here: make interop")

from interop_helpers import TOKEN, Behind
from langchain.agents import create_agent
from langchain_core import exceptions
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from oarlock import AuthenticationError, ConfigurationError, LLMError, ToolCall
from oarlock.compat import as_langchain_model
from oarlock.errors import ContextWindowExceededError, LLMTimeoutError
from oarlock.testing import Hang, ScriptedLLM, Status, ToolCalls

TOO_LONG = {"error": {"message": "maximum context length is 8192 tokens", "code": "context_length_exceeded"}}


class Weather(BaseModel):
    """The weather."""

    city: str
    degrees: int


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}"


def test_it_is_a_chat_model() -> None:
    model = as_langchain_model(ScriptedLLM([], context_window=100))
    assert isinstance(model, BaseChatModel)
    assert repr(model) == str(model) == "as_langchain_model(ScriptedLLM(model='scripted'))"
    assert model.profile == {"max_input_tokens": 100, "tool_calling": False, "structured_output": False}
    assert model.get_num_tokens("Row, row, row your boat.") == 6


def test_an_answer(behind: Behind) -> None:
    llm, endpoint = behind("Hello")
    messages = [SystemMessage("Be brief."), HumanMessage("Hi")]
    answer = as_langchain_model(llm).invoke(messages, stop=["END"], temperature=0.2, top_p=0.5)
    assert isinstance(answer, AIMessage)
    assert (answer.content, answer.response_metadata["finish_reason"]) == ("Hello", "stop")
    assert answer.usage_metadata
    assert answer.usage_metadata["total_tokens"] > 0
    (sent,) = endpoint.requests
    assert sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert sent.json["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert (sent.json["stop"], sent.json["temperature"], sent.json["top_p"]) == (["END"], 0.2, 0.5)


async def test_all_colours(behind: Behind) -> None:
    llm, _ = behind(*["Row, row, row your boat"] * 5)
    model = as_langchain_model(llm)
    assert (await model.ainvoke("Sing")).content == "Row, row, row your boat"
    for chunks in (list(model.stream("Sing")), [chunk async for chunk in model.astream("Sing")]):
        assert "".join(str(chunk.content) for chunk in chunks) == "Row, row, row your boat"
        assert len([chunk for chunk in chunks if chunk.content]) > 1
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        assert whole.usage_metadata
        assert whole.usage_metadata["output_tokens"] > 0
    assert [answer.content for answer in model.batch(["Sing", "Sing"])] == ["Row, row, row your boat"] * 2


@pytest.mark.parametrize("streamed", [True, False])
def test_an_agent_with_a_tool(streamed: bool, behind: Behind) -> None:
    llm, endpoint = behind(ToolCalls([("weather", {"city": "Oslo"})]), "Take sunglasses.")
    agent: Any = create_agent(as_langchain_model(llm), [weather], system_prompt="Be brief.")
    asked: Any = {"messages": [HumanMessage("What to pack for Oslo?")]}
    if streamed:
        texts = [chunk.content for chunk, _ in agent.stream(asked, stream_mode="messages")]
        assert "".join(texts).endswith("Take sunglasses.")
    else:
        assert agent.invoke(asked)["messages"][-1].content == "Take sunglasses."
    first, second = endpoint.requests
    assert first.json["tools"][0]["function"]["name"] == "weather"
    assert [message["role"] for message in second.json["messages"]] == ["system", "user", "assistant", "tool"]
    assert second.json["messages"][-1]["content"] == "Sunny in Oslo"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("any", "required"),
        (True, "required"),
        ("required", "required"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
        ({"type": "allowed_tools"}, {"type": "allowed_tools"}),
        (None, None),
        ("auto", None),
    ],
)
def test_the_choice_of_tools(choice: Any, sent: Any, behind: Behind) -> None:
    llm, endpoint = behind(ToolCalls([("weather", {"city": "Oslo"}), ("weather", "{not json")]))
    answer: Any = as_langchain_model(llm).bind_tools([weather], tool_choice=choice).invoke("Oslo?")
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Oslo"}]
    assert [call["args"] for call in answer.invalid_tool_calls] == ["{not json"]
    assert endpoint.requests[0].json.get("tool_choice") == sent


async def test_streamed_tool_calls(behind: Behind) -> None:
    llm, _ = behind(*[ToolCalls([("weather", {"city": "Oslo"}), ("weather", {"city": "Bergen"})])] * 2)
    model = as_langchain_model(llm).bind_tools([weather])
    for chunks in (list(model.stream("?")), [chunk async for chunk in model.astream("?")]):
        whole: Any = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        assert [call["args"]["city"] for call in whole.tool_calls] == ["Oslo", "Bergen"]


def test_streamed_tool_calls_without_ids() -> None:
    llm = ScriptedLLM([ToolCall(id="", name="weather", arguments='{"city": "Oslo"}')], supports_function_calling=True)
    chunks: Any = list(as_langchain_model(llm).bind_tools([weather]).stream("?"))
    assert [call["args"] for chunk in chunks for call in chunk.tool_calls] == [{"city": "Oslo"}]


@pytest.mark.parametrize("include_raw", [True, False])
@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ({"json_schema": True}, None),
        ({"json_schema": True}, "function_calling"),
        ({"json_schema": False}, None),
        ({"json_schema": False, "function_calling": False}, None),
    ],
)
@pytest.mark.parametrize("schema", [Weather, Weather.model_json_schema()], ids=["model", "schema"])
def test_structured_output(schema: Any, settings: Any, method: Any, include_raw: bool, behind: Behind) -> None:
    facts = {"city": "Oslo", "degrees": 21}
    calls = method == "function_calling" or (not settings["json_schema"] and "function_calling" not in settings)
    reply = ToolCalls([("Weather", facts)]) if calls else '{"city": "Oslo", "degrees": 21}'
    llm, endpoint = behind(reply, **settings)
    structured = as_langchain_model(llm).with_structured_output(schema, method=method, include_raw=include_raw)
    found: Any = structured.invoke("Oslo?")
    if include_raw:
        assert found["parsing_error"] is None
        found = found["parsed"]
    assert found == (Weather(**facts) if schema is Weather else facts)
    assert ("tools" in endpoint.requests[0].json) is calls
    assert ("response_format" in endpoint.requests[0].json) is (settings["json_schema"] and not calls)


def test_an_output_that_does_not_fit(behind: Behind) -> None:
    llm, _ = behind("It is sunny.")
    structured: Any = as_langchain_model(llm).with_structured_output(Weather, method="json_schema", include_raw=True)
    found = structured.invoke("Oslo?")
    assert found["parsed"] is None
    assert isinstance(found["parsing_error"], exceptions.OutputParserException)
    with pytest.raises(ConfigurationError, match="method must be"):
        as_langchain_model(llm).with_structured_output(Weather, method="telepathy")


def test_an_agent_with_a_structured_answer(behind: Behind) -> None:
    llm, endpoint = behind(
        ToolCalls([("weather", {"city": "Oslo"})]), '{"city": "Oslo", "degrees": 21}', json_schema=True
    )
    agent: Any = create_agent(as_langchain_model(llm), [weather], response_format=Weather)
    result = agent.invoke({"messages": [HumanMessage("Oslo?")]})
    assert result["structured_response"] == Weather(city="Oslo", degrees=21)
    assert endpoint.requests[0].json["response_format"]["type"] == "json_schema"


def test_pictures(behind: Behind) -> None:
    llm, endpoint = behind("A boat.")
    picture = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    asked = HumanMessage(content=[{"type": "text", "text": "What is it?"}, picture])
    assert as_langchain_model(llm).invoke([asked]).content == "A boat."
    content = endpoint.requests[0].json["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"]


@pytest.mark.parametrize(
    ("replies", "theirs", "ours", "requests"),
    [
        ([Status(401)], "ModelAuthenticationError", AuthenticationError, 1),
        ([Status(503)] * 3, "ModelAPIError", LLMError, 3),
        ([Status(429)] * 3, "ModelRateLimitError", LLMError, 3),
        ([Status(400, body=TOO_LONG)], "ContextOverflowError", ContextWindowExceededError, 1),
    ],
)
async def test_errors(replies: Any, theirs: str, ours: Any, requests: int, behind: Behind) -> None:
    """Errors are Oarlock's and LangChain's at once; nobody tries again what our policies have tried."""
    llm, endpoint = behind(*replies * 4)
    model = as_langchain_model(llm)

    async def astreamed() -> None:
        async for _ in model.astream("Hi"):
            pass

    for ask in (lambda: model.invoke("Hi"), lambda: list(model.stream("Hi"))):
        with pytest.raises(getattr(exceptions, theirs)) as caught:
            ask()
        assert isinstance(caught.value, ours)
        assert not caught.value.is_retryable
    for aask in (lambda: model.ainvoke("Hi"), astreamed):
        with pytest.raises(ours) as caught:
            await aask()
        assert isinstance(caught.value, getattr(exceptions, theirs))
    assert len(endpoint.requests) == 4 * requests


def test_langchain_may_try_again_where_we_do_not(behind: Behind) -> None:
    llm, _ = behind(Hang(), timeout=0.05, policies=())
    with pytest.raises(exceptions.ModelTimeoutError) as caught:
        as_langchain_model(llm).invoke("Hi")
    assert isinstance(caught.value, LLMTimeoutError)
    assert caught.value.is_retryable


def test_secrets_are_shown_nowhere(behind: Behind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    llm, _ = behind("Hello", token="wr0ng-token-of-ours")
    model = as_langchain_model(llm)
    with pytest.raises(AuthenticationError) as caught:
        model.invoke("Hi")
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    shown += repr(model) + repr(model.model_dump()) + model._get_llm_string() + repr(model.lc_attributes)
    assert "wr0ng" not in shown
