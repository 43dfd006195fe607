"""What a run keeps of its tools, how often each was used and what it answered, and how an agent's tools may be used."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from oarlock.contract.context import current_call
from oarlock.contract.records import dataclass, field
from oarlock.runtime import Promise, Runtime
from oarlock.tools.base import BaseTool

if TYPE_CHECKING:
    from oarlock.tools.answers import ToolAnswer
    from oarlock.tools.approval import Approver

__all__ = ["ToolRules", "ToolStore", "counted", "is_remembered", "remembered", "rules_here"]

_log = logging.getLogger("oarlock.tools")

Run = Callable[[], Awaitable["ToolAnswer"]]
_Key = tuple[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRules:
    """How one agent's tools may be used.

    Attributes:
        cache: `True`: equal calls are answered once in a run, unless a tool says otherwise; `None`: those of tools that
            say so; `False`: none.
        approver: who is asked before a dangerous tool runs; without one it never does.
    """

    cache: bool | None = None
    approver: Approver | None = None


_NO_RULES = ToolRules()


def rules_here() -> ToolRules:
    """Return the rules of the agent at work."""
    rules: ToolRules | None = current_call().tool_rules
    return _NO_RULES if rules is None else rules


@dataclass(slots=True, eq=False)
class _Flight:
    """A call that runs, or has run: the promise is its answer, or `None` if there is none to give to others."""

    runtime: Runtime
    thread: int = field(default_factory=threading.get_ident)
    landed: Promise[ToolAnswer | None] = field(default_factory=Promise)
    unshared: bool = False


class ToolStore:
    """The uses and the answers of tools in one run; threads and tasks share it."""

    __slots__ = ("_flights", "_lock", "_uses")

    def __init__(self) -> None:
        self._flights: dict[_Key, _Flight] = {}
        self._uses: dict[int, tuple[BaseTool, int]] = {}  # the tool is held, so that its id stays its own
        self._lock = threading.Lock()

    def use(self, tool: BaseTool, by: int) -> int:
        """Count uses of a tool, or take them back, and return how many there are."""
        with self._lock:
            uses = self._uses.get(id(tool), (tool, 0))[1] + by
            self._uses[id(tool)] = (tool, uses)
        return uses

    async def share(self, runtime: Runtime, key: _Key, keeps: Callable[[ToolAnswer], bool], run: Run) -> ToolAnswer:
        """Return the answer of an equal call, waiting for it if it runs just now, or else that of this one.

        Args:
            runtime: to wait on.
            key: equal for equal calls.
            keeps: whether an answer may be given to others.
            run: makes the call.

        Raises:
            TimeoutError: the deadline passed while the other call ran.
        """
        while True:
            mine = _Flight(runtime)
            flight = self._flights.setdefault(key, mine)
            if flight is mine:
                return await self._lead(key, mine, keeps, run)
            if flight.thread == threading.get_ident() and flight.runtime is not runtime and not flight.landed.done():
                return await run()  # this call blocks the event loop of the other one: it would wait for itself
            answer = await runtime.wait(flight.landed, current_call().deadline)
            if answer is not None:
                return dataclasses.replace(answer, cached=True, ran=False)
            if flight.unshared:
                return await run()

    async def _lead(self, key: _Key, flight: _Flight, keeps: Callable[[ToolAnswer], bool], run: Run) -> ToolAnswer:
        kept = None
        try:
            answer = await run()
            if keeps(answer):
                kept = answer
            else:
                flight.unshared = not answer.failed
        finally:
            if kept is None:
                del self._flights[key]
            flight.landed.set_result(kept)
        return answer


async def counted(tool: BaseTool, run: Callable[[bool], Awaitable[ToolAnswer]]) -> ToolAnswer:
    """Run a tool's call, and tell it whether the tool may still be used in this run; only what really ran counts.

    What a durable run replays is counted as it was, as the answer says whether it ran.
    """
    most, store = tool.max_usage_count, current_call().tool_store
    if most is None or store is None:  # outside of any run nothing is counted
        return await run(True)
    allowed = store.use(tool, 1) <= most
    counts = 1
    try:
        answer = await run(allowed)
        counts = int(answer.ran)
    finally:
        store.use(tool, counts - 1)
    return answer


def is_remembered(tool: BaseTool) -> bool:
    """Return whether equal calls of this tool are answered once."""
    says, here = tool.cache_function, current_call()
    if (says is None and here.tool_rules is None) or here.tool_store is None or tool.dangerous:
        return False
    wish = rules_here().cache
    if wish is False or says is False:
        return False
    return wish is True or bool(says)


async def remembered(runtime: Runtime, tool: BaseTool, arguments: Mapping[str, Any], run: Run) -> ToolAnswer:
    """Return the answer that an equal call had in this run, or run the tool.

    Raises:
        TimeoutError: the deadline passed while an equal call ran.
    """
    text = _as_key(arguments)
    if text is None:
        return await run()

    def keeps(answer: ToolAnswer) -> bool:
        return not answer.failed and _says(tool, arguments, answer.value)

    store: ToolStore = current_call().tool_store
    return await store.share(runtime, (id(tool), text), keeps, run)


def _says(tool: BaseTool, arguments: Mapping[str, Any], result: Any) -> bool:
    function = tool.cache_function
    if not callable(function):
        return True
    plain = getattr(function, "__func__", None)
    if plain is not None and len(inspect.signature(plain).parameters) == 2:
        function = plain  # a function in a class's body is no method, unless it takes the object too
    try:
        return bool(function(dict(arguments), result))
    except Exception:  # noqa: BLE001  the boundary to the user's own code: the result is good all the same
        _log.warning(
            "The cache_function of the tool %r failed; its result is not kept.", tool.function_name, exc_info=True
        )
        return False


def _as_key(arguments: Mapping[str, Any]) -> str | None:
    """Return a text that is the same for equal arguments, or `None` for what cannot be compared."""
    try:
        return json.dumps(arguments, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    from pydantic_core import to_jsonable_python

    return [type(value).__name__, to_jsonable_python(value)]  # a date and its text are not the same
