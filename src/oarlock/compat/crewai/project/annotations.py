"""`crewai.project.annotations`."""

from oarlock.project import (
    after_kickoff,
    agent,
    before_kickoff,
    callback,
    crew,
    llm,
    output_json,
    output_pydantic,
    task,
    tool,
)

__all__ = [
    "after_kickoff",
    "agent",
    "before_kickoff",
    "callback",
    "crew",
    "llm",
    "output_json",
    "output_pydantic",
    "task",
    "tool",
]
