"""The one place where pyreqwest's errors become ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarlock.contract.errors import ConfigurationError, OarlockError
from oarlock.transport.failures import broken, by_sign, caused_by, timed_out, unsendable
from oarlock.transport.identity import blaming
from oarlock.transport.naming import endpoint

if TYPE_CHECKING:
    from oarlock.contract.http import HttpRequest
    from oarlock.transport.options import TransportOptions

__all__ = ["translate"]


def translate(error: Exception, request: HttpRequest, options: TransportOptions, seconds: float | None) -> OarlockError:
    """Return our error for one that came up while `request` was sent; `seconds` is the limit that held.

    The original is its cause, unless it quotes what may be secret.
    """
    if isinstance(error, OarlockError):
        return caused_by(error, error.__cause__)
    ours = _translated(error, request, options, seconds)
    quotes = isinstance(ours, ConfigurationError)  # those answer for errors that quote a header's value or the URL
    return caused_by(ours, None if quotes else error)


def _translated(
    error: Exception, request: HttpRequest, options: TransportOptions, seconds: float | None
) -> OarlockError:
    from pyreqwest.exceptions import BuilderError, DetailedPyreqwestError, RequestTimeoutError

    where = endpoint(request.url)
    facts = _facts(error) if isinstance(error, DetailedPyreqwestError) else ""
    connecting = "(connect)" in facts
    if isinstance(error, TimeoutError):
        connecting = connecting and isinstance(error, RequestTimeoutError)
        return timed_out(where, options.connect_timeout if connecting else seconds, connecting=connecting)
    if isinstance(error, BuilderError) or not isinstance(error, DetailedPyreqwestError):
        return unsendable(request)
    body = "response body" in facts
    ours = by_sign(facts, where, options.max_headers) or broken(where, connecting=connecting, body=body)
    return ours if body else blaming(ours, request, options)


def _facts(error: Any) -> str:
    """Return the chain of causes as one lower-case text, and take URLs out of it: their query may hold a key."""
    causes = error.details.get("causes") or []
    for cause in causes:
        cause["message"] = cause["message"].partition(" for url (")[0]
    return " | ".join([error.message, *(cause["message"] for cause in causes)]).lower()
