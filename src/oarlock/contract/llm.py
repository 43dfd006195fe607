"""`BaseLLM`: the class that users subclass, and the doors through which everybody asks a model."""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TextIO

from oarlock.contract.answers import cut_at_stop, reply_from, require_answer
from oarlock.contract.checks import check_llm_settings, stop_words
from oarlock.contract.classify import classify
from oarlock.contract.context import current_call, enter, leave
from oarlock.contract.errors import ConfigurationError, LLMTimeoutError, misspelt
from oarlock.contract.explaining import explained, own_code
from oarlock.contract.functions import converse
from oarlock.contract.messages import as_messages
from oarlock.contract.order import check_order
from oarlock.contract.parameters import accepted, names_of, parameters
from oarlock.contract.policy import Handler, Policy, compose, in_default_order
from oarlock.contract.recursion import counted
from oarlock.contract.reply import Delta, Reply
from oarlock.contract.request import DeltaSink, Request
from oarlock.contract.watching import Watchers
from oarlock.runtime import Runtime, ThreadPool, current_blocking, drive, drive_async
from oarlock.runtime.ambient import current_async
from oarlock.runtime.streams import AsyncStream, Stream

__all__ = ["BaseLLM"]

_DOORS = ("call", "acall", "complete", "acomplete")
_STRUCTURED = ("complete", "acomplete")
_CACHES = ("_oarlock_pool", "_oarlock_stack")  # made when first needed; a copy or pickle makes its own


class BaseLLM(ABC):
    """Any language model. Subclass it, write `call()`, and give it to an `Agent`.

    A subclass writes one of these (or two, one of each colour; the library picks what suits):

    - `call(messages, tools=None, callbacks=None, available_functions=None)`: blocking. Returns the answer's text, a
      list of tool calls in OpenAI's shape, a `Reply`, or a pydantic object. Leave out parameters you do not need.
    - `acall(...)`: the same as a coroutine.
    - `complete(request: Request) -> Reply`, or `acomplete`: structured: usage, finish reason and all.

    `super().__init__()` needs no argument, and may even be forgotten. Set whatever attributes you like.

    Args:
        model: a name for the model, for logs and metrics.
        temperature: `None` leaves it to the endpoint.
        stop: stop words of its own, a text or a list.
        max_tokens: most tokens of an answer.
        api_key: kept as an attribute for a `call()` of yours; `ChatLLM` takes `auth=`.
        base_url: kept as an attribute for a `call()` of yours.
        max_threads: how many blocking `call()`s may run at once on behalf of async runs; the rest queue.

    Raises:
        ConfigurationError: an unknown argument, one that cannot work, or a subclass that writes none of the methods above.

    Example:
        >>> class Parrot(BaseLLM):
        ...     def call(self, messages, tools=None, callbacks=None, available_functions=None):
        ...         return messages[-1]["content"] if isinstance(messages, list) else messages
        >>> Parrot().call("Hello")
        'Hello'
    """

    model: str = "custom"
    temperature: float | None = None
    max_tokens: int | None = None
    api_key: Any = None
    base_url: str | None = None
    max_threads: int = 64
    policies: tuple[Policy, ...] = ()

    _oarlock_stop: list[str] = []  # noqa: RUF012  replaced, never changed
    _written: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        model: str = "custom",
        *,
        temperature: float | None = None,
        stop: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
        api_key: Any = None,
        base_url: str | None = None,
        max_threads: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            known = ("model", "temperature", "stop", "max_tokens", "api_key", "base_url", "max_threads")
            raise misspelt(f"{type(self).__name__}'s super().__init__()", unknown, known)
        given = {
            "model": None if model == BaseLLM.model else model,
            "temperature": temperature,
            "stop": stop,
            "max_tokens": max_tokens,
            "api_key": api_key,
            "base_url": base_url,
            "max_threads": max_threads,
        }
        check_llm_settings(type(self).__name__, given)
        for name, value in given.items():
            if value is not None:  # so that a subclass may set its defaults on the class
                setattr(self, name, value)

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        homes = {name: next(base for base in cls.__mro__ if name in vars(base)) for name in _DOORS}
        for name, home in homes.items():
            if home is cls or not issubclass(home, BaseLLM):  # a mixin's call() serves as well
                setattr(cls, name, counted(vars(home)[name]))
        if isinstance(vars(cls).get("stop"), str | list | tuple):  # written as a plain attribute: still per run
            cls._oarlock_stop = stop_words(cls.__name__, vars(cls)["stop"])
            del cls.stop
        cls._written = frozenset(name for name, home in homes.items() if home is not BaseLLM)
        answers = cls._written or cls._respond is not BaseLLM._respond
        if not (answers or abstract or ABC in cls.__bases__ or _has_abstract_methods(cls)):
            raise ConfigurationError(
                f"{cls.__name__} has no way to answer: define call(self, messages, tools=None, callbacks=None, "
                "available_functions=None), or acall(), or complete(self, request). "
                f"If it is only a base for others: class {cls.__name__}(BaseLLM, abstract=True)."
            )

    def __new__(cls, *args: Any, **given: Any) -> Self:  # noqa: ARG004  __init__ takes them
        if not (cls._written or cls._respond is not BaseLLM._respond):
            raise ConfigurationError(f"{cls.__name__} is only a base class: subclass it and define call().")
        known, anything = parameters(cls.__init__, 1)
        if not anything and not given.keys() <= known:
            raise misspelt(cls.__name__, [name for name in given if name not in known], known)
        return super().__new__(cls)

    # What a subclass may say about itself.

    def supports_function_calling(self) -> bool:
        """Return whether `call()` makes use of `tools`. The default is `False`: tools then work through text."""
        return False

    def supports_stop_words(self) -> bool:
        """Return whether `call()` makes use of `self.stop`. Where not, the library cuts the text itself."""
        return False

    def supports_json_schema(self) -> bool:
        """Return whether `Request.json_schema` binds the answer. Where not, the answer is checked, and asked for again."""
        return False

    def supports_option(self, name: str) -> bool:
        """Return whether a setting of one request reaches the model: `temperature`, `max_tokens`, or one of its `options`.

        A `call()` takes those that it has parameters for; a `complete()` is taken to read the first two.
        """
        doors = self._written & {"call", "acall"}
        if not doors or self._written & {"complete", "acomplete"}:
            return name in ("temperature", "max_tokens")
        return all(name in names_of(getattr(self, door))[0] for door in doors)

    def get_context_window_size(self) -> int:
        """Return how many tokens fit into prompt and answer together; 8192 unless a subclass knows better."""
        return 8192

    def endpoint_name(self) -> str | None:
        """Return what stands or falls together with this LLM, such as its URL and model; `None` if nothing else does.

        Policies keep their retry budgets and circuits by it: LLMs of one name share them.
        """
        return None

    @property
    def stop(self) -> list[str]:
        """Stop words: the LLM's own and, inside a run, those of the running step."""
        own: list[str] | None = self.__dict__.get("_oarlock_stop")
        if own is None:  # a list of its own, since `llm.stop.append(...)` must not reach the class
            own = self._oarlock_stop = list(self._oarlock_stop)
        running = current_call().stop
        return [*own, *(word for word in running if word not in own)] if running else own

    @stop.setter
    def stop(self, words: str | Sequence[str] | None) -> None:
        self._oarlock_stop = stop_words(type(self).__name__, words)

    # The doors. Each has both colours; all lead to `handle_request`.

    def call(
        self,
        messages: str | list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
    ) -> str | Any:
        """Ask the model, blocking; works inside a running event loop too.

        Args:
            messages: a text, or messages in OpenAI's shape.
            tools: schemas of tools that the model may ask for.
            callbacks: handed to a `call()` of your own.
            available_functions: functions by name. With them, tools that the model asks for are run and their answers
                sent back until it answers in text; without, its tool calls are returned.

        Returns:
            The text, or a list of tool calls in OpenAI's shape.

        Raises:
            LLMError: the call failed; see `oarlock.errors`.
        """
        request = self._request(messages, tools, callbacks, available_functions)
        return _answer(drive(converse, request, self._entry("call")))

    async def acall(
        self,
        messages: str | list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
    ) -> str | Any:
        """Ask the model from a coroutine; the same as `call`."""
        request = self._request(messages, tools, callbacks, available_functions)
        return _answer(await drive_async(converse, request, self._entry("acall")))

    def complete(self, request: Request) -> Reply:
        """Ask the model, blocking, and return the whole `Reply`; tool calls are not run.

        Raises:
            LLMError: the call failed.
        """
        return drive(_ask, self._entry("complete"), request)

    async def acomplete(self, request: Request) -> Reply:
        """Ask the model from a coroutine, and return the whole `Reply`; the same as `complete`."""
        return await drive_async(_ask, self._entry("acomplete"), request)

    def stream(
        self, messages: str | list[dict[str, Any]], tools: list[dict[str, Any]] | None = None
    ) -> Stream[Delta, Reply]:
        """Return the answer piece by piece, blocking: `for delta in llm.stream("Hi"): print(delta)`.

        The stream's `.reply` is the whole `Reply` once it has ended. An LLM that cannot stream gives one piece.

        Raises:
            LLMError: while iterating. `TruncatedStream`, with the text that had come, if it was cut.
        """
        request = self._request(messages, tools).replace(deltas=DeltaSink())
        runtime = current_blocking()
        return Stream(lambda: self.handle_request(runtime, request))

    def astream(
        self, messages: str | list[dict[str, Any]], tools: list[dict[str, Any]] | None = None
    ) -> AsyncStream[Delta, Reply]:
        """Return the answer piece by piece: `async for delta in llm.astream("Hi"): print(delta)`; see `stream`."""
        request = self._request(messages, tools).replace(deltas=DeltaSink())
        runtime = current_async()
        return AsyncStream(lambda: self.handle_request(runtime, request))

    def with_policies(self, *policies: Policy, order: str = "default") -> BaseLLM:
        """Return this LLM inside policies: retries, limits, deadlines, metrics, ...

        Policies of the same class that it already has are replaced, so there is never a retry around a retry.

        Args:
            policies: such as `Retry()`, `RateLimit(requests_per_minute=60)`, or functions from handler to handler.
            order: `"default"` sorts them by what works best (see `docs/policies.md`); `"given"` takes the first as the outermost.

        Raises:
            ConfigurationError: something is no policy, the order is unknown, or it would multiply retries.

        Example:
            >>> from oarlock.testing import ScriptedLLM
            >>> from oarlock.policies import Retry
            >>> ScriptedLLM(["Hello"]).with_policies(Retry()).call("Hi")
            'Hello'
        """
        from oarlock.contract.policed import PolicedLLM

        return PolicedLLM(*self._bare(), policies, order=order)

    def get_metrics(self) -> dict[str, Any]:
        """Return the figures of the `Metrics` policy of this LLM.

        Raises:
            ConfigurationError: it has none.
        """
        for policy in self.policies:
            figures = getattr(policy, "get_metrics", None)
            if figures is not None:
                return dict(figures())
        raise ConfigurationError("This LLM keeps no metrics: use llm.with_policies(Metrics()).")

    def explain(self, file: TextIO | None = None) -> None:
        """Print in words what a call passes, from the outside in: each policy, then the LLM itself.

        Args:
            file: where to print, such as an `io.StringIO()`; default: `sys.stdout`.

        Example:
            >>> from oarlock.testing import ScriptedLLM
            >>> ScriptedLLM(["Hello"]).explain()
            A call passes, from the outside in:
              1. The LLM itself: ScriptedLLM(model='scripted').
            No policies: a failure ends the call at once.
        """
        core, policies = self._bare()
        policies = in_default_order(policies) if core is self else policies
        print(explained(core, policies), file=file)

    def explain_itself(self) -> str:
        """Return a sentence on the LLM without its policies, for `explain()`. It must hold no secret."""
        return own_code(self, self._written) if self._written else f"{self!r}."

    def _bare(self) -> tuple[BaseLLM, tuple[Policy, ...]]:
        """Return what policies are wrapped around, and those that are there already."""
        return self, (() if self._written else self.policies)

    # How the library asks.

    async def handle_request(self, runtime: Runtime, request: Request) -> Reply:
        """Answer a request: the one way in which the library itself asks a model.

        Raises:
            LLMError: whatever went wrong, classified.
        """
        handler = self._ask_own_code if self._written else self._handler
        reply = await self._within_budgets(handler)(runtime, request)
        if request.deltas is not None and not request.deltas.delivered:
            await request.deltas.put_whole(reply)
        return reply

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        """Answer a request without policies. The ready LLMs write this one."""
        raise ConfigurationError(
            f"{type(self).__name__} called super().call(), but BaseLLM itself has no model to ask. Return an answer instead."
        )

    async def _respond_bare(self, runtime: Runtime, request: Request) -> Reply:
        """Answer a request without the policies of this LLM; others are around it."""
        return await (self._ask_own_code if self._written else self._respond)(runtime, request)

    @property
    def _handler(self) -> Handler:
        stack: Handler | None = self.__dict__.get("_oarlock_stack")
        if stack is None:
            policies = in_default_order(self.policies)
            check_order(policies)
            stack = compose(policies, self._respond, self)
            self.__dict__["_oarlock_stack"] = stack
        return stack

    def _entry(self, door: str) -> Handler:
        """Return where a door leads: past the user's own code if that is what is knocking, through `super()`."""
        return self._within_budgets(self._handler) if door in self._written else self.handle_request

    def _within_budgets(self, handler: Handler) -> Handler:
        """Return the handler inside the budgets that hold here (`with budget:`), and inside of what watches the process."""
        around = (*Watchers.all, *current_call().budgets) if Watchers.all else current_call().budgets
        return compose(around, handler, self) if around else handler

    async def _ask_own_code(self, runtime: Runtime, request: Request) -> Reply:
        blocking, awaitable = self._own_names()
        who = f"{type(self).__name__}.{blocking if blocking in self._written else awaitable}()"
        deadline = _earlier(request.deadline, request.timeout and runtime.now() + request.timeout)
        outer = current_call()
        token = enter(
            attempt=request.attempt,
            deadline=deadline,
            idempotency_key=request.idempotency_key,
            stop=request.stop,
            retried=request.retried or outer.retried,
            places=(*outer.places, *request.places),
            charges=(*outer.charges, *request.charges),
            apart=False,
        )
        try:
            answer = await self._own_answer(runtime, request, deadline)
        except Exception as error:  # the boundary to the user's own code: everything is classified
            if isinstance(error, TimeoutError) and deadline is not None and runtime.now() >= deadline:
                raise LLMTimeoutError(f"{who} gave no answer before its time was up.") from error
            ours = classify(error, who)
            raise ours from (error if ours is not error else error.__cause__)
        finally:
            leave(token)
        reply = require_answer(reply_from(answer, who), who)
        return _cut(reply, [*self._oarlock_stop, *request.stop])

    def _own_names(self) -> tuple[str, str]:
        """Return what the user's own code is called, blocking and awaitable; one of them may not be there."""
        return ("call", "acall") if self._written.isdisjoint(_STRUCTURED) else _STRUCTURED

    def _own_answer(self, runtime: Runtime, request: Request, deadline: float | None) -> Awaitable[Any]:
        """Ask the user's own code, with the arguments that it takes; what is made here for that is gone while it works."""
        names = self._own_names()
        forms = [self._form(name, request) if name in self._written else None for name in names]
        argument = request if names is _STRUCTURED else [dict(message) for message in request.messages]
        return runtime.invoke(*forms, argument, deadline=deadline, pool=self._threads)

    def _form(self, name: str, request: Request) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self, name)
        if name.endswith("complete"):
            return method
        arguments = accepted(method, request)
        return functools.partial(method, **arguments) if arguments else method

    @property
    def _threads(self) -> ThreadPool:
        pool: ThreadPool | None = self.__dict__.get("_oarlock_pool")
        if pool is None:  # setdefault: of two threads that get here at once, both use one pool
            pool = self.__dict__.setdefault(
                "_oarlock_pool", ThreadPool(self.max_threads, f"oarlock-{type(self).__name__}")
            )
        return pool

    def _request(
        self,
        messages: str | list[dict[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        callbacks: Sequence[Any] | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Request:
        outer = current_call()  # a call() that asks through super(), or a tool that asks a model: its limits go on
        return Request(
            messages=as_messages(messages),
            tools=tuple(tools or ()),
            stop=outer.stop,
            deadline=outer.deadline,
            idempotency_key=outer.idempotency_key,
            callbacks=callbacks,
            available_functions=functions,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _CACHES}


def _has_abstract_methods(cls: type) -> bool:
    return any(getattr(value, "__isabstractmethod__", False) for value in vars(cls).values())


async def _ask(runtime: Runtime, handler: Handler, request: Request) -> Reply:
    return await handler(runtime, request)


def _answer(reply: Reply) -> Any:
    if reply.value is not None:
        return reply.value
    return [call.as_message() for call in reply.tool_calls] if reply.tool_calls else reply.text


def _cut(reply: Reply, stop: Sequence[str]) -> Reply:
    text = cut_at_stop(reply.text, stop) if stop else reply.text
    if text == reply.text or reply.value is not None:
        return reply
    return dataclasses.replace(reply, text=text)


def _earlier(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
