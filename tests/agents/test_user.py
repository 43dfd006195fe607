"""The end user of a run: seen by tools, sign-ins and the user's own LLM code, never by another run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oarlock import Agent, BaseLLM, Crew, Reply, Task, ToolCall, current_call, tool
from oarlock.testing import ScriptedLLM


class Echo(BaseLLM):
    """Answers with the user it serves."""

    def call(self, messages: Any) -> str:
        return str(current_call().user)


def crew_of(llm: BaseLLM, **more: Any) -> Crew:
    agent = Agent(role="Clerk", goal="Serve", backstory="", llm=llm, **more)
    return Crew(agents=[agent], tasks=[Task(description="Who is it?", expected_output="A name", agent=agent)])


def test_the_llm_sees_the_user() -> None:
    assert crew_of(Echo()).kickoff(user="ada").raw == "ada"
    assert crew_of(Echo()).kickoff().raw == "None"


def test_each_of_many_runs_at_once_sees_its_own() -> None:
    crew = crew_of(Echo())

    async def all_of_them() -> list[str]:
        outputs = await asyncio.gather(*(crew.akickoff(user=f"user{number}") for number in range(50)))
        return [output.raw for output in outputs]

    assert asyncio.run(all_of_them()) == [f"user{number}" for number in range(50)]


@pytest.mark.parametrize("own", [None, "bob"])
def test_a_crew_in_a_tool_serves_the_same_user_unless_told_otherwise(own: str | None) -> None:
    inner = crew_of(Echo())

    @tool
    def ask_the_others() -> str:
        """Ask the other crew."""
        return inner.kickoff(user=own).raw

    call = ToolCall(id="c1", name="ask_the_others", arguments="{}")
    llm = ScriptedLLM([Reply(tool_calls=(call,)), "done"], supports_function_calling=True)
    crew_of(llm, tools=[ask_the_others]).kickoff(user="ada")
    assert llm.requests[-1].messages[-1]["content"] == (own or "ada")


def test_each_of_the_inputs_is_for_the_user() -> None:
    assert [output.raw for output in crew_of(Echo()).kickoff_for_each([{}, {}], user="ada")] == ["ada", "ada"]
    outputs = asyncio.run(crew_of(Echo()).akickoff_for_each([{}, {}], user="ada"))
    assert [output.raw for output in outputs] == ["ada", "ada"]
