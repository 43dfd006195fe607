"""Hooks at work: what an agent's model calls and tool calls pass, the crew's around its own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from oarlock.agents.definitions import functions
from oarlock.agents.hooks import KINDS, Hook, Hooks, LLMCallHookContext, ToolCallHookContext, name_of
from oarlock.agents.work import call_back
from oarlock.contract.answers import reply_from, require_answer
from oarlock.contract.context import current_call
from oarlock.contract.errors import (
    CallVetoedError,
    ConfigurationError,
    LLMTimeoutError,
    OarlockError,
    ResponseFormatError,
    a_kind,
)
from oarlock.contract.messages import Message, as_messages
from oarlock.contract.records import dataclass
from oarlock.contract.reply import Reply, Usage
from oarlock.tools import ToolAnswer, result_as_text

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent
    from oarlock.agents.crew import Crew
    from oarlock.agents.task import Task
    from oarlock.agents.work import Work
    from oarlock.contract.llm import BaseLLM
    from oarlock.contract.messages import ToolSchema
    from oarlock.runtime import Runtime
    from oarlock.tools import BaseTool

__all__ = ["HooksAtWork", "Said", "hooks_at_work"]

_SLACK = 0.001  # seconds by which a timer may fire early


def hooks_at_work(crew: Crew | None, agent: Agent, task: Task) -> HooksAtWork | None:
    """Return the hooks of an agent at a task, its crew's around its own; `None` if there are none, which costs nothing."""
    around = [
        one
        for one in (Hooks.everywhere, crew, agent)
        if one is not None
        and (one.before_llm_call or one.after_llm_call or one.before_tool_call or one.after_tool_call)
    ]
    if not around:
        return None
    inward = {kind: [_all(getattr(one, kind), kind) for one in around] for kind in KINDS}
    hooks = Hooks(
        before_llm_call=sum(inward["before_llm_call"], ()),
        after_llm_call=sum(reversed(inward["after_llm_call"]), ()),
        before_tool_call=sum(inward["before_tool_call"], ()),
        after_tool_call=sum(reversed(inward["after_tool_call"]), ()),
    )
    return HooksAtWork(hooks=hooks, crew=crew, agent=agent, task=task)


def _all(given: Hook | Sequence[Hook], kind: str) -> tuple[Hook, ...]:
    return given if isinstance(given, tuple) else functions("Hooks", kind, given)  # set after it was built


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What hooks made of a model call: plain data, so that a durable engine can record it.

    Attributes:
        reply: the answer, if they gave or left one.
        messages: the conversation, if they changed it.
    """

    reply: Reply | None = None
    messages: tuple[Message, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HooksAtWork:
    """The hooks of one agent at one task. Before a call the outer ones come first, after it the inner ones."""

    hooks: Hooks
    crew: Crew | None
    agent: Agent
    task: Task

    @property
    def change_answers(self) -> bool:
        """Whether hooks may change what a model answers."""
        return bool(self.hooks.after_llm_call)

    async def before_llm(self, work: Work, llm: BaseLLM, tools: Sequence[ToolSchema]) -> Reply | None:
        """Return the answer that hooks give in place of the model, if they do.

        Raises:
            CallVetoedError: one of them forbids the call.
        """
        if not self.hooks.before_llm_call:
            return None
        return await self._step(work, "before_llm_call", functools.partial(self._before_llm, work, llm, tools))

    async def after_llm(self, work: Work, llm: BaseLLM, tools: Sequence[ToolSchema], reply: Reply) -> Reply:
        """Return the answer as hooks leave it."""
        if not self.hooks.after_llm_call:
            return reply
        job = functools.partial(self._after_llm, work, llm, tools, reply)
        return await self._step(work, "after_llm_call", job) or reply

    async def _step(self, work: Work, name: str, job: Callable[[], Any]) -> Reply | None:
        key = f"{work.key}:{work.calls}:{name}"
        said: Said = await work.runtime.step("hook", name, job, key)  # what hooks do need not be the same in a replay
        if said.messages is not None:
            work.messages[:] = [message.copy() for message in said.messages]
        return said.reply

    async def _before_llm(self, work: Work, llm: BaseLLM, tools: Sequence[ToolSchema]) -> Said:
        context, before = self._context(work, llm, tools), _snapshot(work)
        reply = None
        for hook in self.hooks.before_llm_call:
            said = await _call(work.runtime, hook, context)
            if said is False:
                raise CallVetoedError(f"Agent {work.role!r}: the hook {name_of(hook)} does not allow this model call.")
            if said is not None and said is not True:
                reply = _instead(hook, said)
                break
        return Said(reply=reply, messages=_changed(context, before))

    async def _after_llm(self, work: Work, llm: BaseLLM, tools: Sequence[ToolSchema], reply: Reply) -> Said:
        context, before = self._context(work, llm, tools, reply), _snapshot(work)
        for hook in self.hooks.after_llm_call:
            said = await _call(work.runtime, hook, context)
            if said is not None:
                context.reply = reply = _changed_reply(hook, said, reply)
        return Said(reply=reply, messages=_changed(context, before))

    def _context(
        self, work: Work, llm: BaseLLM, tools: Sequence[ToolSchema], reply: Reply | None = None
    ) -> LLMCallHookContext:
        return LLMCallHookContext(
            messages=work.messages,
            agent=self.agent,
            task=self.task,
            crew=self.crew,
            llm=llm,
            iterations=work.calls,
            tools=tuple(schema["function"]["name"] for schema in tools),
            reply=reply,
        )

    # As `ToolHooks`. A tool is a step, hooks and all, but for one that is made of steps: then its hooks are steps, too.

    async def before_tool(
        self, runtime: Runtime, tool: BaseTool, arguments: dict[str, Any], key: str
    ) -> ToolAnswer | None:
        """Let hooks change the arguments, forbid the call, or answer in place of the tool."""
        if not self.hooks.before_tool_call:
            return None
        job = functools.partial(self._before_tool, runtime, tool, arguments)
        answer: ToolAnswer | None
        left, answer = await _as_step(runtime, tool, "before_tool_call", key, job)
        if left is not arguments:
            changed = dict(left)
            arguments.clear()
            arguments.update(changed)
        return answer

    async def after_tool(
        self, runtime: Runtime, tool: BaseTool, arguments: dict[str, Any], told: ToolAnswer, key: str
    ) -> ToolAnswer:
        """Let hooks change what the model is told."""
        if not self.hooks.after_tool_call:
            return told
        job = functools.partial(self._after_tool, runtime, tool, arguments, told)
        text = await _as_step(runtime, tool, "after_tool_call", key, job)
        return told if text == told.text else dataclasses.replace(told, text=text)

    async def _before_tool(
        self, runtime: Runtime, tool: BaseTool, arguments: dict[str, Any]
    ) -> tuple[dict[str, Any], ToolAnswer | None]:
        context = self._tool_context(tool, arguments)
        for hook in self.hooks.before_tool_call:
            said = await _call(runtime, hook, context)
            if said is not None and said is not True:
                return context.tool_input, _in_place_of(tool, said)
        return context.tool_input, None

    async def _after_tool(self, runtime: Runtime, tool: BaseTool, arguments: dict[str, Any], told: ToolAnswer) -> str:
        context = self._tool_context(tool, arguments, told)
        for hook in self.hooks.after_tool_call:
            said = await _call(runtime, hook, context)
            if said is None or said is True:
                continue
            if not isinstance(said, str):
                raise _no_answer(hook, said, "a text in place of the tool's result, or None to leave it as it is")
            context.tool_result = said
        return context.tool_result or ""

    def _tool_context(
        self, tool: BaseTool, arguments: dict[str, Any], told: ToolAnswer | None = None
    ) -> ToolCallHookContext:
        return ToolCallHookContext(
            tool_name=tool.function_name,
            tool_input=arguments,
            tool=tool,
            agent=self.agent,
            task=self.task,
            crew=self.crew,
            tool_result=None if told is None else told.text,
            raw_tool_result=None if told is None else told.value,
            failed=told is not None and told.failed,
        )


async def _as_step(runtime: Runtime, tool: BaseTool, name: str, key: str, job: Callable[[], Any]) -> Any:
    if not tool.is_part_of_run:
        return await job()
    return await runtime.step("hook", name, job, key and f"{key}:{name}")


def _in_place_of(tool: BaseTool, said: Any) -> ToolAnswer:
    """Return what a hook says in place of a tool; `False` forbids it."""
    name = tool.function_name
    if said is False:
        return ToolAnswer(text=f"Error: {name!r} was not run: it is not allowed here.", failed=True, tool=name)
    return ToolAnswer(text=result_as_text(said), tool=name, value=said, result_as_answer=tool.result_as_answer)


async def _call(runtime: Runtime, hook: Hook, context: Any) -> Any:
    """Call a hook; one that hangs is left behind when the time of the run is up."""
    deadline = current_call().deadline
    try:
        return await call_back(runtime, hook, context, deadline=deadline)
    except TimeoutError as error:
        if isinstance(error, OarlockError) or deadline is None or runtime.now() < deadline - _SLACK:
            raise
        raise LLMTimeoutError(
            f"The hook {name_of(hook)} was still running when the time of the run was up.", retryable=False, attempts=0
        ) from error


def _snapshot(work: Work) -> list[Message]:
    return [message.copy() for message in work.messages]


def _changed(context: LLMCallHookContext, before: list[Message]) -> tuple[Message, ...] | None:
    """Return the conversation if hooks changed it.

    Raises:
        ConfigurationError: they left nothing, or something that is no message.
    """
    return None if context.messages == before else tuple(as_messages(context.messages))


def _instead(hook: Hook, said: Any) -> Reply:
    """Return the answer that a hook gives in place of the model: it cost nothing."""
    try:
        return dataclasses.replace(reply_from(said, f"The hook {name_of(hook)}"), cached=True, usage=Usage())
    except ResponseFormatError as error:
        raise ConfigurationError(str(error)) from None


def _changed_reply(hook: Hook, said: Any, reply: Reply) -> Reply:
    """Return the answer that a hook leaves; of a text in its place the tool calls stay."""
    if said is True:
        return reply
    if isinstance(said, str):
        said = dataclasses.replace(reply, text=said, value=None)
    if not isinstance(said, Reply):
        raise _no_answer(hook, said, "a text or a Reply in place of the answer, or None to leave it as it is")
    try:
        return require_answer(said, f"The hook {name_of(hook)}")
    except ResponseFormatError as error:
        raise ConfigurationError(str(error)) from None


def _no_answer(hook: Hook, said: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"The hook {name_of(hook)} returned {a_kind(said)}; it must return {wanted}.")
