"""What benchmarks/durable.py runs: a crew of so many tasks in line, each one call of a model that takes so long."""

from __future__ import annotations

import os
import time
from typing import Any

from oarlock import Agent, BaseLLM, Crew, Task


class Slow(BaseLLM):
    """Answers after a while."""

    seconds = float(os.environ.get("SECONDS", "0"))

    def call(self, messages: Any) -> str:
        """Answer."""
        if self.seconds:
            time.sleep(self.seconds)
        return "An answer of ordinary length: oars are made of ash, spruce or carbon, and last for years if varnished."


def line(steps: int) -> Crew:
    """Return a crew whose tasks see nothing of each other, so that prompts stay short."""
    agent = Agent(role="Rower", goal="Row", backstory="Strong.", llm=Slow())
    tasks = [Task(description=f"Stroke {number}", agent=agent, context=[]) for number in range(steps)]
    return Crew(name=f"line{steps}", agents=[agent], tasks=tasks)


crew = line(10)
