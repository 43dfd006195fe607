"""Custom headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from oarlock.auth.credentials import header_name, secret_of
from oarlock.contract.auth import Flow
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret

__all__ = ["Headers"]


class Headers:
    """Sends headers of your own with each request: fixed ones, or what a function returns for the request.

    Args:
        headers: names and values, or a quick function from the request to them. It is called for every request, may
            look at its `method`, `url` and `body`, and must not do I/O: for a token that is fetched, use `BearerToken`.

    Raises:
        ConfigurationError: a name or value cannot stand in a header.

    Example:
        >>> Headers({"x-team": "blue", "x-token": "s3cret"})
        Headers(x-team, x-token)
    """

    def __init__(
        self, headers: Mapping[str, str | Secret] | Callable[[HttpRequest], Mapping[str, str | Secret]]
    ) -> None:
        if not isinstance(headers, Mapping) and not callable(headers):
            raise ConfigurationError(f"Headers: give a mapping or a function, not {type(headers).__name__}.")
        self._source = headers if callable(headers) else None
        self._fixed = {} if callable(headers) else _checked(headers)

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request."""
        headers = self._fixed if self._source is None else _checked(self._source(request))
        yield request.with_headers(*((name, value.reveal()) for name, value in headers.items()))

    def __repr__(self) -> str:
        return f"Headers({self._source!r})" if self._source else f"Headers({', '.join(self._fixed)})"


def _checked(headers: Mapping[str, str | Secret]) -> dict[str, Secret]:
    return {header_name("Headers", name): secret_of(f"Headers: {name}", value) for name, value in headers.items()}
