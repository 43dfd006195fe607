"""An LLM as one of CrewAI's own (the real one's)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from crewai.events.types.llm_events import LLMCallType
from crewai.llms import base_llm
from crewai.utilities.exceptions.context_window_exceeding_exception import LLMContextLengthExceededError
from pydantic import PrivateAttr

from oarlock.agents.structured import Structure, structure_of
from oarlock.compat.interop.asking import aask, ask
from oarlock.compat.interop.errors import is_also
from oarlock.contract.errors import ContextWindowExceededError, OarlockError, OutputError, ToolError
from oarlock.contract.estimates import prompt_tokens
from oarlock.contract.llm import BaseLLM
from oarlock.contract.messages import as_messages
from oarlock.contract.reply import Delta, Reply
from oarlock.contract.request import Request
from oarlock.tools.arguments import parse_arguments

__all__ = ["OarlockLLM"]

_KEYS: Final = (
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
)  # what a model reads; CrewAI adds notes of its own
_LEFT_FREE: Final = 0.85  # of the window: CrewAI's own LLMs tell it so, and it shortens what is beyond

# CrewAI runs a task again, up to `max_retry_limit` times, after any error but one that comes from a module of this name,
# which is its mark for "has been retried already". Without it a wrong key would cost three requests.
_NOT_AGAIN: Final = "litellm_like.oarlock"


class OarlockLLM(base_llm.BaseLLM):
    """An LLM for `crewai.Agent(llm=...)`: tools, streams, structured output, events and usage as CrewAI's own have them."""

    llm_type: str = "oarlock"
    _oarlock: BaseLLM = PrivateAttr()

    def __init__(self, llm: BaseLLM, **given: Any) -> None:
        super().__init__(model=llm.model, provider="oarlock", **given)
        self._oarlock = llm

    def call(  # noqa: PLR0917  CrewAI's signature
        self,
        messages: Any,
        tools: Any = None,
        callbacks: Any = None,
        available_functions: Any = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> Any:
        """Ask the LLM, blocking: its text, its tool calls, or the object of `response_model`."""
        call = _Call(self, messages, tools, callbacks, available_functions, from_task, from_agent, response_model)
        with call.told():
            return call.result(ask(self._oarlock, call.request, call.each))

    async def acall(  # noqa: PLR0917  CrewAI's signature
        self,
        messages: Any,
        tools: Any = None,
        callbacks: Any = None,
        available_functions: Any = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> Any:
        """Ask the LLM from a coroutine; the same as `call`."""
        call = _Call(self, messages, tools, callbacks, available_functions, from_task, from_agent, response_model)
        with call.told():
            return call.result(await aask(self._oarlock, call.request, call.each))

    # CrewAI would wrap both into a loop of its own for rate limits; this is how it knows those that have one.
    call._crewai_rate_limit_wrapped = True  # type: ignore[attr-defined]  # noqa: SLF001
    acall._crewai_rate_limit_wrapped = True  # type: ignore[attr-defined]  # noqa: SLF001

    def supports_function_calling(self) -> bool:
        """Return whether CrewAI is to hand over tools; if not, it lets the model use them by writing text."""
        return self._oarlock.supports_function_calling()

    def supports_stop_words(self) -> bool:
        """Return `True`: where the endpoint does not know them, Oarlock cuts the text."""
        return True

    def get_context_window_size(self) -> int:
        """Return the tokens that CrewAI may fill."""
        return int(self._oarlock.get_context_window_size() * _LEFT_FREE)

    def get_input_tokens_count(self, messages: Any, tools: Any = None, response_model: Any = None) -> int:
        """Return about how many tokens a prompt has."""
        return prompt_tokens(Request(messages=as_messages(messages), tools=tuple(tools or ())))

    def __repr__(self) -> str:
        return f"as_crewai_llm({self._oarlock!r})"

    __str__ = __repr__


@dataclasses.dataclass(frozen=True, slots=True)
class _Call:
    """One call: what CrewAI gave, and what it wants to be told."""

    llm: OarlockLLM
    messages: Any
    tools: Any
    callbacks: Any
    functions: Any
    task: Any
    agent: Any
    response_model: Any

    @property
    def request(self) -> Request:
        """What to ask."""
        messages = self.llm._format_messages(self.messages)  # noqa: SLF001  theirs, for their subclasses
        return Request(
            messages=[{key: message[key] for key in _KEYS if key in message} for message in messages],  # type: ignore[misc]
            tools=tuple(self.tools or ()),
            stop=tuple(self.llm.stop_sequences),
            temperature=self.llm.temperature,
            max_tokens=self.llm.max_tokens,
            json_schema=structure.schema if (structure := self._structure) else None,
            callbacks=self.callbacks,
            extras={"from_task": self.task, "from_agent": self.agent},
        )

    @property
    def _structure(self) -> Structure | None:
        return structure_of("CrewAI's call()", self.response_model, None, 0)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell CrewAI's listeners and hooks of the call, and give errors the form that it understands."""
        llm, about = self.llm, {"from_task": self.task, "from_agent": self.agent}
        with base_llm.llm_call_context():
            given = {"callbacks": self.callbacks, "available_functions": self.functions}
            llm._emit_call_started_event(self.messages, self.tools, **given, **about)  # noqa: SLF001
            try:
                llm._invoke_before_llm_call_hooks(self.messages, self.agent)  # noqa: SLF001
                yield
            except ContextWindowExceededError as error:  # CrewAI then shortens the conversation
                llm._emit_call_failed_event(str(error), **about)  # noqa: SLF001
                raise LLMContextLengthExceededError(str(error)) from error
            except OarlockError as error:
                llm._emit_call_failed_event(str(error), **about)  # noqa: SLF001
                raise is_also(error, module=_NOT_AGAIN)  # noqa: B904  the same error
            except Exception as error:
                llm._emit_call_failed_event(str(error), **about)  # noqa: SLF001
                raise

    @property
    def each(self) -> Callable[[Delta], None] | None:
        """Whom to give the pieces of the answer; nobody, if they are not wanted."""
        return self._piece if self.llm._effective_stream() else None  # noqa: SLF001

    def _piece(self, delta: Delta) -> None:
        """Tell of a piece of the answer."""
        call = delta.tool_call
        self.llm._emit_stream_chunk_event(  # noqa: SLF001
            chunk=delta.text,
            from_task=self.task,
            from_agent=self.agent,
            tool_call=None if call is None else dict(call.as_message()),
            call_type=LLMCallType.LLM_CALL if call is None else LLMCallType.TOOL_CALL,
        )

    def result(self, reply: Reply) -> Any:
        """Return what CrewAI is to have of an answer."""
        usage = {**dataclasses.asdict(reply.usage), "total_tokens": reply.usage.total_tokens}
        self.llm._track_token_usage_internal(usage)  # noqa: SLF001
        calls = [call.as_message() for call in reply.tool_calls]
        result: Any = calls or reply.text
        self.llm._emit_call_completed_event(  # noqa: SLF001
            response=result,
            call_type=LLMCallType.TOOL_CALL if calls else LLMCallType.LLM_CALL,
            from_task=self.task,
            from_agent=self.agent,
            messages=self.messages,
            usage=usage,
            finish_reason=reply.finish_reason,
            response_id=reply.id,
        )
        if calls:
            return self._run(reply) if self.functions else calls
        if structure := self._structure:
            try:
                return structure.read(reply.text).value
            except OutputError as error:
                raise ValueError(f"The answer does not fit {structure.model.__name__}: {error}") from error
        messages = self.messages if isinstance(self.messages, list) else as_messages(self.messages)
        return self.llm._invoke_after_llm_call_hooks(messages, reply.text, self.agent)  # noqa: SLF001

    def _run(self, reply: Reply) -> Any:
        """Run the first tool that the model asks for, as CrewAI's own LLMs do when they are given functions."""
        call = reply.tool_calls[0]
        try:
            arguments = parse_arguments(call.arguments)
        except ToolError as error:
            raise ValueError(f"The model called {call.name!r} wrongly: {error}") from error
        return self.llm._handle_tool_execution(call.name, arguments, self.functions, self.task, self.agent)  # noqa: SLF001
