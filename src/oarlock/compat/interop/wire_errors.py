"""Our errors in OpenAI's chat format: a status, and a body with what happened."""

from __future__ import annotations

from typing import Any, Final

from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigurationError,
    ContextWindowExceededError,
    LLMError,
    OarlockError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ResponseFormatError,
)

__all__ = ["error_body", "error_headers", "status_of"]

_STATUSES: Final[tuple[tuple[type[OarlockError], int], ...]] = (
    (AuthenticationError, 401),
    (BudgetExceededError, 402),
    (PermissionDeniedError, 403),
    (RateLimitError, 429),
    (BadRequestError, 400),
    (ConfigurationError, 400),
    (ResponseFormatError, 502),  # the endpoint behind us answered, and the answer means nothing
    (CircuitOpenError, 503),
)
_CODES: Final[tuple[tuple[type[OarlockError], str], ...]] = (
    (ContextWindowExceededError, "context_length_exceeded"),  # the codes by which others know these two
    (QuotaExceededError, "insufficient_quota"),
)


def status_of(error: OarlockError) -> int:
    """Return the HTTP status that says best what happened: the endpoint's own, where there was one.

    Example:
        >>> status_of(AuthenticationError("The token is not accepted."))
        401
    """
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status < 600:
        return status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def error_body(error: OarlockError) -> dict[str, Any]:
    """Return the body that tells of an error. Its message is ours, which holds no secret."""
    given = error.code if isinstance(error, LLMError) else None
    code = given or next((code for kind, code in _CODES if isinstance(error, kind)), None)
    return {"error": {"message": str(error), "type": type(error).__name__, "param": None, "code": code}}


def error_headers(error: OarlockError) -> dict[str, str]:
    """Return the headers of such an answer: nobody is to try again what has been tried again already."""
    headers = {"x-should-retry": "false"}  # heeded by OpenAI's own client
    if isinstance(error, LLMError):
        if error.retry_after is not None:
            headers["retry-after"] = f"{error.retry_after:g}"
        if error.request_id:
            headers["x-request-id"] = error.request_id
    return headers
