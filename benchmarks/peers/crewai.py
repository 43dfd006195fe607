"""CrewAI: its own OpenAI client; a crew of one agent with one task, copied for each run as `akickoff_for_each` does.

A crew keeps the state of its run, so runs at once need copies. Telemetry and tracing are off, and a warning of each run is
not logged. A streamed call returns its whole text; its pieces are events on CrewAI's bus, to which nobody listens here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

logging.getLogger("crewai").setLevel(logging.ERROR)  # that it counts tokens by a rule of thumb


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        self.llm: Any = LLM(model="openai/gpt-4o-mini", base_url=url, api_key="k")
        self.streaming: Any = LLM(model="openai/gpt-4o-mini", base_url=url, api_key="k", stream=True)
        self.add = add

    def call(self, prompt: str) -> str:
        return str(self.llm.call(prompt))

    async def acall(self, prompt: str) -> str:
        return str(await self.llm.acall(prompt))

    def stream(self, prompt: str) -> Iterator[str]:
        yield str(self.streaming.call(prompt))

    def make_agent(self, prompt: str) -> Any:
        tools = [tool("add")(self.add)]
        agent = Agent(role="Clerk", goal="Answer correctly", backstory="You count.", llm=self.llm, tools=tools)
        task = Task(description=prompt, expected_output="One sentence", agent=agent)
        return Crew(agents=[agent], tasks=[task])

    def run(self, agent: Any, prompt: str) -> str:
        return str(agent.kickoff())

    async def arun(self, agent: Any, prompt: str) -> str:
        return str(await agent.copy().akickoff())
