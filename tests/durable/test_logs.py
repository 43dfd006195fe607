"""Nothing of what runs are about gets into a log, whatever the engine's library writes into its messages."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from durable_helpers import CountingLLM, in_line
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

import oarlock.durable.dbos_store  # noqa: F401  which keeps the log clean
from oarlock.contract.errors import RateLimitError

CANARY = "the-canary-is-yellow"
LOG = logging.getLogger("dbos")


def failed_statement() -> OperationalError:
    """Return what a failing database raises: it shows the statement and its values."""
    with pytest.raises(OperationalError) as failure, create_engine("sqlite://").connect() as connection:
        connection.execute(text("insert into nowhere values (:output)"), {"output": CANARY})
    return failure.value


def test_what_could_not_be_written_is_not_in_the_log(caplog):
    error = failed_statement()
    assert CANARY in str(error)
    LOG.warning(f"Database connection failed: {error}. Retrying in 1.00s (attempt 1)")  # noqa: G004  as DBOS does
    assert caplog.messages == ["Database connection failed: (sqlite3.OperationalError) no such table: nowhere"]


def test_tracebacks_are_not_in_the_log(caplog):
    try:
        raise RateLimitError(CANARY)
    except RateLimitError:
        LOG.exception("Exception encountered in background workflow:")
    LOG.warning(f"Exception polling schedules: Traceback (most recent call last):\n  {CANARY}")  # noqa: G004
    assert caplog.messages == [
        "Exception encountered in background workflow: RateLimitError",
        "Exception polling schedules",
    ]
    assert [record.exc_info for record in caplog.records] == [None, None]


@pytest.mark.parametrize(
    "message", [f"Asyncio task cancelled for workflow or step {CANARY}", f"input could not be deserialized: {CANARY}"]
)
def test_what_we_say_ourselves_is_not_said_twice(caplog, message):
    LOG.warning(message)
    assert caplog.messages == []


def test_of_other_messages_the_log_says_only_where_to_look(caplog):
    LOG.error("Error serializing object: %s", CANARY)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("See test_logs.py:")


def test_a_run_that_fails_and_goes_on_shows_no_content(kickoff, run_id, caplog):
    caplog.set_level(logging.DEBUG)

    def answer(request: Any, before: int) -> str:
        if before == 0:
            raise RateLimitError(CANARY, status=429)
        return CANARY

    crew = in_line(CountingLLM(answer), 1)
    with pytest.raises(RateLimitError):
        kickoff(crew, run_id, {"word": CANARY})
    assert str(kickoff(crew, run_id, {"word": CANARY})) == CANARY
    ours = [record for record in caplog.records if record.name.startswith(("dbos", "oarlock.durable"))]
    assert "had failed (RateLimitError), and goes on" in caplog.text
    assert [record.getMessage() for record in ours if CANARY in record.getMessage()] == []
