"""Limits of an agent and a crew: so long for one task, so many model calls a minute."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from oarlock.contract.checks import whole
from oarlock.contract.context import current_call, scope
from oarlock.contract.errors import LLMTimeoutError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Handler, Policy
from oarlock.runtime import Runtime
from oarlock.tools import ToolTimeoutError

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent

__all__ = ["PerMinute", "TimeLimit", "Tries", "limited", "per_minute", "tries"]


class TimeLimit(AbstractContextManager[None]):
    """An agent's `max_execution_time`, from here to the end of the block, as a deadline for all that is done in it.

    Model calls and tools give up at it, blocking ones too: their thread is left behind. An earlier deadline stays.

    Raises:
        LLMTimeoutError: at the end of the block, in place of whatever error the deadline caused inside.
    """

    __slots__ = ("_deadline", "_runtime", "_scope", "_sentence")

    def __init__(self, runtime: Runtime, agent: Agent) -> None:
        assert agent.max_execution_time is not None, "an agent without a limit needs none of this"
        self._runtime = runtime
        self._deadline = runtime.now() + agent.max_execution_time
        self._sentence = (
            f"Agent {agent.role!r} was stopped after its max_execution_time of {agent.max_execution_time:g} s."
        )

    def __enter__(self) -> None:
        outer = current_call().deadline
        self._scope = scope(deadline=self._deadline if outer is None else min(outer, self._deadline))
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.__exit__()
        if isinstance(error, LLMTimeoutError | ToolTimeoutError) and self._runtime.now() >= self._deadline - _SLACK:
            raise LLMTimeoutError(self._sentence, retryable=False) from error


_SLACK = 0.001  # seconds by which a timer may fire early


class PerMinute:
    """A `max_rpm`: a rate limit of an agent's or a crew's own, over all its runs, beside the one that an LLM has itself.

    It is no `RateLimit`, of which an LLM has only one, and stands where that does: each attempt counts.
    """

    rank: ClassVar[int] = 50

    def __init__(self, most: int) -> None:
        from oarlock.policies import RateLimit  # only where there is one: loading it takes longer than a run

        self.most = most
        self._limit = RateLimit(requests_per_minute=most, burst=most)  # a crew's few calls need not wait for each other
        self._around: dict[tuple[int, ...], tuple[BaseLLM, BaseLLM]] = {}

    def __call__(self, handler: Handler) -> Handler:
        return self._limit(handler)

    def around(self, llm: BaseLLM, others: Sequence[PerMinute]) -> BaseLLM:
        """Return an LLM within this limit and others: always the same object, so that its policies keep what they know."""
        key = (id(llm), *map(id, others))
        known = self._around.get(key)
        if known is None or known[0] is not llm:
            known = self._around[key] = (llm, llm.with_policies(self, *others))
        return known[1]

    def explain(self) -> str:
        """Say in a sentence what it does."""
        return f"max_rpm of an agent or a crew. {self._limit.explain()}"

    def __repr__(self) -> str:
        return f"max_rpm={self.most}"

    def __deepcopy__(self, memo: object) -> PerMinute:
        return self  # the copy of an agent asks the same endpoint

    def __reduce__(self) -> tuple[Any, ...]:
        return PerMinute, (self.most,)


class Tries:
    """A `max_retry_limit`: how often a model call of an agent is tried again, whatever its LLM says of that.

    It is the LLM's own `Retry` with another number of attempts, or a new one, and so there is still one retry loop, which
    knows what can heal.
    """

    def __init__(self, retries: int) -> None:
        self.retries = retries
        self._around: dict[int, tuple[BaseLLM, BaseLLM]] = {}

    def around(self, llm: BaseLLM) -> BaseLLM:
        """Return an LLM with this many retries: always the same object, so that its policies keep what they know."""
        known = self._around.get(id(llm))
        if known is None or known[0] is not llm:
            known = self._around[id(llm)] = (llm, llm.with_policies(self._policy(llm)))
        return known[1]

    def _policy(self, llm: BaseLLM) -> Policy:
        from oarlock.policies import Retry  # only where there is one: loading it takes longer than a run

        own = next((policy for policy in llm.policies if isinstance(policy, Retry)), None)
        policy = Retry() if own is None else copy.copy(own)
        policy.attempts = self.retries + 1
        return policy

    def __repr__(self) -> str:
        return f"max_retry_limit={self.retries}"

    def __deepcopy__(self, memo: object) -> Tries:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Tries, (self.retries,)


def tries(owner: str, retries: int | None) -> Tries | None:
    """Return what a `max_retry_limit` means, if there is one.

    Raises:
        ConfigurationError: it is no whole number of zero or more.
    """
    return None if retries is None else Tries(whole(owner, "max_retry_limit", retries, least=0))


def per_minute(owner: str, most: int | None) -> PerMinute | None:
    """Return the limit of a `max_rpm`, if there is one.

    Raises:
        ConfigurationError: it is no whole number above zero.
    """
    return None if most is None else PerMinute(whole(owner, "max_rpm", most))


def limited(llm: BaseLLM, limits: Sequence[PerMinute | None], retries: Tries | None = None) -> BaseLLM:
    """Return an LLM within the limits that there are."""
    llm = llm if retries is None else retries.around(llm)
    there = [limit for limit in limits if limit is not None]
    return there[0].around(llm, there[1:]) if there else llm
