"""What is known of one request, for the log: who, what, how long; never what was said."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from oarlock.contract.errors import BadRequestError, CallFailedError, LLMError, OarlockError, ResponseFormatError
from oarlock.contract.reply import Usage
from oarlock.contract.secret import scrub
from oarlock.serve.callers import ANYBODY, Caller
from oarlock.serve.errors import ApiError, api_error

__all__ = ["RECORD", "Record", "in_log_words"]

RECORD: Final = "oarlock.record"
"""Where in an ASGI scope the record of the request is."""

_log = logging.getLogger("oarlock.serve")


@dataclass(slots=True, kw_only=True)
class Record:
    """One request.

    Attributes:
        request_id: ours, or the client's own.
        caller: who asks.
        model: what is asked.
        usage: what it cost.
        error: the code of the error that the client was told.
        status: of the answer; 499 where the client had left.
    """

    request_id: str
    caller: Caller = ANYBODY
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    error: str | None = None
    status: int = 499

    def failed(self, error: Exception) -> ApiError:
        """Return what the client is told of an error; log what it is not told."""
        told = api_error(error)
        self.error = told.code
        if not isinstance(error, ApiError) and told.message != str(error):
            _log.warning("%s failed: %s", self.request_id, in_log_words(error))
            _log.debug("%s failed, in its own words: %s", self.request_id, scrub(str(error)))
        return told

    def log(self, method: str, path: str, seconds: float) -> None:
        """Log the request, now that it is over."""
        if not _log.isEnabledFor(logging.INFO):
            return
        facts = [f"caller={self.caller.name}"]
        if self.model is not None:
            facts.append(f"model={self.model}")
        if self.usage.total_tokens:
            facts.append(f"tokens={self.usage.prompt_tokens}+{self.usage.completion_tokens}")
        if self.error is not None:
            facts.append(f"error={self.error}")
        line = f"{self.request_id} {method} {quote(path[:200])} {self.status} {seconds:.3f}s {' '.join(facts)}"
        _log.info("%s", line)


def in_log_words(error: Exception) -> str:
    """Return an error for the log: not in its own words where those may be a prompt's or an answer's."""
    kind = type(error).__name__
    if isinstance(error, CallFailedError) and error.__cause__ is not None:
        return f"{kind} by {_place(error.__cause__)}"
    if not isinstance(error, OarlockError):
        return _place(error)
    if isinstance(error, BadRequestError | ResponseFormatError):
        facts = {"status": error.status, "code": error.code, "request_id": error.request_id}
        return f"{kind} {', '.join(f'{name}={value}' for name, value in facts.items() if value is not None)}".strip()
    sent = f" (sent {error.attempts} times)" if isinstance(error, LLMError) and error.attempts > 1 else ""
    return f"{kind}: {error}{sent}"


def _place(error: BaseException) -> str:
    """Return what was raised, and where."""
    where = traceback.extract_tb(error.__traceback__)
    kind = type(error).__name__
    return f"{kind} in {where[-1].filename}:{where[-1].lineno}" if where else kind
