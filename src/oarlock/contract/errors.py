"""Every error that Oarlock raises, in one tree.

OarlockError
├── ConfigurationError (ValueError)
├── LLMError                      a model call failed: .status .code .request_id .attempts .elapsed .retry_after .retryable
│   ├── AuthenticationError (ValueError)        401, or the sign-in itself failed
│   ├── PermissionDeniedError (ValueError)      403
│   ├── RateLimitError (RuntimeError)           429, or our own limit with no time left to wait
│   │   └── QuotaExceededError                  429 that no waiting heals
│   ├── LLMTimeoutError (TimeoutError)          an attempt's timeout, the total deadline, 408
│   ├── ConnectionFailedError (RuntimeError)    refused, reset, TLS, DNS
│   ├── ServerError (RuntimeError)              5xx
│   ├── CircuitOpenError (RuntimeError)         not sent: the endpoint has been failing, and is left alone for a while
│   ├── BadRequestError (ValueError)            other 4xx
│   │   └── ContextWindowExceededError
│   ├── ResponseFormatError (ValueError)        an answer in the wrong shape
│   │   ├── EmptyReply                          no text and no tool calls
│   │   ├── ReplyTooLarge                       over one of the caps
│   │   ├── TruncatedStream                     cut before its end
│   │   ├── TruncatedReply                      ended at the limit of tokens (`finish_reason: length`)
│   │   ├── RefusalError                        the model declined to answer
│   │   └── ContentFilterError                  a filter of the provider's took the answer, or would not let the question pass
│   └── CallFailedError (RuntimeError)          anything else that an LLM's own code raised; the cause is attached
├── ToolError                     a tool cannot be defined or used as asked
├── GuardrailError                an answer failed its guardrail: .text .reasons
├── OutputError                   an answer has not the structure that was asked for, or no file took it: .text .errors
├── BudgetExceededError
├── CallVetoedError (ValueError)  a hook of the user's own does not allow a model call
├── StepsExhaustedError           a run went on longer than its limit of turns or tool calls
└── RunError                      a durable run cannot go on: .run_id
    ├── RunChangedError           its inputs or its crew are not those that it began with
    ├── RunCancelledError         somebody cancelled it
    ├── EffectUnknownError        it was cut off while a tool ran, and nobody knows whether that has done its work
    └── RunStoreError             the database of the runs cannot be reached, or takes no more

The builtin in brackets is a second base, so that `except ValueError` and the like keep working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from oarlock.contract.reply import Usage

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "CallFailedError",
    "CallVetoedError",
    "CircuitOpenError",
    "ConfigurationError",
    "ConnectionFailedError",
    "ContentFilterError",
    "ContextWindowExceededError",
    "EffectUnknownError",
    "EmptyReply",
    "GuardrailError",
    "LLMError",
    "LLMTimeoutError",
    "OarlockError",
    "OutputError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "RefusalError",
    "ReplyTooLarge",
    "ResponseFormatError",
    "RunCancelledError",
    "RunChangedError",
    "RunError",
    "RunStoreError",
    "ServerError",
    "StepsExhaustedError",
    "ToolError",
    "TruncatedReply",
    "TruncatedStream",
    "misspelt",
]


class OarlockError(Exception):
    """Base of every error that Oarlock raises on purpose."""


class ConfigurationError(OarlockError, ValueError):
    """A setting cannot work: the message names it, what was given and what is allowed."""


class LLMError(OarlockError):
    """A model call failed.

    Args:
        message: one sentence: what happened, and what to do. Never holds a secret.
        status: HTTP status, where there was one.
        code: the provider's own error code, such as `"insufficient_quota"`.
        request_id: the provider's id of the failed request.
        attempts: how many times the request was sent.
        elapsed: seconds from the start of the call to this error.
        retry_after: seconds that the server asked to wait.
        retryable: whether the same request may succeed later; the default is the class's.

    Attributes:
        usage: what was spent, where an answer came and could not be used; else `None`.

    Example:
        >>> error = RateLimitError("Too many requests.", status=429, retry_after=7)
        >>> error.status, error.retry_after, error.retryable, isinstance(error, LLMError)
        (429, 7, True, True)
    """

    default_retryable: ClassVar[bool] = False
    usage: Usage | None = None

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        attempts: int = 1,
        elapsed: float | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.attempts = attempts
        self.elapsed = elapsed
        self.retry_after = retry_after
        self.retryable = self.default_retryable if retryable is None else retryable

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by message and facts; the cause, which may hold anything, stays behind."""
        return type(self), (str(self),), dict(vars(self))


class AuthenticationError(LLMError, ValueError):
    """The endpoint did not accept the credentials (401), or a token could not be had."""


class PermissionDeniedError(LLMError, ValueError):
    """The credentials are good but not for this (403)."""


class RateLimitError(LLMError, RuntimeError):
    """Too many requests (429), or a limit of ours that leaves no time to wait."""

    default_retryable = True


class QuotaExceededError(RateLimitError):
    """The account has nothing left; waiting does not help, so it is never retried."""

    default_retryable = False


class LLMTimeoutError(LLMError, TimeoutError):
    """An attempt took longer than its timeout, or the call longer than its deadline."""

    default_retryable = True


class ConnectionFailedError(LLMError, RuntimeError):
    """No answer came: refused, reset, cut, not resolved, or TLS failed."""

    default_retryable = True


class ServerError(LLMError, RuntimeError):
    """The endpoint failed (5xx)."""

    default_retryable = True


class CircuitOpenError(LLMError, RuntimeError):
    """The request was not sent: too many before it failed; `.retry_after` says when the next may try."""


class BadRequestError(LLMError, ValueError):
    """The endpoint refused the request as it stands (4xx)."""


class ContextWindowExceededError(BadRequestError):
    """The messages do not fit into the model's context window."""


class ResponseFormatError(LLMError, ValueError):
    """An answer came, but not in a shape that means anything."""


class EmptyReply(ResponseFormatError):  # noqa: N818  the design's name: it is a kind of reply
    """An answer without text and without tool calls."""


class ReplyTooLarge(ResponseFormatError):  # noqa: N818
    """An answer over one of the size caps."""


class TruncatedStream(ResponseFormatError):  # noqa: N818
    """A stream that ended before its end; `.text` is what had come. `Retry` asks again if none of it was handed out."""

    default_retryable = True

    def __init__(self, message: str = "", *, text: str = "", **facts: Any) -> None:
        super().__init__(message, **facts)
        self.text = text


class TruncatedReply(ResponseFormatError):  # noqa: N818
    """An answer that ended at the limit of tokens; `.text` is what there is of it."""

    def __init__(self, message: str = "", *, text: str = "", **facts: Any) -> None:
        super().__init__(message, **facts)
        self.text = text


class RefusalError(ResponseFormatError):
    """The model declined to answer; the message has its words."""


class ContentFilterError(ResponseFormatError):
    """A content filter of the provider's stopped the question or the answer."""


class CallFailedError(LLMError, RuntimeError):
    """An LLM's own code raised something that is no known kind of failure; see `__cause__`."""


class ToolError(OarlockError):
    """A tool cannot be defined, or not be used as asked."""


class GuardrailError(OarlockError):
    """An answer failed its guardrail more often than allowed.

    Attributes:
        text: the last answer.
        reasons: why each answer failed, the first one first.
    """

    def __init__(self, message: str = "", *, text: str = "", reasons: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.text = text
        self.reasons = tuple(reasons)


class OutputError(OarlockError):
    """An answer could not be turned into the structure that was asked for, not be written to its file, or not be accepted.

    Attributes:
        text: the last answer.
        errors: what was wrong with each answer, the first one first.
    """

    def __init__(self, message: str = "", *, text: str = "", errors: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.text = text
        self.errors = tuple(errors)


class BudgetExceededError(OarlockError):
    """A run would spend more than its budget."""


class CallVetoedError(OarlockError, ValueError):
    """A hook of the user's own does not allow a model call."""


class StepsExhaustedError(OarlockError):
    """A run reached its limit of turns or tool calls without an answer."""


class RunError(OarlockError):
    """A durable run cannot go on here; `.run_id` says which, where it is known."""

    def __init__(self, message: str = "", *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class RunChangedError(RunError):
    """A run's inputs or crew are not those that it began with."""


class RunCancelledError(RunError):
    """A run was cancelled."""


class EffectUnknownError(RunError):
    """A run was cut off while a tool ran, and nobody knows whether that tool has done its work."""


class RunStoreError(RunError):
    """The database of the runs cannot be reached, or takes no more."""


def a_kind(thing: object) -> str:
    """Return what kind of thing this is, with its article, for a message.

    Example:
        >>> a_kind(3), a_kind([]), a_kind(None)
        ('an int', 'a list', 'nothing')
    """
    if thing is None:
        return "nothing"
    name = type(thing).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def how_many(count: int, of: str) -> str:
    """Return a number of things in words, for a message.

    Example:
        >>> how_many(1, "call"), how_many(1200, "token")
        ('1 call', '1,200 tokens')
    """
    return f"{count:,} {of}{'s'[: count != 1]}"


def times(count: int) -> str:
    """Return how often something was done, for a message.

    Example:
        >>> times(1), times(3)
        ('once', '3 times')
    """
    return "once" if count == 1 else f"{count:,} times"


def misspelt(what: str, names: Iterable[str], known: Iterable[str]) -> ConfigurationError:
    """Return the error for arguments that do not exist, naming the nearest that do.

    Example:
        >>> print(misspelt("Agent", ["rol"], ["role", "goal"]))
        Agent has no argument 'rol'. Did you mean 'role'?
    """
    known = list(known)
    sentences = []
    for name in names:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"It takes: {', '.join(sorted(known))}."
        sentences.append(f"{what} has no argument {name!r}. {hint}")
    return ConfigurationError(" ".join(sentences))
