"""A fixed key in a header or in the query."""

from __future__ import annotations

from urllib.parse import quote

from oarlock.auth.credentials import header_name, printable, secret_of
from oarlock.contract.auth import Flow
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret

__all__ = ["ApiKey"]


class ApiKey:
    """Sends a fixed key with each request.

    Args:
        key: the key; blanks around it are dropped.
        header: the header that carries it.
        prefix: what stands before it; default: `"Bearer "` in `Authorization`, nothing elsewhere.
        query: the name of a query parameter that carries it instead of a header.

    Raises:
        ConfigurationError: the key is empty or cannot stand in a header, or both header and query are given.

    Example:
        >>> ApiKey("my-key", header="x-api-key")
        ApiKey(header='x-api-key')
    """

    def __init__(
        self, key: str | Secret, *, header: str | None = None, prefix: str | None = None, query: str | None = None
    ) -> None:
        if query is not None and (header is not None or prefix is not None):
            raise ConfigurationError("ApiKey: give a header, with or without a prefix, or a query parameter, not both.")
        if query is not None and (not isinstance(query, str) or not query):
            raise ConfigurationError(f"ApiKey: query must be the name of a query parameter, not {query!r}.")
        self._key = secret_of("ApiKey", key)
        self.query = query
        self.header = header_name("ApiKey", "Authorization" if header is None else header)
        self._prefix = ("Bearer " if self.header.lower() == "authorization" else "") if prefix is None else prefix
        if not isinstance(self._prefix, str) or not printable(self._prefix):
            raise ConfigurationError("ApiKey: prefix must be a text that a header can carry, such as 'Token '.")

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request."""
        key = self._key.reveal()
        if self.query is None:
            yield request.with_headers((self.header, self._prefix + key))
        else:
            joint = "&" if "?" in request.url else "?"
            url = f"{request.url}{joint}{quote(self.query, safe='')}={quote(key, safe='')}"
            yield request.with_url(url)

    def __repr__(self) -> str:
        return f"ApiKey(query={self.query!r})" if self.query else f"ApiKey(header={self.header!r})"
