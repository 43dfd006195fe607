"""The client certificate that a transport shows: when it is looked at again, and what its failures mean."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from oarlock.contract.client_identity import ClientIdentity, IdentitySource
from oarlock.contract.errors import ConnectionFailedError, LLMError
from oarlock.transport.failures import NOT_OUR_CERTIFICATE
from oarlock.transport.naming import endpoint

if TYPE_CHECKING:
    from oarlock.contract.http import HttpRequest
    from oarlock.transport.options import TransportOptions

__all__ = ["Shown", "blaming"]

_BETWEEN_LOOKS = 1.0  # seconds: cheap enough for every request, and soon enough for any rotation


class Shown:
    """The client certificate of one transport, as new connections are to show it."""

    __slots__ = ("_look_at", "_source")

    def __init__(self, options: TransportOptions) -> None:
        given = options.client_certificate
        self._source = given if isinstance(given, IdentitySource) else None  # paths are read once for each client
        self._look_at = 0.0

    def current(self) -> ClientIdentity | None:
        """Return the certificate, looked at again now and then; `None` if there is none that could change."""
        if self._source is None:
            return None
        now = time.monotonic()
        if now < self._look_at:
            return self._source.present
        self._look_at = now + _BETWEEN_LOOKS
        return self._source.latest()


def blaming(error: LLMError, request: HttpRequest, options: TransportOptions) -> LLMError:
    """Return the error of a connection that failed before the answer with the certificate that may be why.

    If another certificate has taken its place meanwhile, the same request may succeed.
    """
    source, where = options.client_certificate, endpoint(request.url)
    if not isinstance(source, IdentitySource) or not request.url.lower().startswith("https:"):
        return error
    if not isinstance(error, ConnectionFailedError) or str(error) in {
        one.format(where=where) for one in NOT_OUR_CERTIFICATE
    }:
        return error
    shown = source.present
    replaced = source.latest() is not shown
    error.retryable = error.retryable or replaced
    more = " A new one has taken its place meanwhile." if replaced else ""
    error.args = (f"{error} It was to be shown {shown.describe(time.time())}.{more}",)
    return error
