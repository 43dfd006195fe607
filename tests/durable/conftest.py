from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from durable_helpers import new_sqlite
from postgres_helpers import PostgresServer

from oarlock import Crew, CrewOutput
from oarlock.durable.here import HERE


@pytest.fixture(scope="module", autouse=True)
def engine_off_afterwards() -> Iterator[None]:
    """Stop the engine before another module's tests: its threads roll dice, which hypothesis takes for theirs."""
    yield
    HERE.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server of PostgreSQL for all tests of this process: each makes databases of its own there."""
    server = PostgresServer()
    yield server
    HERE.close()
    server.close()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An SQLite database of runs for all tests of this process: making one takes longer than a test."""
    yield new_sqlite(tmp_path_factory.mktemp("runs"))
    HERE.close()


@pytest.fixture(scope="module")
def engine_off() -> None:
    """Stop the engine: its threads roll dice, which hypothesis takes for the test's."""
    HERE.close()


@pytest.fixture
def run_id() -> str:
    return f"r-{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["blocking", "async"])
def kickoff(request: pytest.FixtureRequest, database: str) -> Callable[..., CrewOutput]:
    """`crew.kickoff(durable=...)` in both colours."""
    import asyncio

    def door(crew: Crew, run_id: str, inputs: dict[str, object] | None = None, **more: object) -> CrewOutput:
        if request.param == "blocking":
            return crew.kickoff(inputs or {}, durable=database, run_id=run_id, **more)  # type: ignore[arg-type]
        return asyncio.run(crew.akickoff(inputs or {}, durable=database, run_id=run_id, **more))  # type: ignore[arg-type]

    return door
