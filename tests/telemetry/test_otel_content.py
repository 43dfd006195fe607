"""What users, models and tools wrote: not in telemetry unless asked for, and then masked and redacted. Keys: never."""

from __future__ import annotations

import json
from typing import Any

import pytest
from telemetry_helpers import Seen, crew_of

from oarlock import Agent, ChatLLM, Crew, Task, ToolCall, tool
from oarlock.auth import ApiKey
from oarlock.contract.errors import OarlockError
from oarlock.policies import Retry
from oarlock.testing import LoopbackEndpoint, ScriptedLLM, VirtualRuntime
from oarlock.testing.endpoint import Answer, Status, ToolCalls

CANARY = "canary-5f1e07b2-key"
WORDS = "the answer is marmalade"


@tool
def spread(what: str) -> str:
    """Spread it."""
    return f"spread {what}"


def said(span: Any, name: str) -> Any:
    return json.loads(span.attributes[name])


def test_without_being_asked_for_no_word_is_in_it(seen: Seen):
    def marmalade_only(output: Any) -> tuple[bool, str]:
        return ("marmalade" in output.raw, "no marmalade")

    seen.instrument()
    crew = crew_of(
        ToolCall(id="1", name="spread", arguments='{"what": "marmalade"}'),
        "jam",
        WORDS,
        tools=[spread],
        guardrail=marmalade_only,
    )
    crew.tasks[0].description = "Ask for marmalade"
    crew.kickoff()
    assert "marmalade" not in seen.everything()
    assert "Steer" not in seen.everything()  # the agent's goal


def test_content_is_there_when_asked_for(seen: Seen):
    seen.instrument(content=True)
    crew_of(ToolCall(id="1", name="spread", arguments='{"what": "marmalade"}'), WORDS, tools=[spread]).kickoff()
    first, last = [span for span in seen.spans if span.name == "chat m"]
    system, user = said(first, "gen_ai.input.messages")
    assert (system["role"], user["role"]) == ("system", "user")
    assert "Steer" in system["parts"][0]["content"]
    assert said(first, "gen_ai.tool.definitions")[0]["function"]["name"] == "spread"
    *_, told = said(last, "gen_ai.input.messages")
    assert told == {
        "role": "tool",
        "parts": [{"type": "tool_call_response", "id": "1", "response": "spread marmalade"}],
    }
    assert said(last, "gen_ai.output.messages")[0]["parts"] == [{"type": "text", "content": WORDS}]
    used = seen.span("execute_tool spread")
    assert said(used, "gen_ai.tool.call.arguments") == {"what": "marmalade"}
    assert used.attributes["gen_ai.tool.call.result"] == "spread marmalade"
    agent = seen.span("invoke_agent Cox")
    assert said(agent, "gen_ai.input.messages")[0]["parts"][0]["content"] == "Add one and two"
    assert said(agent, "gen_ai.output.messages")[0]["parts"][0]["content"] == WORDS


def test_a_function_of_the_users_decides_what_may_be_seen(seen: Seen):
    seen.instrument(content=True, redact=lambda text: text.replace("marmalade", "[jam]"))
    crew_of(ToolCall(id="1", name="spread", arguments='{"what": "marmalade"}'), WORDS, tools=[spread]).kickoff()
    assert "marmalade" not in seen.everything()
    assert "[jam]" in seen.everything()


@pytest.mark.parametrize("broken", [lambda text: text[10_000_000], lambda text: None])
def test_where_that_function_fails_nothing_is_seen(seen: Seen, broken, caplog):
    seen.instrument(content=True, redact=broken)
    assert crew_of(WORDS).kickoff().raw == WORDS
    assert "marmalade" not in seen.everything()
    assert "left out: the redact function failed" in seen.everything()
    assert "marmalade" not in caplog.text


def test_pictures_long_texts_and_deep_arguments_are_cut(seen: Seen):
    seen.instrument(content=True)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    deep: Any = "bottom"
    for _ in range(50):
        deep = [{"in": deep}]
    tools = [{"type": "function", "function": {"name": "t", "parameters": {"deep": deep, "n": 1, "half": "\ud800"}}}]
    messages = [{"role": "user", "content": [{"type": "text", "text": "x" * 50_000}, picture]}]
    ScriptedLLM([""" y""" * 3]).call(messages, tools=tools)
    (span,) = seen.spans
    (message,) = said(span, "gen_ai.input.messages")
    text, shown = message["parts"]
    assert len(text["content"]) == 10_000
    assert text["content"].endswith("…")
    assert shown == {"type": "image_url"}
    assert "bottom" not in span.attributes["gen_ai.tool.definitions"]


def test_what_looks_like_a_key_is_masked_in_content(seen: Seen):
    seen.instrument(content=True)
    key = "sk-proj-abcdefghijklmnop1234"
    ScriptedLLM([f"Your key {key}"]).call(f"My password: hunter2hunter2, and {'x' * 9_990} {key}")
    assert "abcdefghijklmnop" not in seen.everything()
    assert "hunter2" not in seen.everything()


@pytest.mark.parametrize("content", [False, True])
def test_no_key_is_in_any_span_event_or_label(seen: Seen, content):
    """One canary as the key of the sign-in, echoed by the endpoint wherever it can: in errors, ids, headers, bodies."""
    seen.instrument(content=content)
    echo = {"error": {"message": f"Key {CANARY} is wrong", "code": CANARY, "type": CANARY}}
    replies = [
        Status(401, body=echo, headers={"x-request-id": CANARY}),
        Status(500, body=echo, headers={"x-request-id": f"Bearer {CANARY}"}),
        Status(429, body=f"Authorization: Bearer {CANARY}"),
        ToolCalls([("spread", {"what": "jam"})]),
        Answer(WORDS),
    ]
    with LoopbackEndpoint(replies) as endpoint, VirtualRuntime():
        llm = ChatLLM("m", endpoint.url, auth=ApiKey(CANARY), policies=[Retry(attempts=3)])
        agent = Agent(role="Cox", goal="g", backstory="", llm=llm, tools=[spread])
        crew = Crew(agents=[agent], tasks=[Task(description="x", expected_output="y", agent=agent)])
        with pytest.raises(OarlockError):
            crew.kickoff()
        crew.kickoff()
    assert len(seen.spans) > 6
    assert CANARY not in seen.everything()
