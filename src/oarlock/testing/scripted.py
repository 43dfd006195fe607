"""Language models for tests: one answers by script, one by a function. No network, no model."""

from __future__ import annotations

import dataclasses
import inspect
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oarlock.contract.answers import cut_at_stop, reply_from
from oarlock.contract.classify import classify
from oarlock.contract.errors import LLMTimeoutError, OarlockError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Delta, Reply, ToolCall
from oarlock.contract.request import DeltaSink, Request
from oarlock.runtime import Runtime

__all__ = ["FunctionLLM", "ScriptExhaustedError", "ScriptedLLM"]

_BETWEEN_WORDS = re.compile(r"(?<=\s)(?=\S)")


class ScriptExhaustedError(OarlockError, AssertionError):
    """A test's model was asked once more than its script has replies."""


class _FakeLLM(BaseLLM, abstract=True):
    """What both have in common: what they say about themselves, and how an item becomes a reply."""

    def __init__(
        self, *, model: str, supports_function_calling: bool, supports_stop_words: bool, context_window: int
    ) -> None:
        super().__init__(model=model)
        self.requests: list[Request] = []
        self._supports_function_calling = supports_function_calling
        self._supports_stop_words = supports_stop_words
        self._context_window = context_window

    def supports_function_calling(self) -> bool:
        return self._supports_function_calling

    def supports_stop_words(self) -> bool:
        return self._supports_stop_words

    def get_context_window_size(self) -> int:
        return self._context_window

    async def _deliver(self, item: Any, request: Request) -> Reply:
        reply = reply_from(item, type(self).__name__)
        text = cut_at_stop(reply.text, [*self._oarlock_stop, *request.stop])
        if text != reply.text and reply.value is None:
            reply = dataclasses.replace(reply, text=text)
        if request.deltas is not None:
            await _stream(reply, request.deltas)
        return reply


class ScriptedLLM(_FakeLLM):
    """A model that gives the next item of a script for each request, and keeps the requests.

    Safe for threads and tasks: each item goes to exactly one call. A stream gives the text word by word.

    Args:
        replies: what to answer, in order. Each item is a text, a `Reply`, a `ToolCall` or a list of them, an exception
            to raise (it is classified like one of a user's own `call()`), or a function that takes the `Request` and
            returns any of these. One such item by itself is a script of one.
        model: its name.
        supports_function_calling: what it says about itself.
        supports_stop_words: what it says about itself; its texts are cut at stop words in either case.
        context_window: what it says about itself, in tokens.
        latency: seconds that each answer takes, slept through the runtime; one longer than the request's `timeout`
            or `deadline` ends in `LLMTimeoutError`.

    Attributes:
        requests: every `Request` so far, in order.

    Raises:
        ScriptExhaustedError: from a call, when the script is used up. It is an `AssertionError` too.

    Example:
        >>> llm = ScriptedLLM(["Hello", "Goodbye"])
        >>> llm.call("Hi"), llm.call("Bye")
        ('Hello', 'Goodbye')
        >>> llm.requests[1].messages
        [{'role': 'user', 'content': 'Bye'}]
    """

    def __init__(
        self,
        replies: Any,
        *,
        model: str = "scripted",
        supports_function_calling: bool = False,
        supports_stop_words: bool = True,
        context_window: int = 8192,
        latency: float = 0.0,
    ) -> None:
        super().__init__(
            model=model,
            supports_function_calling=supports_function_calling,
            supports_stop_words=supports_stop_words,
            context_window=context_window,
        )
        self.latency = latency
        self._left = deque([replies] if _is_one_item(replies) else replies)
        self._scripted = len(self._left)
        self._lock = threading.Lock()

    @property
    def remaining(self) -> int:
        """How many items of the script are left."""
        return len(self._left)

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        item = self._take(request)
        await self._think(runtime, request)
        return await self._deliver(_resolve(item, request, type(self).__name__), request)

    def _take(self, request: Request) -> Any:
        with self._lock:  # so that requests[n] got the script's item n
            self.requests.append(request)
            if self._left:
                return self._left.popleft()
        last = str(request.messages[-1].get("content"))
        raise ScriptExhaustedError(
            f"{type(self).__name__}({self.model!r}) has a script of {self._scripted}, and this is request "
            f"{len(self.requests)}. Its last message is: {last if len(last) <= 300 else last[:299] + '…'}"
        )

    async def _think(self, runtime: Runtime, request: Request) -> None:
        limits = [request.timeout, request.deadline and request.deadline - runtime.now()]
        limit = min((seconds for seconds in limits if seconds is not None), default=self.latency)
        if self.latency > 0:
            await runtime.sleep(max(0.0, min(self.latency, limit)))
        if limit < self.latency:
            raise LLMTimeoutError(f"{type(self).__name__} gave no answer before its time was up.")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())


class FunctionLLM(_FakeLLM):
    """A model that answers by calling a function, and keeps the requests.

    Args:
        function: blocking or `async`. It takes `(messages, tools)`, or `(messages)`, or one parameter of any other name,
            which is given the whole `Request`. It returns what an item of a `ScriptedLLM` may be, or raises.
        model: its name.
        supports_function_calling: what it says about itself.
        supports_stop_words: what it says about itself; its texts are cut at stop words in either case.
        context_window: what it says about itself, in tokens.

    Attributes:
        requests: every `Request` so far, in order.

    Example:
        >>> FunctionLLM(lambda messages, tools: messages[-1]["content"].upper()).call("Hi")
        'HI'
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        model: str = "function",
        supports_function_calling: bool = False,
        supports_stop_words: bool = True,
        context_window: int = 8192,
    ) -> None:
        super().__init__(
            model=model,
            supports_function_calling=supports_function_calling,
            supports_stop_words=supports_stop_words,
            context_window=context_window,
        )
        self.function = function
        self._is_async = any(
            inspect.iscoroutinefunction(form)
            for form in (function, getattr(function, "__call__", None))  # noqa: B004
        )
        self._takes = _parameters(function)

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        self.requests.append(request)
        forms = (None, self.function) if self._is_async else (self.function, None)
        given = {"request": request, "messages": list(request.messages), "tools": list(request.tools)}
        limits = [request.deadline, request.timeout and runtime.now() + request.timeout]
        deadline = min((limit for limit in limits if limit is not None), default=None)
        try:
            answer = await runtime.invoke(
                *forms, *(given[name] for name in self._takes), deadline=deadline, pool=self._threads
            )
        except Exception as error:  # noqa: BLE001  a user's own function: whatever it raises is classified
            raise classify(error, type(self).__name__) from _cause(error)
        return await self._deliver(_resolve(answer, request, type(self).__name__), request)


def _resolve(item: Any, request: Request, who: str) -> Any:
    """Return the answer that an item stands for, or raise its exception."""
    while callable(item) and not isinstance(item, type):
        try:
            item = item(request)
        except Exception as error:  # noqa: BLE001  a user's own function: whatever it raises is classified
            raise classify(error, who) from _cause(error)
    if isinstance(item, type) and issubclass(item, BaseException):
        item = item()
    if isinstance(item, Exception):
        raise classify(item, who) from _cause(item)
    if isinstance(item, BaseException):
        raise item
    return [item] if isinstance(item, ToolCall) else item


def _is_one_item(replies: Any) -> bool:
    single = isinstance(replies, str | Mapping) or hasattr(replies, "model_dump_json")  # which can be iterated over too
    return single or not isinstance(replies, Iterable)


def _cause(error: Exception) -> BaseException | None:
    return error.__cause__ if isinstance(error, OarlockError) else error


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    names = [one.name for one in parameters if one.kind in kinds]
    if len(names) > 1 or any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return ("messages", "tools")
    return ("messages",) if names == ["messages"] else ("request",)


async def _stream(reply: Reply, deltas: DeltaSink) -> None:
    for piece in _BETWEEN_WORDS.split(reply.text) if reply.text else ():
        await deltas.put(Delta(piece))
    for call in reply.tool_calls:
        await deltas.put(Delta(tool_call=call))
