"""Plain HTTP messages, as sign-in flows and transports exchange them: data only, no client behind them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from oarlock.contract.records import dataclass, field
from oarlock.contract.replacing import replacer

T = TypeVar("T")


class Headers(Mapping[str, str]):
    """Header fields of one message: names compare without case, a name may occur more than once.

    `headers["x"]` is the first value; `get_all` gives each. A repr shows names only, since values may be secret.

    Example:
        >>> headers = Headers([("Retry-After", "2")])
        >>> headers["retry-after"]
        '2'
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = items.items() if isinstance(items, Mapping) else items
        self._items = tuple((name.lower(), value) for name, value in pairs)

    @classmethod
    def lowered(cls, items: Iterable[tuple[str, str]]) -> Headers:
        """Return header fields whose names are in lower case already, as clients give those of a response."""
        headers = cls.__new__(cls)
        headers._items = tuple(items)  # noqa: SLF001  its own class
        return headers

    def __getitem__(self, name: str) -> str:
        wanted = name.lower()
        for key, value in self._items:
            if key == wanted:
                return value
        raise KeyError(name)

    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str, /) -> str: ...
    @overload
    def get(self, name: str, default: T, /) -> str | T: ...

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the first value of a header, or the default."""
        wanted = name.lower()
        for key, value in self._items:
            if key == wanted:
                return value
        return default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._items))

    def __len__(self) -> int:
        return len({key for key, _ in self._items})

    def get_all(self, name: str) -> list[str]:
        """Return every value of a header, in the order in which they came."""
        wanted = name.lower()
        return [value for key, value in self._items if key == wanted]

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return all fields as (lower-case name, value), duplicates kept."""
        return self._items

    def __repr__(self) -> str:
        return f"Headers({', '.join(self)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One HTTP request: what a dialect encodes, a sign-in flow signs and a transport sends.

    Attributes:
        method: such as `"POST"`.
        url: absolute, without credentials.
        headers: fields in order; a name may repeat.
        body: the bytes to send.
        timeout: seconds for the whole exchange, from connecting to the last byte of the body (for a stream: to the
            response's headers); `None` is no limit.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    timeout: float | None = None

    def __repr__(self) -> str:
        """Show neither headers, body nor query: each may hold a credential."""
        url, query, _ = self.url.partition("?")
        timeout = "" if self.timeout is None else f", timeout={self.timeout:g}"
        return f"HttpRequest({self.method!r}, {url + ('?…' if query else '')!r}{timeout})"

    def with_headers(self, *pairs: tuple[str, str]) -> HttpRequest:
        """Return this request with these fields set, replacing fields of the same names."""
        names = {name.lower() for name, _ in pairs}
        kept = [pair for pair in self.headers if pair[0].lower() not in names]
        return _replaced(self, headers=(*kept, *pairs))

    def with_url(self, url: str) -> HttpRequest:
        """Return this request for another URL."""
        return _replaced(self, url=url)

    def with_timeout(self, timeout: float | None) -> HttpRequest:
        """Return this request with another timeout, in seconds."""
        return _replaced(self, timeout=timeout)


_replaced = replacer(HttpRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """One HTTP response whose body has been read, and decompressed.

    Attributes:
        status: such as 200.
        headers: its header fields.
        body: the whole of it; of an error (a status of 400 or more) perhaps only what came in time.
        body_error: why an error's body is not whole, as a sentence; `""` if it is. The status tells enough.
    """

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)
    body_error: str = ""


def is_loopback(host: str) -> bool:
    """Return whether a URL's host is this machine, so that what goes there crosses no network.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("llm.example.com")
        (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, 6.3
