"""What is wrong with an answer, in words."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from oarlock.contract.classify import error_for_status
from oarlock.contract.errors import (
    ContentFilterError,
    ContextWindowExceededError,
    LLMError,
    ResponseFormatError,
)
from oarlock.contract.secret import scrub

__all__ = ["MISSING", "error_inside", "error_message", "from_json", "parse_otherwise", "wrong_shape"]

_DECODER: Final = json.JSONDecoder(strict=False)  # raw newlines inside strings: wrong, frequent, harmless
_READ_BODY: Final = 64 * 1024  # of an error's body, no more than this is looked at (DESIGN.md's cap)


def from_json(text: str) -> Any:
    """Return the value in a JSON text.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    if text[:1] == "{":
        value, end = _DECODER.raw_decode(text)
        if end == len(text):  # which spares two searches for white space: a stream has a thousand such texts
            return value
    return _DECODER.decode(text)


def parse_otherwise(body: bytes, who: str) -> Any:
    """Parse a body that is no plain UTF-8 JSON: with a byte order mark, in UTF-16, with stray bytes; or say what it is."""
    start = body.lstrip()[:300]
    text = body.decode(json.detect_encoding(body), "replace")
    try:
        return from_json(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ResponseFormatError(f"{who} answered with JSON that is nested too deeply to be an answer.") from None
    except ValueError as error:
        if not start:
            what = "nothing: an empty body"
        elif start.startswith(b"<"):
            title = _title(text)
            page = f"a page of HTML{f' ({title})' if title else ''}"
            what = f"{page}. Check base_url: it must be that of the API, and often ends in /v1"
        elif start.startswith((b"data:", b"event:", b":")):
            what = "a stream of events, though none was asked for"
        elif isinstance(error, json.JSONDecodeError):
            what = f"{_quoted(text)} ({error.msg.rstrip(': ').removesuffix(' at')} at character {error.pos})"
        else:  # an integer of more digits than Python reads
            what = f"{_quoted(text)} ({scrub(str(error), 80)})"
        raise ResponseFormatError(f"{who} should have answered with a JSON object, but sent {what}.") from None


MISSING: Final = object()
_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxdict, _brief.maxlist, _brief.maxstring, _brief.maxother = 3, 8, 4, 120, 60


def _quoted(text: str) -> str:
    return f"{scrub(text, 200)!r}"


def wrong_shape(who: str, expected: str, got: Any, data: Mapping[str, Any] | None = None) -> ResponseFormatError:
    """Return the error for an answer in a wrong shape: what was expected, and a scrubbed piece of what came.

    `got` is `MISSING` where nothing came; `None` is JSON's null.
    """
    where = f" in {scrub(_brief.repr(data), 200)}" if data is not None else ""
    sent = "nothing there" if got is MISSING else "null" if got is None else scrub(_brief.repr(got), 200)
    id_ = data.get("id") if data is not None else None
    return ResponseFormatError(
        f"{who} should have sent {expected}, but sent {sent}{where}.", request_id=id_ if isinstance(id_, str) else None
    )


_STATUS_WORDS: Final = (  # the words of providers' codes and types, in the order in which they are looked for
    (429, re.compile(r"quota|billing|rate.?limit|too.?many|exhausted|throttl")),
    (401, re.compile(r"api.?key|authentication|unauthenticated|unauthorized|token.?expired")),
    (403, re.compile(r"permission|forbidden|access.?denied")),
    (404, re.compile(r"not.?found")),
    (503, re.compile(r"overloaded|unavailable")),
    (500, re.compile(r"server.?error|internal|api.?error|upstream")),
    (408, re.compile(r"timeout|timed.?out")),
    (400, re.compile(r"invalid|bad.?request|context|content.?(?:filter|policy)|unsupported|exceed")),
)


def error_inside(data: Mapping[str, Any], who: str) -> LLMError:
    """Return the error that an answer holds in spite of its status 200."""
    message, code, status = _read_error(data)
    said = f"{who} answered with an error: {scrub(message) or _quoted(_brief.repr(data))}"
    if status is None:
        guess = error_for_status(400, said, code=code)
        if isinstance(guess, ContextWindowExceededError | ContentFilterError):
            return guess
        # It says nothing of whose fault it is. The server had accepted the request, so it is taken for the server's.
        status = 500
    return error_for_status(status, said, code=code)


def _read_error(data: Any) -> tuple[str, str | None, int | None]:
    """Return the message, the code and the status that an error object names, in any of the common shapes."""
    if isinstance(data, list) and data:  # Google wraps the object in a list
        data = data[0]
    error = data.get("error") or data.get("errors") if isinstance(data, Mapping) else data
    if isinstance(error, list) and error:  # JSON:API
        error = error[0]
    outer = data if isinstance(data, Mapping) else {}
    fields = [error, outer] if isinstance(error, Mapping) else [outer]
    message = _first_text(fields, ("message", "Message", "msg", "error_description", "detail", "title"))
    if not message:
        message = error if isinstance(error, str) else _detail(outer.get("detail"))
    words = _first_text(fields, ("code",)), _first_text(fields, ("type", "status", "__type"))
    inner = error.get("innererror") if isinstance(error, Mapping) else None
    if isinstance(inner, Mapping) and inner.get("code") == "ResponsibleAIPolicyViolation":  # Azure's content filter
        words = "content_filter", words[1]
    code = next((word for word in words if word and not word.isdigit() and word != "error"), None)
    if code is None and isinstance(error, str) and message != error:  # OAuth's shape
        code = error
    numbers = [field.get(name) for field in fields for name in ("status", "code", "status_code")]
    status = next((number for value in numbers if (number := _status(value))), None)
    return message, scrub(code, 100) if code else None, status or _status_of_words(*words, code)


def _first_text(fields: Iterable[Mapping[str, Any]], names: Iterable[str]) -> str | None:
    names = tuple(names)
    found = (field.get(name) for field in fields for name in names)
    return next((value for value in found if isinstance(value, str) and value.strip()), None)


def _detail(detail: Any) -> str:
    """Return the text of FastAPI's `detail`: a list of `{"loc": [...], "msg": ...}`."""
    items = detail if isinstance(detail, list) else [detail]
    return "; ".join(
        f"{'.'.join(str(step) for step in where if isinstance(step, str | int))}: {item['msg']}"
        if isinstance(where := item.get("loc"), list)
        else item["msg"]
        for item in items[:4]
        if isinstance(item, Mapping) and isinstance(item.get("msg"), str)
    )


def _status(value: Any) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 400 <= value <= 599 else None


def _status_of_words(*words: str | None) -> int | None:
    for word in filter(None, words):
        for status, pattern in _STATUS_WORDS:
            if pattern.search(word.lower()):
                return status
    return None


def error_message(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[str, str | None]:
    """Return what an error response says, and the provider's error code if it names one.

    Understands OpenAI's shape, `{"message": ...}`, `{"detail": ...}`, plain text and pages of HTML. The message is
    scrubbed of secrets and control characters, and at most 300 characters long; it is never empty.

    Args:
        status: the HTTP status.
        body: as it came; no more than 64 KB of it is read.
        headers: of the response; for an empty body, `www-authenticate` is told.

    Example:
        >>> error_message(429, b'{"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}')
        ('Slow down', 'rate_limit_exceeded')
    """
    text = body[:_READ_BODY].decode("utf-8", "replace").removeprefix("\ufeff").strip()
    code = None
    try:
        data = from_json(text)
    except (ValueError, RecursionError):
        message = _title(text) or "a page of HTML" if text.startswith("<") else text
    else:
        message, code, _ = (
            _read_error(data) if isinstance(data, dict | list) else ("" if data is None else str(data), None, None)
        )
        message = message or (text if data else "")
    if not message.strip():
        message = (headers or {}).get("www-authenticate") or _phrase(status)
    return scrub(message) or _phrase(status), code


def _title(text: str) -> str | None:
    found = re.search(r"<title[^>]{0,200}>([^<]{1,300})|<h1[^>]{0,200}>([^<]{1,300})", text[:_READ_BODY], re.IGNORECASE)
    return scrub(found[1] or found[2], 100) if found else None


def _phrase(status: int) -> str:
    try:
        return f"{HTTPStatus(status).phrase} (no explanation was given)"
    except ValueError:
        return "no explanation was given"
