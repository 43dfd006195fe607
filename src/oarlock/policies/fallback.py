"""Another model in place of one that has failed."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oarlock.contract.errors import (
    CircuitOpenError,
    ConfigurationError,
    ConnectionFailedError,
    LLMError,
    LLMTimeoutError,
    RateLimitError,
    ServerError,
)
from oarlock.contract.events import FellBack
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policed import PolicedLLM
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.contract.secret import scrub
from oarlock.runtime import Runtime

__all__ = ["Fallback"]

_ErrorClass = type[LLMError]

_OUTAGES_AND_LIMITS: tuple[_ErrorClass, ...] = (
    ConnectionFailedError,
    LLMTimeoutError,
    ServerError,
    CircuitOpenError,
    RateLimitError,  # an exhausted quota included
)


class Fallback:
    """Asks another LLM when a call has failed for good, that is, after the retries inside.

    The others are asked in the order given, each at most once, until one answers. Each brings its own policies and
    sign-in; what is around here, such as a deadline, holds for it too. So that one that hangs leaves time for the next, the
    time to the deadline is shared out: of three, the first has a third of it, the second half of what is then left, the last
    all the rest. None is asked once a piece of a streamed answer has been handed out (unless its reader can tell attempts
    apart), when no time is left, or when the request offers tools and that LLM does not support function calling. If none
    answers, the first failure is raised: its notes (`__notes__`, shown in tracebacks) say what became of the others, and its
    `attempts` counts theirs too.

    Args:
        llms: whom to ask after a failure that `on` names.
        on: classes of errors. Default: outages and limits, that is `ConnectionFailedError`, `LLMTimeoutError`,
            `ServerError`, `CircuitOpenError` and `RateLimitError`. A wrong key or a wrong request is left out, since
            another model's answer would only hide it.
        by_error: LLMs for certain errors, such as `{ContextWindowExceededError: big, QuotaExceededError: [cheap, local]}`.
            The nearest class counts. They come before `llms`.

    Raises:
        ConfigurationError: nobody to ask, something that is no LLM or no error class, or the LLM as its own fallback.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> first, second = ScriptedLLM([ServerError("down")]), ScriptedLLM(["Hello"], model="second")
        >>> first.with_policies(Fallback(second)).call("Hi")
        'Hello'
    """

    rank: ClassVar[int] = 35

    def __init__(
        self,
        *llms: BaseLLM,
        on: _ErrorClass | Sequence[_ErrorClass] | None = None,
        by_error: Mapping[_ErrorClass, BaseLLM | Sequence[BaseLLM]] | None = None,
    ) -> None:
        if not llms and not by_error:
            raise ConfigurationError("Fallback: give an LLM to ask instead, or by_error={SomeError: that_llm}.")
        if on is not None and not llms:
            raise ConfigurationError(
                "Fallback: on says when to ask the LLMs given, and none was: Fallback(llm, on=...)."
            )
        self.llms = tuple(_checked_llm(llm) for llm in llms)
        self.on = _OUTAGES_AND_LIMITS if on is None else _checked_classes(on)
        self.by_error = {_checked_class("by_error", one): _checked_llms(them) for one, them in _items(by_error)}
        self._after_a_timeout = len(self._those_for(LLMTimeoutError()))

    def __call__(self, handler: Handler) -> Handler:
        return self._around(None, handler)

    def bind(self, llm: BaseLLM) -> functools.partial[Handler]:
        """Return the policy for this very LLM.

        Raises:
            ConfigurationError: it is one of its own fallbacks.
        """
        self.check(llm)
        return functools.partial(self._around, llm)

    def check(self, llm: BaseLLM) -> None:
        """Refuse an LLM as its own fallback."""
        if any(_core(one) is _core(llm) for one in self.all_llms()):
            raise ConfigurationError(f"Fallback: {_name(llm)} is given as its own fallback: give another LLM.")

    def all_llms(self) -> list[BaseLLM]:
        """Return everybody who may be asked, each once."""
        everybody = [*(llm for llms in self.by_error.values() for llm in llms), *self.llms]
        return list({id(llm): llm for llm in everybody}.values())

    def _around(self, llm: BaseLLM | None, handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            started = runtime.now()
            try:
                return await handler(runtime, _with_share(runtime, request, self._after_a_timeout))
            except LLMError as error:
                reply = await self._instead(runtime, request, llm, error)
                if reply is not None:
                    return reply
                error.elapsed = runtime.now() - started
                raise

        return handle

    async def _instead(
        self, runtime: Runtime, request: Request, failed: BaseLLM | None, error: LLMError
    ) -> Reply | None:
        """Return the answer of the first that has one; `None`, with notes on the error, if nobody has."""
        left, asked, latest = deque(self._those_for(error)), set[int](), error
        while left:
            llm = left.popleft()
            if id(llm) in asked:
                continue
            asked.add(id(llm))
            why_not = _why_not(runtime, request, llm)
            if why_not is not None:
                _note(error, f"{_name(llm)} was not asked instead: {why_not}.")
                continue
            request.emit(FellBack(from_model=_model(failed), to_model=_model(llm), error=latest))
            try:
                others = len({id(one) for one in left} - asked)
                shared = _with_share(runtime, self._request_for(llm, request), others)
                if request.deltas is not None:
                    request.deltas.begin_anew()
                reply = await llm.handle_request(runtime, shared)
            except LLMError as again:
                _note(error, f"{_name(llm)} was asked instead and failed: {type(again).__name__}: {again}")
                error.attempts += again.attempts
                failed, latest = llm, again
                left.extend(self._those_for(again))
            else:
                return reply if reply.model else dataclasses.replace(reply, model=_model(llm))
        return None

    def _those_for(self, error: LLMError) -> tuple[BaseLLM, ...]:
        nearest = next((cls for cls in type(error).__mro__ if cls in self.by_error), None)
        special = () if nearest is None else self.by_error[nearest]
        return special + (self.llms if isinstance(error, self.on) else ())

    def _request_for(self, llm: BaseLLM, request: Request) -> Request:
        """Return the request under a key of its own: to an endpoint that knows the old one it would be the old request."""
        key = request.idempotency_key
        if key is None:
            return request
        number = next(number for number, one in enumerate(self.all_llms(), 1) if one is llm)
        return request.replace(idempotency_key=f"{key}-{number}")

    def explain(self) -> str:
        """Say in words what it does."""
        sentences = []
        if self.llms:
            errors = "an outage or a limit" if self.on is _OUTAGES_AND_LIMITS else _either(self.on)
            sentences.append(f"after {errors} asks {_in_turn(self.llms)}")
        sentences += [f"after {error.__name__} asks {_in_turn(llms)}" for error, llms in self.by_error.items()]
        text = f"When a call has failed for good: {'; '.join(sentences)}. Not once a stream has begun."
        if self._after_a_timeout:
            text += " Each has an even share of the time to the deadline."
        without = [_name(llm) for llm in self.all_llms() if not llm.supports_function_calling()]
        if without:
            text += f" Requests that offer tools pass over {', '.join(without)}: no function calling there."
        return text

    def __repr__(self) -> str:
        arguments = [_model(llm) for llm in self.llms]
        if self.on is not _OUTAGES_AND_LIMITS:
            arguments.append(f"on=[{', '.join(one.__name__ for one in self.on)}]")
        if self.by_error:
            pairs = (f"{one.__name__}: {', '.join(map(_model, llms))}" for one, llms in self.by_error.items())
            arguments.append(f"by_error={{{'; '.join(pairs)}}}")
        return f"Fallback({', '.join(arguments)})"


def _with_share(runtime: Runtime, request: Request, others: int) -> Request:
    """Return the request with its part of the time that is left to it and to so many others after it."""
    if request.deadline is None or not others:
        return request
    now = runtime.now()
    return request.replace(deadline=now + (request.deadline - now) / (others + 1))


def _why_not(runtime: Runtime, request: Request, llm: BaseLLM) -> str | None:
    if request.deltas is not None and not request.deltas.may_begin_anew:
        return "a part of the answer had been handed out"
    if request.deadline is not None and runtime.now() >= request.deadline:
        return "no time was left"
    if request.tools and not llm.supports_function_calling():
        return "the request offers tools, and it does not support function calling"
    return None


def _note(error: LLMError, text: str) -> None:
    if text not in getattr(error, "__notes__", ()):  # one error may be raised to several callers
        error.add_note(text)


def _core(llm: BaseLLM) -> BaseLLM:
    return llm.inner if isinstance(llm, PolicedLLM) else llm


def _model(llm: BaseLLM | None) -> str:
    return "the LLM" if llm is None else scrub(str(llm.model))


def _name(llm: BaseLLM) -> str:
    endpoint, _, _ = (llm.endpoint_name() or _model(llm)).partition("?")  # what follows may hold a key
    return scrub(endpoint)


def _in_turn(llms: Sequence[BaseLLM]) -> str:
    return ", then ".join(map(_name, llms))


def _either(classes: Sequence[_ErrorClass]) -> str:
    return " or ".join(one.__name__ for one in classes)


def _items(by_error: Any) -> Any:
    if by_error is None:
        return ()
    if not isinstance(by_error, Mapping):
        raise ConfigurationError(f"Fallback: by_error must be a mapping {{SomeError: llm}}, not {by_error!r}.")
    return by_error.items()


def _checked_llms(llms: Any) -> tuple[BaseLLM, ...]:
    if not isinstance(llms, list | tuple):
        return (_checked_llm(llms),)
    if not llms:
        raise ConfigurationError("Fallback: by_error has an error for which no LLM is given.")
    return tuple(_checked_llm(llm) for llm in llms)


def _checked_llm(llm: Any) -> BaseLLM:
    if not isinstance(llm, BaseLLM):
        given = f"the class {llm.__name__}" if isinstance(llm, type) else f"a {type(llm).__name__}"
        raise ConfigurationError(
            f"Fallback: it takes LLMs, such as ChatLLM(...), and was given {given}. Errors go into on= or by_error=."
        )
    return llm


def _checked_classes(on: Any) -> tuple[_ErrorClass, ...]:
    classes = tuple(on) if isinstance(on, list | tuple) else (on,)
    if not classes:
        raise ConfigurationError("Fallback: on is empty, so no other LLM would ever be asked.")
    return tuple(_checked_class("on", one) for one in classes)


def _checked_class(argument: str, error: Any) -> _ErrorClass:
    if not (isinstance(error, type) and issubclass(error, LLMError)):
        raise ConfigurationError(
            f"Fallback: {argument} takes LLMError and its subclasses, such as ServerError or LLMTimeoutError, not {error!r}."
        )
    return error
