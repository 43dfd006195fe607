"""A caller's own limits around the model calls made for it."""

from __future__ import annotations

from oarlock.contract.errors import RateLimitError
from oarlock.contract.events import Waited, Waiting
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Handler, Policy, compose, in_default_order
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.policies import RateLimit
from oarlock.runtime import Runtime

__all__ = ["patient", "within"]


def within(policies: tuple[Policy, ...], llm: BaseLLM) -> Handler:
    """Return how an LLM is asked within a caller's limits."""
    if not policies:
        return llm.handle_request
    paces = [policy for policy in policies if isinstance(policy, RateLimit)]
    others = [policy for policy in policies if not isinstance(policy, RateLimit)]
    return compose([*in_default_order(others), _bared, *paces, _hidden], llm.handle_request, llm)


# A caller's own rate limit does not heed what the model's endpoint says of its limits: that is for the LLM's policies, and
# one model's 429 must not hold back what the caller asks of another.


def _hidden(handler: Handler) -> Handler:
    """Let a limit of the endpoint's pass the caller's as something else."""

    async def handle(runtime: Runtime, request: Request) -> Reply:
        try:
            return await handler(runtime, request)
        except RateLimitError as error:
            raise _FromBehind(error) from None

    return handle


def _bared(handler: Handler) -> Handler:
    """Undo `_hidden`."""

    async def handle(runtime: Runtime, request: Request) -> Reply:
        try:
            return await handler(runtime, request)
        except _FromBehind as behind:
            raise behind.error from None

    return handle


class _FromBehind(Exception):  # noqa: N818  a signal
    """A limit of the model's endpoint, on its way past the caller's own limits."""

    def __init__(self, error: RateLimitError) -> None:
        super().__init__()
        self.error = error


def patient(policy: Policy) -> Policy:
    """Return a caller's limit for the calls of a run: a run waits where a single question is refused."""
    if not isinstance(policy, RateLimit):
        return policy

    def around(handler: Handler) -> Handler:
        limited = policy(_hidden(handler))

        async def handle(runtime: Runtime, request: Request) -> Reply:
            while True:
                try:
                    return await limited(runtime, request)
                except _FromBehind as behind:
                    raise behind.error from None
                except RateLimitError as error:
                    if error.retry_after is None:
                        raise
                    request.emit(Waiting(cause="rate_limit", seconds=error.retry_after, error=error))
                    await runtime.sleep(error.retry_after)
                    request.emit(Waited(cause="rate_limit", seconds=error.retry_after))

        return handle

    return around
