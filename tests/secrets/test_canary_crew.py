"""One canary credential through a whole crew, its policies and what they write down: it shows nowhere."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import io
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from oarlock import Agent, ChatLLM, Crew, OarlockError, Task, tool
from oarlock.auth import BearerToken
from oarlock.contract.events import Event
from oarlock.policies import (
    Budget,
    Cache,
    CircuitBreaker,
    Concurrency,
    Deadline,
    Fallback,
    Log,
    Metrics,
    RateLimit,
    Retry,
)
from oarlock.report import as_page, read_record
from oarlock.testing import Drop, LoopbackEndpoint, Status, ToolCalls
from oarlock.testing.endpoint import Scripted

CANARY = "Zq7canary4vX9Lm20"


@tool
def look_up(topic: str) -> str:
    """Look a topic up."""
    return f"Much is known about {topic}."


class Watched:
    """A crew whose LLM signs in with the canary, and everything that it lets out."""

    def __init__(self, url: str, spare: str, folder: Path) -> None:
        self.events: list[Event] = []
        self.folder = folder
        self.record = folder / "run.jsonl"
        self.auth = BearerToken(lambda: (CANARY, 3600))
        self.llm = ChatLLM("m", url, auth=self.auth, timeout=20).with_policies(
            Log(content=True),
            Metrics(),
            Cache(folder / "answers.db"),
            Budget(tokens=1_000_000),
            Deadline(60),
            Fallback(ChatLLM("spare", spare, auth=BearerToken(CANARY), policies=())),
            Retry(base_delay=0.001, throttled_base_delay=0.001),
            CircuitBreaker(),
            Concurrency(4),
            RateLimit(requests_per_minute=6000, tokens_per_minute=1_000_000, burst=100),
        )
        agent = Agent(role="Clerk", goal="Answer", backstory="Careful.", llm=self.llm, tools=[look_up], verbose=True)
        task = Task(description="Tell about {topic}", expected_output="A sentence", agent=agent)
        self.crew = Crew(agents=[agent], tasks=[task], verbose=True)

    def run(self, how: str) -> Any:
        if how == "blocking":
            return self.crew.kickoff(
                {"topic": "boats"}, user={"name": "ada"}, on_event=self.events.append, record=self.record
            )
        return asyncio.run(
            self.crew.akickoff(
                {"topic": "boats"}, user={"name": "ada"}, on_event=self.events.append, record=self.record
            )
        )

    def let_out(self, outcome: Any) -> dict[str, str]:
        """Return all texts in which the canary must not stand, by where they are from."""
        explained = io.StringIO()
        self.llm.explain(file=explained)
        return {
            "events": repr(self.events),
            "events as data": repr([_as_dict(event) for event in self.events]),
            "outcome": f"{outcome!r} {outcome} {_inside(outcome)!r}",
            "pickle": pickle.dumps(outcome).decode("latin-1"),
            "copies": repr([copy.copy(outcome), copy.deepcopy(outcome), copy.deepcopy(self.crew)]),
            "crew": repr([self.crew, self.crew.agents, self.crew.tasks, self.llm, vars(self.llm), self.auth]),
            "explanation": explained.getvalue(),
            "metrics": repr(self.llm.get_metrics()),
            "report": as_page(read_record(self.record)),
            "files": "".join(path.read_bytes().decode("latin-1") for path in self.folder.iterdir()),
        }


def _inside(outcome: Any) -> Any:
    return vars(outcome) if isinstance(outcome, BaseException) else dataclasses.asdict(outcome)


def _as_dict(event: Event) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}


CALL = ToolCalls([("look_up", {"topic": "boats"})])
GOOD: list[Scripted] = [
    Status(503, body=f"no {CANARY}"),
    Status(401, body={"error": {"message": f"{CANARY} has expired"}}),
    CALL,
    Drop(),
    "Boats float.",
]
BAD: dict[str, list[Scripted]] = {
    "refused": [Status(401, body={"error": {"message": f"{CANARY} is wrong"}})],
    "wrong": [Status(400, body={"error": {"message": f"what is {CANARY}", "code": CANARY}})],
    "down": [Status(500, body=CANARY)],
    "cut": [CALL, Drop()],
    "throttled": [Status(429, headers={"x-request-id": CANARY, "retry-after": "0"}, body=CANARY)],
}


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_a_crew_that_answers(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with LoopbackEndpoint(GOOD) as endpoint, LoopbackEndpoint("spare") as spare:
        watched = Watched(endpoint.url, spare.url, tmp_path)
        output = watched.run(how)
        assert output.raw == "Boats float."
        assert any(request.headers["authorization"] == f"Bearer {CANARY}" for request in endpoint.requests)
        _nowhere(watched.let_out(output), caplog, capfd)


@pytest.mark.parametrize("how", ["blocking", "async"])
@pytest.mark.parametrize("fault", BAD)
def test_a_crew_that_fails(
    fault: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with LoopbackEndpoint(BAD[fault]) as endpoint, LoopbackEndpoint(Status(500, body=CANARY)) as spare:
        watched = Watched(endpoint.url, spare.url, tmp_path)
        with pytest.raises(OarlockError) as caught:
            watched.run(how)
        texts = watched.let_out(caught.value)
        trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        texts["traceback with locals"] = "".join(trace.format())
        texts["notes"] = repr(getattr(caught.value, "__notes__", None))
        _nowhere(texts, caplog, capfd)


def _nowhere(texts: dict[str, str], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    texts["log"] = repr([(record.getMessage(), record.args) for record in caplog.records])
    texts["terminal"] = repr(capfd.readouterr())
    assert [where for where, text in texts.items() if CANARY in text] == []
