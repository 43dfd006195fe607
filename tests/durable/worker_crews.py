"""What the tests' workers serve, each in a process of its own: `oarlock worker worker_crews:registry`.

In each task the model asks for two tools at once, then answers: one that takes an idempotency key, and one that must never be run
twice. Each model call and each use of a tool is a line in a file.
"""

from __future__ import annotations

import json
import os
import random
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
        line = {"kind": kind, "key": key, "pid": os.getpid(), "at": time.time()}
        os.write(file, f"{json.dumps(line)}\n".encode())
    finally:
        os.close(file)


def answer(request: Any, before: int) -> Any:
    """Ask for the tools once in each task, then answer with what the first one said."""
    note("model", current_call().idempotency_key)
    time.sleep(DELAY * random.uniform(0.2, 1.8))
    description = str(request.messages[1]["content"]).split()[1]
    told = [message for message in request.messages if message["role"] == "tool"]
    if told:
        return f"{description} {told[0]['content']}"
    return calls(("pay", json.dumps({"what": description})), ("mark", "{}"))


@tool
def pay(what: str, idempotency_key: str) -> str:
    """Pay for something."""
    note("pay", idempotency_key)
    time.sleep(DELAY * random.uniform(0, 0.5))
    return f"paid {what}"


@tool(on_resume="skip")
def mark() -> str:
    """Leave a mark, which must not be left twice."""
    note("mark", current_call().idempotency_key)
    time.sleep(DELAY * random.uniform(0, 0.5))
    return "marked"


agent = Agent(role="Cox", goal="Pay", backstory="", llm=CountingLLM(answer), tools=[pay, mark])
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
