"""A fixed key in a header or in the query."""

from __future__ import annotations

from urllib.parse import quote

from oarlock.auth.credentials import header_name, secret_of
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
        if header is not None and query is not None:
            raise ConfigurationError("ApiKey: give a header or a query parameter, not both.")
        self._key = secret_of("ApiKey", key)
        self.query = query
        self.header = header_name("ApiKey", header or "Authorization")
        self._prefix = (
            ("Bearer " if header is None or header.lower() == "authorization" else "") if prefix is None else prefix
        )

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request."""
        key = self._key.reveal()
        if self.query is None:
            yield request.with_headers((self.header, self._prefix + key))
        else:
            joint = "&" if "?" in request.url else "?"
            url = f"{request.url}{joint}{quote(self.query)}={quote(key, safe='')}"
            yield HttpRequest(
                method=request.method, url=url, headers=request.headers, body=request.body, timeout=request.timeout
            )

    def __repr__(self) -> str:
        return f"ApiKey(query={self.query!r})" if self.query else f"ApiKey(header={self.header!r})"
