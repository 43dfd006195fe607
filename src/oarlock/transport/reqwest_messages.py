"""From our requests to pyreqwest's, and from its responses to ours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from oarlock.contract.http import Headers, HttpRequest
from oarlock.transport.body import Body, check_headers
from oarlock.transport.naming import endpoint
from oarlock.transport.options import TransportOptions

__all__ = ["PREFETCH", "new_body", "prepared", "read_headers"]

# A body up to this size arrives together with the headers, in one step; pyreqwest's own default.
PREFETCH = 64 * 1024


def prepared(client: Any, request: HttpRequest, seconds: float | None, *, prefetch: int = PREFETCH) -> Any:
    """Return the client's own request, which is sent when it is entered."""
    builder = client.request(request.method, request.url)
    if request.headers:
        builder.headers(request.headers)
    if request.body:
        builder.body_bytes(request.body)
    if seconds is not None:
        builder.timeout(timedelta(seconds=seconds))
    if prefetch != PREFETCH:
        builder.streamed_read_buffer_limit(prefetch)
    return builder.build_streamed()


def new_body(request: HttpRequest, status: int, headers: Headers, options: TransportOptions) -> Body:
    """Return what decodes and counts the body of a response."""
    cut = status >= 400
    cap = options.max_error_body if cut else options.max_body
    return Body(headers, cap=cap, cut=cut, where=endpoint(request.url))


def read_headers(response: Any, request: HttpRequest, options: TransportOptions) -> Headers:
    """Return a response's headers, checked against their cap; a value that is not text is left out."""
    fields = response.headers
    try:
        by_name = fields.dict_multi_value()  # half the time of `items`, but a repeated field's values are a list
        pairs = fields.items() if list in map(type, by_name.values()) else by_name.items()
        headers = Headers.lowered(pairs)
    except ValueError:
        headers = Headers.lowered(_readable(fields))
    check_headers(headers, options.max_headers, request.url)
    return headers


def _readable(fields: Any) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name in dict.fromkeys(fields.keys()):
        try:
            pairs.extend((name, value) for value in fields.getall(name))
        except ValueError:  # bytes beyond ASCII, which HTTP has made obsolete; nothing of ours reads them
            continue
    return pairs
