"""One place where every failure gets its type: HTTP statuses, and whatever a user's own code raises.

Foreign errors (of requests, httpx, httpx2, urllib3, aiohttp, openai, ...) are known by their shape, without importing
any of these libraries: a status on the error or on its response, the names of their classes, and what caused them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    CallFailedError,
    ConnectionFailedError,
    ContentFilterError,
    ContextWindowExceededError,
    LLMError,
    LLMTimeoutError,
    OarlockError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ResponseFormatError,
    ServerError,
)
from oarlock.contract.retry_after import retry_after
from oarlock.contract.secret import scrub

__all__ = ["chain", "classify", "error_for_status"]

_QUOTA_CODES = {
    *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded", "budget_exceeded"),
}
_WINDOW_CODES = {"context_length_exceeded", "context_window_exceeded", "string_above_max_length"}
_FILTER_CODES = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"}
_WINDOW_TEXT = re.compile(
    r"maximum context length|context (?:length|window|size)[^.]{0,40}exceed|exceeds? the (?:available )?context"
    r"|prompt is too long|input is too long",
    re.IGNORECASE,
)
_LIBRARIES = {
    "http",
    "requests",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "urllib3",
    "aiohttp",
    "openai",
    "anthropic",
    "pyreqwest",
}
_CONNECTION_WORDS = (
    *("Connect", "Network", "Protocol", "Disconnected", "ReadError", "WriteError"),
    *("Proxy", "IncompleteRead", "ChunkedEncoding", "Payload"),
)
# The sentences that CrewAI's page on custom LLMs teaches to raise for 401 and 403.
_PAGE_401 = re.compile(r"\bauthentication failed\b|\b401\b|\bunauthorized\b", re.IGNORECASE)
_PAGE_403 = re.compile(r"\bauthorization failed\b|\b403\b|\bforbidden\b", re.IGNORECASE)


def error_for_status(
    status: int,
    message: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    wall_time: float | None = None,
) -> LLMError:
    """Return the error for an HTTP status that is no answer: of 400 or more, or a redirect's.

    Args:
        status: the HTTP status.
        message: what to say; server text in it must be scrubbed already.
        code: the provider's error code.
        headers: of the response: hints to wait, the request's id, `x-should-retry`.
        wall_time: seconds since the epoch, to read a date in `retry-after`; default: now.
    """
    headers = headers or {}
    hint = retry_after(headers, time.time() if wall_time is None else wall_time)
    kind, retryable = _kind_of(status, code, message)
    # Only "false" is honoured: "true" must not make a wrong key or a bad request cost more than one request.
    if headers.get("x-should-retry", "").strip().lower() == "false":
        retryable = False
    return kind(
        message,
        status=status,
        code=code,
        request_id=headers.get("x-request-id") or headers.get("request-id"),
        retry_after=hint,
        retryable=retryable,
    )


def _kind_of(status: int, code: str | None, message: str) -> tuple[type[LLMError], bool | None]:
    if code in _QUOTA_CODES:
        return QuotaExceededError, False
    if code in _WINDOW_CODES or (status in (400, 413, 422) and _WINDOW_TEXT.search(message)):
        return ContextWindowExceededError, False
    if code and code.lower() in _FILTER_CODES:  # Azure's and OpenAI's
        return ContentFilterError, False
    if status >= 500:
        return ServerError, status != 501
    if status == 409:  # a conflict or a lock: heals by itself
        return BadRequestError, True
    kinds: dict[int, type[LLMError]] = {
        401: AuthenticationError,
        403: PermissionDeniedError,
        408: LLMTimeoutError,
        429: RateLimitError,
    }
    return kinds.get(status, BadRequestError), None


def classify(error: BaseException, who: str = "The LLM") -> OarlockError:
    """Return an error of ours for whatever an LLM's own code raised; the original becomes its cause.

    Looks, in this order, at: our own errors, also wrapped ones; a status on the error, on its response or on anything that caused it;
    the kind of a known library's or builtin error, or of what caused it; the sentences the page teaches.

    Args:
        error: what was raised.
        who: the LLM in words, to begin the message with.
    """
    for link in chain(error):
        if isinstance(link, OarlockError) and (link is error or not isinstance(link, LLMError)):
            return link  # also a limit of ours that the user's code wrapped in something else
    ours = _by_status(error, who) or _by_kind(error, who) or _by_text(error, who)
    ours.__cause__ = error
    return ours


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what caused it, nearest first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _by_status(error: BaseException, who: str) -> LLMError | None:
    for link in chain(error):
        if isinstance(link, LLMError):  # one of ours, wrapped by the user's code
            return _rewrapped(link, error, who)
        response = _attribute(link, "response")
        for holder, name in ((link, "status_code"), (response, "status_code"), (response, "status"), (link, "status")):
            status = _attribute(holder, name)
            if isinstance(status, int) and 400 <= status <= 599:
                headers = _headers_of(response if response is not None else link)
                code = _attribute(link, "code")
                text = f"{who} failed with HTTP status {status}: {_text(error) or type(error).__name__}"
                return error_for_status(status, text, code=code if isinstance(code, str) else None, headers=headers)
    return None


def _rewrapped(link: LLMError, error: BaseException, who: str) -> LLMError:
    facts = {name: value for name, value in vars(link).items() if not name.startswith("_")}
    ours = type(link)(f"{who} failed: {_text(error)}")
    vars(ours).update(facts)
    return ours


def _headers_of(response: Any) -> dict[str, str]:
    headers = _attribute(response, "headers")
    try:
        return {str(name).lower(): str(value) for name, value in headers.items()} if headers else {}
    except (AttributeError, TypeError, ValueError):
        return {}


def _by_kind(error: BaseException, who: str) -> LLMError | None:
    for link in chain(error):
        names = _library_names(link)
        if (isinstance(link, TimeoutError) or "Timeout" in names) and "NewConnectionError" not in names:
            return LLMTimeoutError(f"{who} took too long: {_words(error)}")
        if _is_certificate_problem(link):
            return ConnectionFailedError(f"{who} could not trust the endpoint: {_words(error)}", retryable=False)
        if _is_lost_connection(link, names):
            return ConnectionFailedError(f"{who} could not be reached: {_words(error)}")
        wrong_shape = isinstance(link, json.JSONDecodeError) or "Decod" in names
        if wrong_shape or (link is not error and isinstance(link, LookupError)):
            return ResponseFormatError(f"{who} answered in an unexpected format: {_words(error)}")
    return None


def _library_names(error: BaseException) -> str:
    """Return the names of the error's class and its bases, as far as a known library defined them."""
    known = (base for base in type(error).__mro__ if base.__module__.partition(".")[0] in _LIBRARIES)
    return " ".join(base.__name__ for base in known)  # urllib3's NewConnectionError, a refusal, is a timeout by base


def _is_lost_connection(error: BaseException, names: str) -> bool:
    if isinstance(error, ConnectionError) or any(word in names for word in _CONNECTION_WORDS):
        return True
    return type(error).__module__ == "socket" or type(error).__name__ in ("gaierror", "SSLError")


def _is_certificate_problem(error: BaseException) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in _raw(error) or type(error).__name__ == "SSLCertVerificationError"


def _by_text(error: BaseException, who: str) -> LLMError:
    text = _text(error)
    if isinstance(error, ValueError):
        if _PAGE_401.search(_raw(error)):
            return AuthenticationError(f"{who} was not let in: {text}", status=401)
        if _PAGE_403.search(_raw(error)):
            return PermissionDeniedError(f"{who} was not allowed: {text}", status=403)
        return ResponseFormatError(f"{who} failed: {_words(error)}")
    return CallFailedError(f"{who} failed: {_words(error)}")


def _words(error: BaseException) -> str:
    text = _text(error)
    name = type(error).__name__
    return f"{text} ({name})" if text else name


def _text(error: BaseException) -> str:
    return scrub(_raw(error))


def _raw(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  a foreign error, which may fail to show itself
        return ""


def _attribute(holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001  a foreign object: httpx's `error.request` raises when there is none
        return None
