"""Errors without the frames that they came through: those hold what was sent and received, credentials among it.

Tools that report errors with the values of local variables (Sentry, rich, `traceback.TracebackException` with
`capture_locals=True`) would show a header's value or a body that echoes one. So an error of ours leaves the layers that handle plain
credentials as if it had been raised at their edge.
"""

from __future__ import annotations

from typing import TypeVar

from oarlock.contract.errors import OarlockError

__all__ = ["without_frames"]

Error = TypeVar("Error", bound=BaseException)


def without_frames(error: Error) -> Error:
    """Return an error without its traceback, for `raise`; likewise the errors of ours that caused it.

    What a user's own code raised keeps its traceback: it is needed to find the mistake there.

    Example:
        >>> without_frames(OarlockError("no")).__traceback__ is None
        True
    """
    link: BaseException | None = error
    seen: set[int] = set()  # an error may be its own cause: `raise error from error`
    while link is not None and id(link) not in seen and (link is error or isinstance(link, OarlockError)):
        seen.add(id(link))
        link.__traceback__ = None
        if isinstance(link, OarlockError):  # such as a parser's error, which quotes the whole document
            link.__context__ = None
        link = link.__cause__
    return error
