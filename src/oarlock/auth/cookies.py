"""The cookies of one session, kept and sent by RFC 6265, and only to the scheme and port of the login."""

from __future__ import annotations

import ipaddress
import math
import threading
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Final
from urllib.parse import SplitResult, urlsplit

from oarlock.auth.credentials import printable
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import Secret

__all__ = ["Cookies"]

_MOST_COOKIES: Final = 100  # RFC 6265, 6.1 wants 50 at least
_MOST_CHARACTERS: Final = 4096  # of name and value together
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cookie:
    name: str
    value: Secret
    host: str
    host_only: bool
    path: str
    secure: bool
    expires_at: float


class Cookies:
    """What a server set, by name, host and path.

    Args:
        url: of the login.

    Attributes:
        expire: whether one of them may expire.
    """

    def __init__(self, url: str) -> None:
        self._place = _place(url)
        self._lock = threading.Lock()
        self._cookies: dict[tuple[str, str, str], _Cookie] = {}
        self._made: tuple[str, Secret | None] | None = None  # the newest header, and the URL that it is for
        self.expire = False

    def keep(self, request: HttpRequest, response: HttpResponse, now: float) -> None:
        """Take the cookies of a response; one that has expired takes the old one of that name away."""
        for line in response.headers.get_all("set-cookie"):
            cookie = _parsed(line, request.url, now)
            if cookie is None or _place(request.url) != self._place:
                continue
            key = cookie.name, cookie.host, cookie.path
            with self._lock:
                self._made = None
                if cookie.expires_at <= now:
                    self._cookies.pop(key, None)
                else:
                    self._cookies[key] = cookie
                    self.expire = self.expire or cookie.expires_at < math.inf
                    while len(self._cookies) > _MOST_COOKIES:
                        del self._cookies[next(iter(self._cookies))]

    def drop_expired(self, now: float) -> None:
        """Forget those whose time is over."""
        with self._lock:
            for key in [key for key, one in self._cookies.items() if one.expires_at <= now]:
                self._made = None
                del self._cookies[key]

    def header(self, url: str) -> str | None:
        """Return the `Cookie` header for a request, `None` where there is nothing to send."""
        made = self._made
        if made is None or made[0] != url:
            with self._lock:
                made = self._made = url, self._header(url)
        return None if made[1] is None else made[1].reveal()

    def _header(self, url: str) -> Secret | None:
        parts = urlsplit(url)
        if _place_of(parts) != self._place:
            return None
        host, path = parts.hostname or "", parts.path or "/"
        fit = [one for one in self._cookies.values() if _is_for(one, host, path, self._place[0])]
        if len(fit) > 1:
            fit.sort(key=lambda one: -len(one.path))  # the longest path first, else the oldest (RFC 6265, 5.4)
        return Secret("; ".join(f"{one.name}={one.value.reveal()}" for one in fit)) if fit else None

    def __len__(self) -> int:
        return len(self._cookies)

    def __repr__(self) -> str:
        return f"<{len(self)} cookies>"


def _parsed(line: str, url: str, now: float) -> _Cookie | None:
    """Return the cookie of a `Set-Cookie` header (RFC 6265, 5.2 and 5.3), `None` where it must be ignored."""
    pair, *attributes = line.split(";")
    name, equals, value = (part.strip() for part in pair.partition("="))
    if not equals or not name or len(name) + len(value) > _MOST_CHARACTERS or not printable(name + value):
        return None
    given = {}
    for attribute in attributes:
        key, _, setting = attribute.partition("=")
        given[key.strip().lower()] = setting.strip()
    host, domain = _host(url), given.get("domain", "").lstrip(".").lower()
    if domain and not _covers(domain, host):
        return None
    path = given.get("path", "")
    return _Cookie(
        name=name,
        value=Secret(value),
        host=domain or host,
        host_only=not domain,
        path=path if path.startswith("/") else _folder(urlsplit(url).path),
        secure="secure" in given,
        expires_at=_expiry(given, now),
    )


def _expiry(given: dict[str, str], now: float) -> float:
    age = given.get("max-age", "")
    if age.lstrip("-").isdecimal():  # wins over Expires
        return now + min(float(age), 1e12)
    moment = parsedate_tz(given.get("expires", ""))
    try:
        return math.inf if moment is None else float(mktime_tz(moment))
    except (ValueError, OverflowError):  # such as the 99th of January
        return math.inf


def _is_for(cookie: _Cookie, host: str, path: str, scheme: str) -> bool:
    if cookie.secure and scheme != "https":
        return False
    if not (host == cookie.host or (not cookie.host_only and _covers(cookie.host, host))):
        return False
    return path == cookie.path or path.startswith(cookie.path.rstrip("/") + "/")


def _covers(domain: str, host: str) -> bool:
    """Whether a host is a domain, or a part of it; no address is, nor is anything a part of a top-level domain."""
    if host == domain:
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "." in domain and host.endswith(f".{domain}")
    return False


def _folder(path: str) -> str:
    return path[: path.rfind("/")] if path.startswith("/") and path.count("/") > 1 else "/"


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _place(url: str) -> tuple[str, int | None]:
    return _place_of(urlsplit(url))


def _place_of(parts: SplitResult) -> tuple[str, int | None]:
    return parts.scheme, parts.port or _PORTS.get(parts.scheme)
