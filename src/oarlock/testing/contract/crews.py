"""Checks of the LLM at work, in a crew."""

from __future__ import annotations

from oarlock.agents.agent import Agent
from oarlock.agents.crew import Crew
from oarlock.agents.outputs import CrewOutput
from oarlock.agents.task import Task
from oarlock.contract.llm import BaseLLM
from oarlock.testing.contract.asking import TOOL
from oarlock.testing.contract.stage import question
from oarlock.testing.contract.subject import Scene, require
from oarlock.testing.endpoint import ToolCalls
from oarlock.tools import BaseTool, tool

__all__ = ["uses_tools_in_a_crew", "works_in_a_crew"]

_BY_TEXT = f'Thought: I ask the tool.\nAction: {TOOL}\nAction Input: {{"word": "boat"}}'
_ANSWER = "Thought: I know it now.\nFinal Answer: A boat floats."


def works_in_a_crew(scene: Scene) -> None:
    """An agent with it does a task."""
    _work(scene.llm(), question(1))


def uses_tools_in_a_crew(scene: Scene) -> None:
    """An agent with it runs the tool that the model asks for."""
    scene.need_url()
    words: list[str] = []

    @tool(TOOL)
    def look_up(word: str) -> str:
        """Look a word up."""
        words.append(word)
        return "A boat floats."

    by_function = scene.llm().supports_function_calling()
    llm, _ = scene.behind(ToolCalls([(TOOL, {"word": "boat"})]) if by_function else _BY_TEXT, _ANSWER)
    result = _work(llm, "What does the tool say about the word boat?", look_up)
    require(
        words == ["boat"],
        f"The model asked for the tool once, and in the crew it ran {len(words)} times; the answer was {result.raw[:80]!r}: "
        "hand the model's answer on as it is.",
    )


def _work(llm: BaseLLM, description: str, *tools: BaseTool) -> CrewOutput:
    agent = Agent(role="Clerk", goal="Answer questions", backstory="A patient clerk", llm=llm, tools=list(tools))
    task = Task(description=description, expected_output="One sentence", agent=agent)
    return Crew(agents=[agent], tasks=[task]).kickoff()
