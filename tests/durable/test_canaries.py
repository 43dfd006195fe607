"""What stands in the files of a database after runs that had to do with secrets: no secret, and when it is sealed no content."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from durable_helpers import CountingLLM, in_line, new_sqlite
from postgres_helpers import needs_postgres

from oarlock import Agent, ChatLLM, Crew, Task, tool
from oarlock.auth import BearerToken
from oarlock.contract.errors import AuthenticationError
from oarlock.durable import RunHandle, new_key
from oarlock.durable.here import HERE
from oarlock.testing import LoopbackEndpoint
from oarlock.testing.endpoint import ToolCalls

SECRET = "sk-canary-Q7rT2mXw9LpZ4nVb8Kd"

Written = Callable[[], bytes]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def place(request, tmp_path) -> tuple[str, Written]:
    """A database, and what stands in its files."""
    HERE.close()
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        return server.database(), server.written
    return new_sqlite(tmp_path), lambda: b"".join(file.read_bytes() for file in tmp_path.iterdir())


class Content:
    """What a run is about, in words that are in no other run."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex
        self.prompt, self.input, self.argument, self.told, self.answer, self.judged, self.failure = (
            f"the-{what}-{mark}" for what in ("prompt", "input", "argument", "told", "answer", "judged", "failure")
        )


def run_with_secrets(database: str, run_id: str) -> Content:
    """Run crews with a secret in the sign-in, in the user, in a tool's failure, and in that of an endpoint."""
    content = Content()

    @tool(idempotent=True)
    def look(text: str) -> str:
        """Look."""
        raise ValueError(f"{content.told}, api_key={SECRET}")

    def refused(request: Any, before: int) -> Any:
        raise AuthenticationError(f"{content.failure}: Incorrect API key: {SECRET}", status=401, request_id=SECRET)

    asked = ToolCalls([("look", {"text": content.argument})])
    with LoopbackEndpoint([asked, content.answer]) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=BearerToken(SECRET))
        agent = Agent(role="Cox", goal="Look", backstory="", llm=llm, tools=[look])
        task = Task(description=f"{content.prompt} {{x}}", agent=agent, guardrail=lambda output: (True, content.judged))
        crew = Crew(agents=[agent], tasks=[task])
        crew.kickoff({"x": content.input}, durable=database, run_id=run_id, user={"token": SECRET})
    with pytest.raises(AuthenticationError):
        in_line(CountingLLM(refused), 1).kickoff(durable=database, run_id=f"{run_id}-2")
    with RunHandle(run_id, database=database) as handle:
        assert len([event for event in handle.events() if event.kind != "state"]) == 4
    HERE.close()
    return content


def found(texts: list[str], written: bytes) -> list[str]:
    return [text for text in texts if text.encode() in written]


def test_no_secret_is_written(place, run_id):
    database, written = place
    content = list(vars(run_with_secrets(database, run_id)).values())
    there = written()
    assert found([run_id, *content], there) == [run_id, *content]
    assert found([SECRET, SECRET[3:]], there) == []


def test_of_a_sealed_run_no_content_is_written(place, run_id, monkeypatch):
    monkeypatch.setenv("RUNS_KEY", new_key())
    database, written = place
    content = run_with_secrets(f"{database}?key=env:RUNS_KEY", run_id)
    assert found([run_id, SECRET, *vars(content).values()], written()) == [run_id]
