"""Custom headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from oarlock.auth.credentials import header_name, secret_of
from oarlock.contract.auth import Flow
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, ConfigurationError, OarlockError
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret

__all__ = ["Headers"]

Source = Callable[[HttpRequest], Mapping[str, str | Secret]]


class Headers:
    """Sends headers of your own with each request: fixed ones, or what a function returns for the request.

    Args:
        headers: names and values, or a quick function from the request to them. It is called for every request, may
            look at its `method`, `url` and `body`, and must not do I/O: for a token that is fetched, use `BearerToken`.

    Raises:
        ConfigurationError: a name or value cannot stand in a header.
        AuthenticationError: from a call, when the function fails.

    Example:
        >>> Headers({"x-team": "blue", "x-token": "s3cret"})
        Headers(x-team, x-token)
    """

    def __init__(self, headers: Mapping[str, str | Secret] | Source) -> None:
        if not isinstance(headers, Mapping) and not callable(headers):
            raise ConfigurationError(f"Headers: give a mapping or a function, not {type(headers).__name__}.")
        self._source = headers if callable(headers) else None
        self._fixed = {} if callable(headers) else _checked(headers)

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request."""
        headers = self._fixed if self._source is None else _asked(self._source, request)
        yield request.with_headers(*((name, value.reveal()) for name, value in headers.items()))

    def __repr__(self) -> str:
        return "Headers(<function>)" if self._source is not None else f"Headers({', '.join(self._fixed)})"


def _asked(source: Source, request: HttpRequest) -> dict[str, Secret]:
    try:
        return _checked(source(request))
    except OarlockError:
        raise
    except Exception as error:  # the boundary to the user's function
        raise AuthenticationError(str(classify(error, "The function of Headers"))) from error


def _checked(headers: Mapping[str, str | Secret]) -> dict[str, Secret]:
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"Headers: the function must return a mapping, not {type(headers).__name__}.")
    return {header_name("Headers", name): secret_of(f"Headers: {name}", value) for name, value in headers.items()}
