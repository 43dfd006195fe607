"""What the tests' workers serve, each in a process of its own: `oarlock worker worker_crews:registry`.

The model answers the number of the task, slowly if the test says so; each call and each use of the tool is a line in a file, so
that the test can count what was done how often.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from durable_helpers import CountingLLM, calls

from oarlock import Agent, Crew, Task, current_call, tool
from oarlock.durable import Registry

JOURNAL = os.environ.get("JOURNAL", "")
DELAY = float(os.environ.get("DELAY", "0"))


def note(kind: str, key: str | None) -> None:
    """Write a line, in one piece."""
    file = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{json.dumps([kind, key, os.getpid()])}\n".encode())
    finally:
        os.close(file)


def answer(request: Any, before: int) -> Any:
    """Ask for the tool once in each task, then answer."""
    time.sleep(DELAY)
    note("model", current_call().idempotency_key)
    description = str(request.messages[1]["content"]).split()[1]
    if request.messages[-1]["role"] == "tool":
        return f"{description} {request.messages[-1]['content']}"
    return calls(("pay", json.dumps({"what": description})))


@tool
def pay(what: str, idempotency_key: str) -> str:
    """Pay for something."""
    note("pay", idempotency_key)
    return f"paid {what}"


llm = CountingLLM(answer)
agent = Agent(role="Cox", goal="Pay", backstory="", llm=llm, tools=[pay])
line = Crew(name="line", agents=[agent], tasks=[Task(description=f"Task {n}", agent=agent) for n in range(3)])
aside = Crew(
    name="aside",
    agents=[agent],
    tasks=[
        *[Task(description=f"Task {n}", agent=agent, async_execution=True) for n in range(3)],
        Task(description="Task 3", agent=agent),
    ],
)
registry = Registry(line, aside)
