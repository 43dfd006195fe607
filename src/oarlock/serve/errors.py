"""Errors as a client sees them: in OpenAI's format, with the status that tells whose fault it is.

What failed between this server and the model is no fault of the client's: a model's 401 is our 502, since the client's own key
is good, and its 404 too, since the name that it does not know is not the one that the client gave. Only what the client can
mend, such as a prompt that is too long, is told in the model's words; the rest is in the log, under the request's id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    ConnectionFailedError,
    ContentFilterError,
    ContextWindowExceededError,
    LLMError,
    LLMTimeoutError,
    OarlockError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RefusalError,
    ResponseFormatError,
    ServerError,
)

__all__ = ["ApiError", "api_error"]


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: the HTTP status.
        message: for the client.
        type: one of OpenAI's kinds of errors.
        code: what went wrong, for programs.
        param: the field of the request that is wrong.
        retry_after: seconds after which it is worth another try; `None` if that cannot be told.
        retryable: whether another try makes sense at all; `None` leaves it to what clients make of the status.
        close: the connection cannot be used any more, since the request was not read to its end.
        headers: further headers of the answer.

    Example:
        >>> ApiError(404, "There is no model 'x'.", code="model_not_found", param="model").body()["error"]["code"]
        'model_not_found'
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        close: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.retryable = retryable
        self.close = close
        self._headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the error in OpenAI's shape."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Return the headers that go with it: when to come again, and whether to."""
        headers = self._headers
        if self.retry_after is not None and 0 <= self.retry_after < math.inf:
            headers = {**headers, "retry-after": str(math.ceil(self.retry_after))}
        if self.retryable is not None:
            headers = {**headers, "x-should-retry": "true" if self.retryable else "false"}
        return {**headers, "connection": "close"} if self.close else headers


_LATER: Final = "rate_limit_error"
_OURS: Final = "server_error"
_NOT_FOR_CLIENTS: Final = "The log of this server says more under the id of this request."


def api_error(error: Exception) -> ApiError:
    """Return what a client is told of an error.

    Example:
        >>> told = api_error(AuthenticationError("gpt-x answered 401: key sk-... is wrong"))
        >>> told.status, told.code
        (502, 'upstream_authentication_failed')
        >>> api_error(RateLimitError("slow down", retry_after=1.2)).headers()["retry-after"]
        '2'
    """
    if isinstance(error, ApiError):
        return error
    told = _limits(error) or _question(error) or _answer(error) or _reaching(error)
    if told is None:
        told = ApiError(500, f"Something went wrong here. {_NOT_FOR_CLIENTS}", type=_OURS, code="internal_error")
    if isinstance(error, LLMError):
        told.retry_after = error.retry_after
        told.retryable = error.retryable or (_is_our_own(error) and error.retry_after is not None)
    elif isinstance(error, OarlockError):
        told.retryable = False
    return told


def _is_our_own(error: LLMError) -> bool:
    """Return whether it comes from a policy, which would wait no longer, and not from the model's endpoint."""
    return isinstance(error, CircuitOpenError | RateLimitError) and error.status is None


def _limits(error: Exception) -> ApiError | None:
    match error:
        case QuotaExceededError():
            message = "The account that this server uses for the model has nothing left."
            return ApiError(429, message, type="insufficient_quota", code="insufficient_quota")
        case RateLimitError():
            return ApiError(429, str(error), type=_LATER, code="rate_limit_exceeded")
        case BudgetExceededError():
            return ApiError(429, str(error), type="insufficient_quota", code="budget_exceeded")
    return None


def _question(error: Exception) -> ApiError | None:
    """Return what is wrong with the client's question."""
    match error:
        case ContextWindowExceededError():
            return ApiError(400, str(error), code="context_length_exceeded", param="messages")
        case ContentFilterError():
            return ApiError(400, str(error), code="content_filter")
        case BadRequestError(status=400 | 413 | 415 | 422 | None):
            return ApiError(400, str(error), code=error.code)
    return None


def _answer(error: Exception) -> ApiError | None:
    """Return what is wrong with the model's answer."""
    match error:
        case RefusalError():
            return ApiError(400, str(error), code="refusal")
        case ResponseFormatError():
            message = f"The model's answer could not be used. {_NOT_FOR_CLIENTS}"
            return ApiError(502, message, type=_OURS, code="upstream_bad_answer")
    return None


def _reaching(error: Exception) -> ApiError | None:
    """Return why the model could not be asked."""
    match error:
        case AuthenticationError():
            status, what, code = 502, "This server could not sign in to the model.", "upstream_authentication_failed"
        case PermissionDeniedError():
            status, what, code = 502, "This server may not use the model in this way.", "upstream_permission_denied"
        case LLMTimeoutError():
            status, what, code = 504, "The model did not answer in time.", "upstream_timeout"
        case CircuitOpenError():
            status, what, code = (
                503,
                "The model has been failing and is left alone for a while.",
                "upstream_unavailable",
            )
        case ServerError(status=503 | 529):
            status, what, code = 503, "The model is overloaded.", "upstream_unavailable"
        case ServerError():
            status, what, code = 502, "The model failed.", "upstream_failed"
        case ConnectionFailedError():
            status, what, code = 502, "The model could not be reached.", "upstream_unreachable"
        case BadRequestError():
            status, what, code = 502, "The model's endpoint refused what this server asked.", "upstream_refused"
        case LLMError():
            status, what, code = 502, "The model could not be asked.", "upstream_failed"
        case _:
            return None
    return ApiError(status, f"{what} {_NOT_FOR_CLIENTS}", type=_OURS, code=code)
