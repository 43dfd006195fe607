"""How much a client may send, and how long things may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from oarlock.contract.checks import positive, whole

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Caps of a server.

    Args:
        body_bytes: most bytes of a request's body, whether its length is told or not. 10 MB hold a context window of two
            million tokens, or a few pictures.
        body_seconds: a body has to be there within so long.
        answer_seconds: a model's answer is given up after so long; 600 is also how long OpenAI's own clients wait.
        requests_at_once: requests beyond are told to come again.
        runs_at_once: runs of crews beyond are told to come again.
        runs_kept: runs that have ended and can still be looked at.
        events_kept: of each run, for those who come late; and at most 4 MB of them.
        heartbeat_seconds: a stream that is silent for so long sends a comment, so that nothing in between ends it.

    Raises:
        ConfigurationError: a number that cannot work.

    Example:
        >>> Limits(body_bytes=1_000_000).answer_seconds
        600.0
    """

    body_bytes: int = 10_000_000
    body_seconds: float = 30.0
    answer_seconds: float = 600.0
    requests_at_once: int = 1000
    runs_at_once: int = 100
    runs_kept: int = 1000
    events_kept: int = 2000
    heartbeat_seconds: float = 15.0

    def __post_init__(self) -> None:
        for field in fields(self):
            check = whole if field.type == "int" else positive
            check("Limits", field.name, getattr(self, field.name))
