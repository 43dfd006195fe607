"""The narrow waist: a handler answers a request, a policy takes a handler and returns a handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.order import ready_kinds
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.runtime import Runtime

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM

__all__ = ["Handler", "Policy", "compose", "in_default_order", "merged"]

Handler = Callable[[Runtime, Request], Awaitable[Reply]]


@runtime_checkable
class Policy(Protocol):
    """Wraps a handler. A plain function of this shape is a policy too.

    A class may have a `rank`: policies are put in rising order of it, the lowest outermost. Without one a policy stands
    outside all others. The ranks of the ready ones: Log 10, Metrics 20, Cache 24, Budget 27, Deadline 30, Fallback 35,
    Retry 40, CircuitBreaker 45, Concurrency 48, RateLimit 50. So the deadline covers all attempts and waits, and each
    attempt, not just the first, takes its place in the rate limit.

    A class may also have `bind(llm)`, which returns the policy to use around this very LLM, for one that keeps something
    for each endpoint (`llm.endpoint_name()`); and `explain()`, which says in a sentence what it does.

    Example:
        >>> def shout(handler):
        ...     async def handle(runtime, request):
        ...         reply = await handler(runtime, request)
        ...         return dataclasses.replace(reply, text=reply.text.upper())
        ...     return handle
    """

    def __call__(self, handler: Handler, /) -> Handler:
        """Return a handler that does its part and calls the given one."""


def in_default_order(policies: Iterable[Policy]) -> tuple[Policy, ...]:
    """Return the policies outermost first, by rank; equal ranks keep their order."""
    return tuple(sorted(policies, key=lambda policy: getattr(policy, "rank", 0)))


def merged(present: Sequence[Policy], added: Sequence[Policy]) -> tuple[Policy, ...]:
    """Return both, where an added policy takes the place of present ones of its kind: there is one retry loop.

    Of a kind are those of one class, and a ready policy and one derived from it.
    """
    for policy in added:
        _check(policy)
    ranked = [policy for policy in added if hasattr(policy, "rank")]
    return (*(one for one in present if not any(_of_a_kind(one, other) for other in ranked)), *added)


def _of_a_kind(one: Policy, other: Policy) -> bool:
    derived = isinstance(one, type(other)) or isinstance(other, type(one))
    return type(one) is type(other) or (derived and bool(ready_kinds(one)) and bool(ready_kinds(other)))


def _check(policy: object) -> None:
    if isinstance(policy, type):
        name = policy.__name__
        raise ConfigurationError(f"A policy is an object, and this is the class {name}: write {name}().")
    if not callable(policy):
        raise ConfigurationError(f"A policy is an object such as Retry(), or a function; this is {policy!r}.")


def compose(policies: Sequence[Policy], core: Handler, llm: BaseLLM) -> Handler:
    """Return one handler: the policies, bound to the LLM, around the core; the first is the outermost."""
    for policy in reversed(policies):
        bind = getattr(policy, "bind", None)
        core = (bind(llm) if bind is not None else policy)(core)
    return core
