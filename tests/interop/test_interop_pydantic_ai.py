"""pydantic-ai on an LLM of ours."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

pydantic_ai = pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed here: make interop")

from interop_helpers import TOKEN, Behind  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from pydantic_ai import exceptions  # noqa: E402
from pydantic_ai.models import Model  # noqa: E402
from pydantic_ai.models.fallback import FallbackModel  # noqa: E402

from oarlock import AuthenticationError  # noqa: E402
from oarlock.compat import as_pydantic_ai_model  # noqa: E402
from oarlock.errors import LLMTimeoutError  # noqa: E402
from oarlock.testing import Hang, ScriptedLLM, Status, ToolCalls  # noqa: E402


class Weather(BaseModel):
    city: str
    degrees: int


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}"


def test_it_is_a_model() -> None:
    model = as_pydantic_ai_model(ScriptedLLM([]))
    assert isinstance(model, Model)
    assert (model.model_name, model.system) == ("scripted", "oarlock")
    assert repr(model) == "as_pydantic_ai_model(ScriptedLLM(model='scripted'))"


def test_a_run_with_a_tool(behind: Behind) -> None:
    llm, endpoint = behind(ToolCalls([("weather", {"city": "Oslo"})]), "Take sunglasses.")
    agent = pydantic_ai.Agent(as_pydantic_ai_model(llm), instructions="Be brief.", tools=[weather])
    result = agent.run_sync("What to pack for Oslo?")
    assert result.output == "Take sunglasses."
    assert result.usage.requests == 2
    assert result.usage.input_tokens > 0
    first, second = endpoint.requests
    assert first.headers["authorization"] == f"Bearer {TOKEN}"
    assert first.json["messages"][0] == {"role": "system", "content": "Be brief."}
    assert first.json["tools"][0]["function"]["name"] == "weather"
    assert second.json["messages"][-1]["content"] == "Sunny in Oslo"


async def test_a_stream(behind: Behind) -> None:
    llm, _ = behind("Take your sunglasses with you.")
    async with pydantic_ai.Agent(as_pydantic_ai_model(llm)).run_stream("What to pack?") as result:
        texts = [text async for text in result.stream_text(delta=True, debounce_by=None)]
    assert "".join(texts) == "Take your sunglasses with you."
    assert len(texts) > 1
    assert result.usage.output_tokens > 0


async def test_a_streamed_run_with_a_tool(behind: Behind) -> None:
    llm, _ = behind(ToolCalls([("weather", {"city": "Oslo"})]), "Take sunglasses.")
    agent = pydantic_ai.Agent(as_pydantic_ai_model(llm), tools=[weather])
    async with agent.run_stream("What to pack?") as result:
        assert await result.get_output() == "Take sunglasses."


@pytest.mark.parametrize("function_calling", [True, False])
def test_a_structured_output(function_calling: bool, behind: Behind) -> None:
    facts = {"city": "Oslo", "degrees": 21}
    reply = ToolCalls([("final_result", facts)]) if function_calling else '{"city": "Oslo", "degrees": 21}'
    llm, endpoint = behind(reply, function_calling=function_calling, json_schema=False)
    agent = pydantic_ai.Agent(as_pydantic_ai_model(llm), output_type=Weather)
    assert agent.run_sync("Oslo?").output == Weather(**facts)
    assert ("tools" in endpoint.requests[0].json) is function_calling


@pytest.mark.parametrize("bound", [True, False])
def test_a_native_output(bound: bool, behind: Behind) -> None:
    llm, endpoint = behind('{"city": "Oslo", "degrees": 21}', json_schema=bound)
    agent = pydantic_ai.Agent(as_pydantic_ai_model(llm), output_type=pydantic_ai.NativeOutput(Weather))
    assert agent.run_sync("Oslo?").output == Weather(city="Oslo", degrees=21)
    assert ("response_format" in endpoint.requests[0].json) is bound


def test_a_wrong_output_is_mended_by_pydantic_ai(behind: Behind) -> None:
    llm, endpoint = behind(
        ToolCalls([("final_result", {"city": "Oslo"})]), ToolCalls([("final_result", {"city": "Oslo", "degrees": 1})])
    )
    assert pydantic_ai.Agent(as_pydantic_ai_model(llm), output_type=Weather).run_sync("Oslo?").output.degrees == 1
    assert "degrees" in str(endpoint.requests[1].json["messages"][-1])


def test_pictures(behind: Behind) -> None:
    llm, endpoint = behind("A boat.")
    picture = pydantic_ai.BinaryContent(b"\x89PNG", media_type="image/png")
    assert pydantic_ai.Agent(as_pydantic_ai_model(llm)).run_sync(["What is it?", picture]).output == "A boat."
    content = endpoint.requests[0].json["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"]


def test_settings(behind: Behind) -> None:
    llm, endpoint = behind("Hello")
    agent = pydantic_ai.Agent(as_pydantic_ai_model(llm, settings={"temperature": 0.3}), model_settings={"seed": 7})
    agent.run_sync("Hi")
    assert (endpoint.requests[0].json["temperature"], endpoint.requests[0].json["seed"]) == (0.3, 7)


@pytest.mark.parametrize(
    ("reply", "theirs", "ours"),
    [
        ("Hello", exceptions.ModelHTTPError, AuthenticationError),
        (Hang(), exceptions.ModelAPIError, LLMTimeoutError),
    ],
)
async def test_errors(reply: Any, theirs: Any, ours: Any, behind: Behind) -> None:
    wrong = {"token": "wrong"} if isinstance(reply, str) else {"timeout": 0.05, "policies": ()}
    llm, endpoint = behind(reply, reply, **wrong)
    agent = pydantic_ai.Agent(as_pydantic_ai_model(llm))
    with pytest.raises(theirs) as caught:
        await agent.run("Hi")
    assert isinstance(caught.value.__cause__.__cause__, ours)
    with pytest.raises(theirs) as caught:
        async with agent.run_stream("Hi"):
            pass
    assert isinstance(caught.value.__cause__.__cause__, ours)
    assert len(endpoint.requests) == 2


def test_one_retry_loop(behind: Behind) -> None:
    llm, endpoint = behind(*[Status(503)] * 9)
    with pytest.raises(exceptions.ModelHTTPError):
        pydantic_ai.Agent(as_pydantic_ai_model(llm)).run_sync("Hi")
    assert len(endpoint.requests) == 3


def test_pydantic_ais_own_fallback(behind: Behind) -> None:
    llm, _ = behind(Status(503), policies=())
    models = as_pydantic_ai_model(llm), as_pydantic_ai_model(ScriptedLLM(["From the second"]))
    assert pydantic_ai.Agent(FallbackModel(*models)).run_sync("Hi").output == "From the second"


def test_secrets_are_shown_nowhere(behind: Behind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    llm, _ = behind("Hello", token="wr0ng-token-of-ours")
    model = as_pydantic_ai_model(llm)
    with pytest.raises(exceptions.ModelHTTPError) as caught:
        pydantic_ai.Agent(model).run_sync("Hi")
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(model) + repr(vars(model))
    assert "wr0ng" not in shown
