"""Checks of what comes out when the endpoint fails. Each asks once, with no retries of the library's around."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    LLMError,
    LLMTimeoutError,
    OarlockError,
    PermissionDeniedError,
    RateLimitError,
    ResponseFormatError,
    ServerError,
)
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies import Deadline, Retry
from oarlock.testing.contract.asking import once, request
from oarlock.testing.contract.stage import question
from oarlock.testing.contract.subject import Broken, Scene, require
from oarlock.testing.endpoint import Drop, Hang, Scripted, Status

__all__ = [
    "FAILURES",
    "Failure",
    "connection_refused",
    "deadline_ends_it",
    "one_retry_loop",
    "retry_helps",
    "too_many_requests",
]

_RETRY_AFTER = 7
_DEADLINE = 0.1  # seconds: both colours wait this long, and no machine answers a request that is never answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A way in which an endpoint fails, and what its caller must be told.

    Attributes:
        name: of the check.
        reply: what the endpoint sends.
        kind: the error that must come out.
        says: what the check finds out.
    """

    name: str
    reply: Scripted
    kind: type[LLMError]
    says: str

    def check(self, scene: Scene) -> None:
        """Ask, and look at the error."""
        llm, _ = scene.behind(self.reply)
        _error_of(llm, self.kind)


_HTML = Status(200, headers={"Content-Type": "text/html"}, body="<html><title>Sign in</title>Who are you?</html>")

FAILURES = (
    Failure(name="unauthorized", reply=401, kind=AuthenticationError, says="A 401 is an AuthenticationError."),
    Failure(name="forbidden", reply=403, kind=PermissionDeniedError, says="A 403 is a PermissionDeniedError."),
    Failure(name="bad_request", reply=400, kind=BadRequestError, says="A 400 is a BadRequestError."),
    Failure(name="server_error", reply=500, kind=ServerError, says="A 500 is a ServerError."),
    Failure(name="html_page", reply=_HTML, kind=ResponseFormatError, says="A web page is a ResponseFormatError."),
    Failure(name="empty_body", reply=Status(200), kind=ResponseFormatError, says="No body is a ResponseFormatError."),
    Failure(
        name="empty_answer",
        reply="",
        kind=ResponseFormatError,
        says="An empty answer is a ResponseFormatError, such as EmptyReply.",
    ),
    Failure(
        name="connection_dropped",
        reply=Drop(),
        kind=ConnectionFailedError,
        says="A cut connection is a ConnectionFailedError.",
    ),
)


def connection_refused(scene: Scene) -> None:
    """A refused connection is a ConnectionFailedError."""
    _error_of(scene.behind_nothing(), ConnectionFailedError)


def too_many_requests(scene: Scene) -> None:
    """A 429 is a RateLimitError that knows the Retry-After."""
    llm, _ = scene.behind(Status(429, headers={"Retry-After": str(_RETRY_AFTER)}))
    hint = _error_of(llm, RateLimitError).retry_after
    require(
        hint == _RETRY_AFTER,
        f"The endpoint said Retry-After: {_RETRY_AFTER}, and the error's retry_after is {hint}: let the HTTP client's error "
        "be the cause (raise ... from error), or raise RateLimitError(..., retry_after=seconds).",
    )


def _error_of(llm: BaseLLM, kind: type[LLMError]) -> LLMError:
    return _raised(kind, lambda: once(llm).complete(request(question(1))))


def _raised(kind: type[LLMError], work: Callable[[], object]) -> LLMError:
    wanted = kind.__name__
    try:
        got = work()
    except kind as error:
        return error
    except OarlockError as error:
        raise Broken(
            f"It must be {_a(wanted)}, and it is {_a(type(error).__name__)} ({error}): let the HTTP client's error be the "
            f"cause (raise ... from error), or raise {wanted} yourself."
        ) from error
    raise Broken(
        f"It must be {_a(wanted)}, and it returned {str(got)[:80]!r}: raise an error, return none as an answer."
    )


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def retry_helps(scene: Scene) -> None:
    """Inside Retry(), a 503 and then an answer is an answer."""
    for ask in (BaseLLM.complete, _complete_async):
        llm, _ = scene.behind(503, "Here I am.")
        text = ask(llm.with_policies(Retry(attempts=2, base_delay=0)), request(question(1))).text
        require(text == "Here I am.", f"After a 503 and a retry it answered {text[:80]!r}: raise an error for a 503.")


def _complete_async(llm: BaseLLM, request: Request) -> Reply:
    return asyncio.run(llm.acomplete(request))


def one_retry_loop(scene: Scene) -> None:
    """Inside Retry(attempts=2), an endpoint that keeps failing gets 2 requests."""
    llm, endpoint = scene.behind(503)
    _raised(ServerError, lambda: llm.with_policies(Retry(attempts=2, base_delay=0)).complete(request(question(1))))
    sent = len(endpoint.requests)
    require(
        sent <= 2,
        f"Retry(attempts=2) led to {sent} requests: it retries by itself as well. Leave retrying to Retry(), or to your own "
        "loop only while current_call().retried is False.",
    )


def deadline_ends_it(scene: Scene) -> None:
    """Inside Deadline(), an endpoint that never answers is an LLMTimeoutError."""
    for ask in (BaseLLM.complete, _complete_async):
        llm, _ = scene.behind(Hang())
        _raised(LLMTimeoutError, lambda: ask(once(llm, Deadline(_DEADLINE)), request(question(1))))  # noqa: B023  run at once
