"""The OpenAI Agents SDK on an LLM of ours."""

from __future__ import annotations

from typing import Any

import pytest

# Not only "agents": that may also be the folder tests/agents.
pytest.importorskip("agents.models", reason="openai-agents is not installed here: make interop")

import agents
import openai
from interop_helpers import TOKEN, Behind
from pydantic import BaseModel

from oarlock import AuthenticationError, ServerError
from oarlock.compat import as_openai_agents_model
from oarlock.testing import ScriptedLLM, Status, ToolCalls


class Weather(BaseModel):
    city: str
    degrees: int


@agents.function_tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}"


def test_it_is_a_model() -> None:
    model = as_openai_agents_model(ScriptedLLM([]))
    assert isinstance(model, agents.Model)
    assert repr(model) == "as_openai_agents_model(ScriptedLLM(model='scripted'))"


def test_a_run_with_a_tool(behind: Behind) -> None:
    llm, endpoint = behind(ToolCalls([("weather", {"city": "Oslo"})]), "Take sunglasses.")
    agent = agents.Agent(name="Guide", instructions="Be brief.", model=as_openai_agents_model(llm), tools=[weather])
    result = agents.Runner.run_sync(agent, "What to pack for Oslo?")
    assert result.final_output == "Take sunglasses."
    usage = result.context_wrapper.usage
    assert (usage.requests, usage.total_tokens > 0) == (2, True)
    first, second = endpoint.requests
    assert first.headers["authorization"] == f"Bearer {TOKEN}"
    assert first.json["messages"][0] == {"role": "system", "content": "Be brief."}
    assert first.json["tools"][0]["function"]["name"] == "weather"
    assert second.json["messages"][-1]["content"] == "Sunny in Oslo"


async def test_a_streamed_run_with_a_tool(behind: Behind) -> None:
    llm, _ = behind(ToolCalls([("weather", {"city": "Oslo"})]), "Take your sunglasses with you.")
    agent = agents.Agent(name="Guide", model=as_openai_agents_model(llm), tools=[weather])
    result = agents.Runner.run_streamed(agent, "What to pack?")
    texts = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(texts) == result.final_output == "Take your sunglasses with you."
    assert len(texts) > 1
    assert result.context_wrapper.usage.total_tokens > 0


@pytest.mark.parametrize("bound", [True, False])
def test_a_structured_output(bound: bool, behind: Behind) -> None:
    llm, endpoint = behind('{"city": "Oslo", "degrees": 21}', json_schema=bound)
    agent = agents.Agent(name="Guide", model=as_openai_agents_model(llm), output_type=Weather)
    assert agents.Runner.run_sync(agent, "Oslo?").final_output == Weather(city="Oslo", degrees=21)
    assert ("response_format" in endpoint.requests[0].json) is bound


def test_a_handoff(behind: Behind) -> None:
    llm, endpoint = behind(ToolCalls([("transfer_to_norwegian", {})]), "Hei.")
    model = as_openai_agents_model(llm)
    norwegian = agents.Agent(name="Norwegian", instructions="Answer in Norwegian.", model=model)
    front = agents.Agent(name="Front", instructions="Hand over.", model=model, handoffs=[norwegian])
    result = agents.Runner.run_sync(front, "Hei?")
    assert (result.final_output, result.last_agent.name) == ("Hei.", "Norwegian")
    assert endpoint.requests[1].json["messages"][0]["content"] == "Answer in Norwegian."


def test_pictures(behind: Behind) -> None:
    llm, endpoint = behind("A boat.")
    parts = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
    ]
    agent = agents.Agent(name="Guide", model=as_openai_agents_model(llm))
    assert agents.Runner.run_sync(agent, [{"role": "user", "content": parts}]).final_output == "A boat."
    content = endpoint.requests[0].json["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"]


async def test_errors(behind: Behind) -> None:
    llm, endpoint = behind("Hello", token="wrong")
    agent = agents.Agent(name="Guide", model=as_openai_agents_model(llm))
    with pytest.raises(openai.AuthenticationError) as caught:
        await agents.Runner.run(agent, "Hi")
    assert isinstance(caught.value.__cause__, AuthenticationError)
    with pytest.raises(openai.AuthenticationError):
        async for _ in agents.Runner.run_streamed(agent, "Hi").stream_events():
            pass
    assert len(endpoint.requests) == 2


def test_nobody_tries_again_what_our_policies_have_tried(behind: Behind) -> None:
    llm, endpoint = behind(*[Status(503)] * 9)
    retry: Any = agents.ModelRetrySettings(
        max_retries=2, policy=agents.retry_policies.provider_suggested(), backoff={"initial_delay": 0.0}
    )
    settings = agents.ModelSettings(retry=retry)
    agent = agents.Agent(name="Guide", model=as_openai_agents_model(llm), model_settings=settings)
    with pytest.raises(openai.InternalServerError) as caught:
        agents.Runner.run_sync(agent, "Hi")
    assert isinstance(caught.value.__cause__, ServerError)
    assert len(endpoint.requests) == 3


def test_traces_hold_no_secret(behind: Behind) -> None:
    class Kept(agents.tracing.TracingProcessor):
        spans: list[Any] = []  # noqa: RUF012

        def on_trace_start(self, trace: Any) -> None: ...
        def on_trace_end(self, trace: Any) -> None: ...
        def on_span_start(self, span: Any) -> None: ...
        def on_span_end(self, span: Any) -> None:
            self.spans.append(span.export())

        def shutdown(self) -> None: ...
        def force_flush(self) -> None: ...

    llm, _ = behind("Hello")
    refused, _ = behind("Hello", token="wr0ng-token-of-ours")
    agents.set_trace_processors([Kept()])
    agents.set_tracing_disabled(False)
    try:
        agents.Runner.run_sync(agents.Agent(name="Guide", model=as_openai_agents_model(llm)), "Hi")
        with pytest.raises(openai.AuthenticationError):
            agents.Runner.run_sync(agents.Agent(name="Guide", model=as_openai_agents_model(refused)), "Hi")
    finally:
        agents.set_tracing_disabled(True)
        agents.set_trace_processors([])
    assert "generation" in str(Kept.spans)
    assert "wr0ng" not in str(Kept.spans)
    assert TOKEN not in str(Kept.spans)
