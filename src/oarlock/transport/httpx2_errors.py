"""The one place where httpx2's errors become ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarlock.contract.errors import CallFailedError, ConfigurationError, OarlockError
from oarlock.transport.failures import broken, by_sign, caused_by, causes, timed_out, unsendable
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
    if isinstance(ours, ConfigurationError):  # those answer for errors that quote a header's value or the URL
        return caused_by(ours, None)
    for one in causes(error):
        _forget_request(one)
    return caused_by(ours, error)


def _translated(
    error: Exception, request: HttpRequest, options: TransportOptions, seconds: float | None
) -> OarlockError:
    import httpx2

    where = endpoint(request.url)
    if isinstance(error, httpx2.ConnectTimeout):
        limits = [options.connect_timeout, *([] if seconds is None else [seconds])]
        return timed_out(where, min(limits), connecting=min(limits) == options.connect_timeout)
    if isinstance(error, (httpx2.TimeoutException, TimeoutError)):
        return timed_out(where, seconds, connecting=False)
    known = isinstance(error, (httpx2.TransportError, OSError))
    ours = isinstance(error, (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol)) and not _is_http2(error)
    if ours or isinstance(error, (httpx2.InvalidURL, ValueError, TypeError)):
        return unsendable(request)
    if not known:  # such as a hook of the user's own client
        return CallFailedError(f"the HTTP client failed on the way to {where}, with {type(error).__name__}.")
    facts = " | ".join(f"{type(one).__name__}: {one}" for one in causes(error)).lower()
    body = "message body" in facts or "chunk" in facts
    connecting = isinstance(error, (httpx2.ConnectError, httpx2.ProxyError))
    failure = by_sign(facts, where, options.max_headers) or broken(where, connecting=connecting, body=body)
    return failure if body else blaming(failure, request, options)


def _is_http2(error: BaseException) -> bool:
    """Whether h2 is behind it: httpx2 calls each of its errors ours, also where the server broke the rules."""
    return any(type(one).__module__.partition(".")[0] == "h2" for one in causes(error))


def _forget_request(error: Any) -> None:
    """Take the request, and with it the credentials, out of a httpx2 error that is kept as a cause."""
    if getattr(error, "_request", None) is not None:
        error.request = None
