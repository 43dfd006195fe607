"""What DBOS logs, without what runs are about: it puts objects, SQL and whole errors into its messages."""

from __future__ import annotations

import logging
from typing import Final

from oarlock.contract.secret import scrub

__all__ = ["DISCREET", "reason_of"]

# What we tell in our own way: an error that we raise, a run that was left.
_OURS: Final = ("could not be deserialized", "Asyncio task cancelled")
# How messages begin that tell of the database, of queues and of schedules, and on their first line of nothing else.
_HARMLESS: Final = (
    "Database connection",
    "Notification ",
    "Fallback ",
    "Error connecting",
    "Error executing workflow",
    "Error fetching",
    "Error polling",
    "Exception ",
    "Contention ",
    "Workflow ",
    "Background thread",
    "Cannot run schedule",
)
_MOST: Final = 300  # characters of a message


def reason_of(error: BaseException) -> str:
    """Return why a database failed, without the statement and its values, which follow on further lines.

    Example:
        >>> reason_of(ValueError("(sqlite3.OperationalError) database is locked [SQL: INSERT ...]"))
        '(sqlite3.OperationalError) database is locked'
    """
    return scrub(_first_line(str(getattr(error, "orig", None) or error)), 200)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].partition("[SQL:")[0].rstrip(" .:")


class _Discreet(logging.Filter):
    """Cuts each message down to what is no content of a run, and takes tracebacks away."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if any(words in said for words in _OURS):
            return False
        failed = f": {record.exc_info[0].__name__}" if record.exc_info and record.exc_info[0] else ""
        known = said.startswith(_HARMLESS)
        first = _first_line(said.partition("Traceback (")[0]) if known else f"See {record.module}.py:{record.lineno}"
        record.msg, record.args = f"{scrub(first, _MOST)}{failed}", ()
        record.exc_info = record.exc_text = record.stack_info = None
        return True


DISCREET: Final = _Discreet()
