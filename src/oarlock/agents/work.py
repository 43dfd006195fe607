"""One agent at one task: what both loops share."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oarlock.agents.outputs import AgentAction, AgentFinish
from oarlock.agents.prompts import as_texts
from oarlock.agents.templates import PLAIN, Prompts
from oarlock.agents.view import ask_in_view
from oarlock.contract.context import current_call
from oarlock.contract.endings import refuses_schemas
from oarlock.contract.errors import BadRequestError, ContextWindowExceededError, LLMTimeoutError, OarlockError
from oarlock.contract.estimates import with_usage
from oarlock.contract.llm import BaseLLM
from oarlock.contract.messages import Message, ToolSchema
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.runtime import Runtime, ThreadPool

if TYPE_CHECKING:
    from oarlock.agents.hooks_at_work import HooksAtWork
    from oarlock.agents.structured import Structure
    from oarlock.agents.window import Window
    from oarlock.tools import BaseTool

__all__ = ["Work", "call_back", "consult", "name_of", "notify"]

_log = logging.getLogger("oarlock.agents")
_CALLBACKS = ThreadPool(16, "oarlock-callback")


@dataclass(slots=True, kw_only=True)
class Work:
    """The state of one agent at one task. It lives for one run and belongs to nobody else.

    Attributes:
        runtime: what to await.
        role: of the agent, filled in.
        llm: whom to ask.
        tool_llm: whom to ask in turns in which tools may be called, if that is another one.
        tools: by the names that the model uses.
        messages: the conversation so far.
        max_iter: most model calls.
        key: tells this work from the others of its run.
        step_callbacks: called with each `AgentAction` and the `AgentFinish`.
        prompts: what stands around the prompts.
        hooks: around each model call and tool call.
        window: keeps the conversation within the model's context window.
        json_schema: of the answer, for an LLM that can be bound to one; turns that may call tools are free of it.
        structure: what the answer is to look like; it is read while it comes.
        purpose: what the model is asked for, as events tell it.
        tools_as_text: the prompt says how to use tools by writing text.
        extras: further arguments for a `call()` that names them.
        usage: what it has cost so far.
        calls: model calls so far.
        told: how many times the step callbacks were called.
    """

    runtime: Runtime
    role: str
    llm: BaseLLM
    tools: Mapping[str, BaseTool]
    messages: list[Message]
    max_iter: int
    key: str = "1"
    step_callbacks: tuple[Callable[[Any], Any], ...] = ()
    tool_llm: BaseLLM | None = None
    prompts: Prompts = PLAIN
    hooks: HooksAtWork | None = None
    window: Window | None = None
    json_schema: Mapping[str, Any] | None = None
    structure: Structure | None = None
    purpose: str = "answer"
    tools_as_text: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    told: int = 0

    @property
    def turns_left(self) -> int:
        """How many model calls are left, the last of which must answer."""
        return self.max_iter - self.calls

    async def ask(
        self,
        *,
        tools: tuple[ToolSchema, ...] = (),
        functions: Mapping[str, Callable[..., Any]] | None = None,
        stop: tuple[str, ...] = (),
    ) -> Reply:
        """Ask the model about the conversation so far."""
        self.calls += 1
        here = current_call()
        if here.deadline is not None and self.runtime.now() >= here.deadline:
            raise LLMTimeoutError("The time was up before the next model call.", retryable=False)
        llm = self.asked(tools)
        instead = await self.hooks.before_llm(self, llm, tools) if self.hooks is not None else None
        if self.window is not None and instead is None:
            await self.window.fit(self, llm, tools)
        request = Request(
            messages=self._sent(llm),
            tools=tools,
            stop=(*stop, self.prompts.stop) if self.prompts.stop else stop,
            json_schema=self.json_schema if not (tools or stop) else None,
            deadline=here.deadline,
            available_functions=functions,
            extras=self.extras,
            idempotency_key=self._call_key(),
        )
        shortened = False
        while True:
            try:
                if here.listener is None:
                    return await self.answered(request, instead)
                return await ask_in_view(self, request, instead)
            except OarlockError as error:
                mended = await self._mended(request, error, shortened=shortened)
                if mended is None:
                    raise
            shortened = shortened or mended.messages is not request.messages
            self.calls += 1
            request = mended.replace(idempotency_key=self._call_key())

    def asked(self, tools: Sequence[ToolSchema]) -> BaseLLM:
        """Return whom to ask in a turn with these tools."""
        return self.llm if self.tool_llm is None or not tools else self.tool_llm

    def _sent(self, llm: BaseLLM) -> tuple[Message, ...]:
        if self.tool_llm is None or llm is self.tool_llm or llm.supports_function_calling():
            return tuple(self.messages)
        return tuple(as_texts(self.messages))  # it might not know what to make of tool calls

    async def _mended(self, request: Request, error: OarlockError, *, shortened: bool) -> Request | None:
        """Return the request without what the endpoint does not take, `None` if that cannot be left out."""
        if isinstance(error, ContextWindowExceededError):
            llm = self.asked(request.tools)
            if shortened or self.window is None or not await self.window.shrink(self, llm, request.tools, error):
                return None
            return request.replace(messages=self._sent(llm))
        if request.json_schema is None or not (isinstance(error, BadRequestError) and refuses_schemas(error)):
            return None
        _log.info("%s takes no JSON schema (%s); the prompt has it, too", self.asked(request.tools), error)
        self.json_schema = None
        return request.replace(json_schema=None)

    def answered(self, request: Request, instead: Reply | None) -> Awaitable[Reply]:
        """Return the answer to a request, or what a hook gave in its place, as the hooks after it leave it."""
        return self.send(request) if self.hooks is None else self._hooked(self.hooks, request, instead)

    async def _hooked(self, hooks: HooksAtWork, request: Request, instead: Reply | None) -> Reply:
        reply = await self.send(request) if instead is None else instead
        return await hooks.after_llm(self, self.asked(request.tools), request.tools, reply)

    async def send(self, request: Request) -> Reply:
        """Ask the model, as one step of the run."""
        llm = self.asked(request.tools)
        job = functools.partial(llm.handle_request, self.runtime, request)
        step = self.runtime.step("model", llm.model, job, request.idempotency_key or "")
        del job  # it has begun; thousands of runs may wait here
        reply = with_usage(await step, request)
        self.usage += reply.usage
        if self.window is not None:
            self.window.learn(request, reply)
        return reply

    def _call_key(self) -> str | None:
        """Return the idempotency key of a model call, in a run: the same whenever this run is driven again."""
        run_id = current_call().run_id
        return None if run_id is None else f"{run_id}:{self.key}:{self.calls}"

    def tool_key(self, number: int) -> str:
        """Return the idempotency key of a tool call of this turn: the same whenever this run is driven again."""
        return f"{current_call().run_id}:{self.key}:{self.calls}:{number}"

    def add_to_system(self, text: str) -> None:
        """Add to the system prompt, before anything has been asked."""
        self._add(0, text, self.prompts.after_system if not self.prompts.in_one else self.prompts.after_task)

    def add_to_task(self, text: str) -> None:
        """Add to the task, before anything has been asked."""
        self._add(0 if self.prompts.in_one else 1, text, self.prompts.after_task)

    def _add(self, at: int, text: str, tail: str) -> None:
        content = str(self.messages[at]["content"])
        self.messages[at]["content"] = f"{content.removesuffix(tail)}{text}{tail}"

    def say(self, text: str) -> None:
        """Add a message to the model."""
        self.messages.append({"role": "user", "content": text})

    async def acted(self, tool: str, tool_input: str, result: str, text: str = "") -> None:
        """Tell the step callbacks of a tool call."""
        if self.step_callbacks:
            await self._stepped(AgentAction(tool=tool, tool_input=tool_input, result=result, text=text))

    async def finished(self, answer: str, text: str = "") -> str:
        """Tell the step callbacks of the answer, and return it."""
        if self.step_callbacks:
            await self._stepped(AgentFinish(output=answer, text=text or answer))
        return answer

    async def _stepped(self, step: AgentAction | AgentFinish) -> None:
        self.told += 1
        for number, callback in enumerate(self.step_callbacks):
            await notify(self.runtime, f"{self.key}:step:{self.told}:{number}", callback, step)


async def call_back(runtime: Runtime, function: Callable[..., Any], *args: Any, deadline: float | None = None) -> Any:
    """Call a user's callback, blocking or `async def`; what it raises ends the run."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        return await runtime.invoke(None, function, *args, deadline=deadline)
    return await runtime.invoke(function, None, *args, deadline=deadline, pool=_CALLBACKS)


async def notify(runtime: Runtime, key: str, function: Callable[..., Any], *args: Any) -> None:
    """Call a user's callback as a step of the run, so that a run that is driven again does not call it again."""

    async def job() -> None:
        await call_back(runtime, function, *args)

    await runtime.step("callback", name_of(function), job, key)


async def consult(runtime: Runtime, key: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a user's function as a step of the run, so that a run that is driven again goes by what it said then."""
    job = functools.partial(call_back, runtime, function, *args)
    return await runtime.step("callback", name_of(function), job, key)


def name_of(function: object) -> str:
    """Return what to call a user's function."""
    return getattr(function, "__name__", type(function).__name__)
