"""Crews whose models and tools count how often they are asked, and die on command."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oarlock import Agent, BaseLLM, Crew, Reply, Request, Task, ToolCall, Usage, current_call
from oarlock.durable.stores import open_store


class Crash(BaseException):
    """What a process that ends in the middle looks like from inside: nothing is recorded, nobody handles it."""


class CountingLLM(BaseLLM):
    """Answers each question by a function of it, and notes the idempotency keys that it was asked with.

    Args:
        answer: takes the request and how many were asked before; returns a text, a `Reply`, or raises.
    """

    def __init__(self, answer: Callable[[Request, int], Any], functions: bool = True) -> None:
        super().__init__(model="counting")
        self.answer = answer
        self.functions = functions
        self.keys: list[str | None] = []
        self._lock = threading.Lock()

    def supports_function_calling(self) -> bool:
        return self.functions

    def complete(self, request: Request) -> Reply:
        with self._lock:
            before = len(self.keys)
            self.keys.append(current_call().idempotency_key)
        said = self.answer(request, before)
        if isinstance(said, Reply):
            return said
        return Reply(text=said, usage=Usage(prompt_tokens=10, completion_tokens=2, requests=1), raw={"all": "of it"})


def calls(*names_and_arguments: tuple[str, str]) -> Reply:
    """Return a reply that asks for tools."""
    return Reply(
        tool_calls=tuple(
            ToolCall(id=f"call_{number}", name=name, arguments=arguments)
            for number, (name, arguments) in enumerate(names_and_arguments)
        ),
        usage=Usage(prompt_tokens=10, completion_tokens=2, requests=1),
    )


def one_agent(llm: BaseLLM, *, tools: Any = (), **task: Any) -> Crew:
    """Return a crew of one agent with one task."""
    agent = Agent(role="Cox", goal="Steer", backstory="", llm=llm, tools=list(tools))
    task.setdefault("description", "Say {word}")
    return Crew(agents=[agent], tasks=[Task(agent=agent, **task)])


def in_line(llm: BaseLLM, tasks: int) -> Crew:
    """Return a crew of one agent with tasks that come one after the other."""
    agent = Agent(role="Cox", goal="Steer", backstory="", llm=llm)
    return Crew(agents=[agent], tasks=[Task(description=f"Task {number}", agent=agent) for number in range(tasks)])


def until(condition: Callable[[], object]) -> None:
    """Wait for something that other threads or processes do."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def new_sqlite(folder: Path) -> str:
    """Return the address of a new SQLite database of runs: a copy of one, as making the tables takes seconds."""
    if not _templates:
        template = Path(tempfile.mkdtemp(prefix="oarlock-runs-")) / "runs.db"
        open_store(f"sqlite:///{template}", make=True).close()
        _templates.append(template)
        atexit.register(shutil.rmtree, template.parent, ignore_errors=True)
    shutil.copy(_templates[0], folder / "runs.db")
    return f"sqlite:///{folder}/runs.db"


_templates: list[Path] = []
