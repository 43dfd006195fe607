"""How long a server asks to wait, from the headers of its answer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC

__all__ = ["retry_after"]

_DECIMAL = re.compile(r"\s*(?:\d+\.?\d*|\.\d+)\s*", re.ASCII)  # float() reads "1_0", "1e9" and "Infinity" too


def retry_after(headers: Mapping[str, str], wall_time: float) -> float | None:
    """Return the seconds to wait: `retry-after-ms`, else `retry-after` in seconds or as an HTTP date.

    Garbage, negative and infinite hints count as none. `wall_time` is seconds since the epoch, for dates.

    Example:
        >>> from oarlock.contract.http import Headers
        >>> retry_after(Headers([("Retry-After", "2")]), wall_time=0)
        2.0
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    hint = headers.get("retry-after")
    seconds = _number(hint)
    if seconds is not None or hint is None:
        return seconds
    from email.utils import parsedate_to_datetime  # 20 ms to import, for a form of the hint that is rare

    try:
        date = parsedate_to_datetime(hint)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": a time in UTC without saying from where
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - wall_time)


def _number(text: str | None) -> float | None:
    if text is None or not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None
