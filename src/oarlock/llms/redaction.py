"""Taking the credentials of a request out of whatever error it ended in: endpoints quote what they were sent."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from oarlock.contract.http import HttpRequest

__all__ = ["credentials_of", "redact"]

_SHORTEST: Final = 6  # characters: what is shorter protects nothing, and may be a word of the message
_OPEN: Final = {"content-type", "accept", "accept-encoding", "idempotency-key", "user-agent", "host", "content-length"}
_SECRET_FIELD: Final = re.compile(r"secret|token|password|assertion|code|key", re.IGNORECASE)


def credentials_of(requests: Iterable[HttpRequest], known: Collection[str]) -> set[str]:
    """Return the texts in these requests that may be credentials.

    Args:
        requests: as they were sent.
        known: values of headers and of the query that are the user's own, and no secrets.
    """
    found: set[str] = set()
    for request in requests:
        for name, value in request.headers:
            if name.lower() not in _OPEN:
                found.update(_parts(value))
        found.update(value for _, value in parse_qsl(urlsplit(request.url).query))
        if ("content-type", "application/x-www-form-urlencoded") in request.headers:  # to a token endpoint
            fields = parse_qsl(request.body.decode("ascii", "replace"))
            found.update(value for name, value in fields if _SECRET_FIELD.search(name))
    found = {text for text in found if len(text) >= _SHORTEST and text not in known}
    return found | {quote(text, safe="") for text in found}


def _parts(value: str) -> Iterator[str]:
    """Give a header's value, what follows its scheme, the values of its cookies, and a basic sign-in's password."""
    yield value
    scheme, _, rest = value.partition(" ")
    yield rest
    for cookie in value.split(";"):
        yield cookie.partition("=")[2].strip()
    if scheme.lower() == "basic":
        try:
            yield base64.b64decode(rest).decode("utf-8", "replace").partition(":")[2]
        except binascii.Error:
            return


def redact(error: BaseException, credentials: Collection[str]) -> None:
    """Replace credentials in an error and in all that caused it: in its message, its facts and its notes."""
    if not credentials:
        return
    longest_first = sorted(credentials, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.args = tuple(_cleaned(arg, pattern) for arg in link.args)
        for name, value in vars(link).items():
            if isinstance(value, str | list):
                setattr(link, name, _cleaned(value, pattern))
        link = link.__cause__ or link.__context__


def _cleaned(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, list):  # `__notes__`
        return [_cleaned(one, pattern) for one in value]
    return pattern.sub("…", value) if isinstance(value, str) else value
