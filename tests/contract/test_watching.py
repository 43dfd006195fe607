"""Watchers of all runs and calls of a process, of one's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oarlock import Agent, Crew, Task
from oarlock.contract.events import Event
from oarlock.contract.watching import Watcher, Watchers, carried, listening, resuming
from oarlock.testing import ScriptedLLM


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    yield
    Watchers.all = ()


def test_one_that_does_nothing_changes_nothing():
    Watchers.all = (Watcher(),)
    agent = Agent(role="Cox", goal="g", backstory="", llm=ScriptedLLM(["done", "again"]))
    crew = Crew(agents=[agent], tasks=[Task(description="x", expected_output="y", agent=agent)])
    assert crew.kickoff().raw == "done"
    assert agent.llm.call("Hi") == "again"
    assert carried() == {}
    with resuming({"a": "b"}):
        pass


def test_each_hears_of_each_event_before_the_runs_own_listener():
    heard: list[str] = []

    class Hearing(Watcher):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_event(self, event: Event) -> None:
            heard.append(self.name)

    Watchers.all = (Hearing("first"), Hearing("second"))
    tell = listening(lambda event: heard.append("own"))
    assert tell is not None
    tell(Event())
    assert heard == ["first", "second", "own"]


def test_what_is_carried_comes_from_all():
    class Carrying(Watcher):
        def __init__(self, name: str) -> None:
            self.name = name

        def carried(self) -> dict[str, str]:
            return {self.name: "here"}

    Watchers.all = (Carrying("a"), Carrying("b"))
    assert carried() == {"a": "here", "b": "here"}


def test_without_any_a_runs_listener_is_itself():
    assert listening(None) is None
    assert listening(print) is print
