"""Oarlock: a `ChatLLM` with its default policies; a crew of one agent with one task, shared by all runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from oarlock import Agent, ChatLLM, Crew, Task, tool
from oarlock.auth import ApiKey


class Peer:
    def __init__(self, url: str, add: Callable[[int, int], int]) -> None:
        self.llm = ChatLLM("m", url, auth=ApiKey("k"))
        self.add = add

    def call(self, prompt: str) -> str:
        return str(self.llm.call(prompt))

    async def acall(self, prompt: str) -> str:
        return str(await self.llm.acall(prompt))

    def stream(self, prompt: str) -> Iterator[str]:
        return map(str, self.llm.stream(prompt))

    def make_agent(self, prompt: str) -> Any:
        agent = Agent(role="Clerk", goal="Answer correctly", llm=self.llm, tools=[tool(self.add)])
        return Crew(tasks=[Task(description=prompt, expected_output="One sentence", agent=agent)])

    def run(self, agent: Any, prompt: str) -> str:
        return str(agent.kickoff())

    async def arun(self, agent: Any, prompt: str) -> str:
        return str(await agent.akickoff())
