"""The one place where httpx2's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from oarlock.contract.errors import ConfigurationError, OarlockError
from oarlock.transport.failures import broken, by_sign, timed_out, unsendable
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
        return error
    ours = _translated(error, request, options, seconds)
    if not isinstance(ours, ConfigurationError):  # those answer for errors that quote a header's value or the URL
        _forget_request(error)
        ours.__cause__ = error
    return ours


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
    if not isinstance(error, (httpx2.TransportError, OSError)) or isinstance(
        error, (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol)
    ):
        return unsendable(request)
    facts = " | ".join(f"{type(one).__name__}: {one}" for one in _causes(error)).lower()
    body = "message body" in facts or "chunk" in facts
    return by_sign(facts, where, options.max_headers) or broken(
        where, connecting=isinstance(error, (httpx2.ConnectError, httpx2.ProxyError)), body=body
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and everything behind it, groups included (anyio tries several addresses at once)."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def _forget_request(error: Any) -> None:
    """Take the request, and with it the credentials, out of a httpx2 error that is kept as a cause."""
    if getattr(error, "_request", None) is not None:
        error.request = None
