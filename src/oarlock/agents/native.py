"""The loop for models that call functions: ask, run the tools, ask again."""

from __future__ import annotations

import functools

from oarlock.agents.prompts import ANSWER_NOW
from oarlock.agents.work import Work
from oarlock.contract.errors import StepsExhaustedError, how_many
from oarlock.contract.reply import Reply, ToolCall
from oarlock.contract.secret import scrub
from oarlock.runtime import Job
from oarlock.tools import FunctionsOnDemand, ToolAnswer, run_tool

__all__ = ["Failures", "answer_now", "exhausted", "run_native"]

_SAME_FAILURE = 3  # times the same call may fail before the agent must answer without it


class Failures:
    """Counts failed calls: a model that makes the same one again and again will not stop by itself."""

    __slots__ = ("_counts", "are_too_many")

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self.are_too_many = False

    def note(self, tool: str, arguments: str) -> None:
        """Count a call that failed."""
        count = self._counts[tool, arguments] = self._counts.get((tool, arguments), 0) + 1
        self.are_too_many = self.are_too_many or count >= _SAME_FAILURE


async def run_native(work: Work) -> str:
    """Return the answer of a model that gets its tools as JSON schemas.

    Raises:
        StepsExhaustedError: even the last turn brought no answer.
    """
    schemas = tuple([tool.schema for tool in work.tools.values()])
    failures = Failures()
    while work.turns_left > 1 and not failures.are_too_many:
        functions = FunctionsOnDemand(
            work.tools, work.hooks
        )  # for an LLM that runs tools itself; counts anew for each call
        reply = await work.ask(tools=schemas, functions=functions)
        if not reply.tool_calls and (work.tool_llm is None or not schemas):
            return await work.finished(reply.text)
        if not reply.tool_calls:
            break  # nothing more to be found out: the other LLM writes the answer
        work.messages.append(reply.as_message())
        for call, answer in zip(reply.tool_calls, await _run_tools(work, reply), strict=True):
            work.messages.append({"role": "tool", "tool_call_id": call.id, "name": call.name, "content": answer.text})
            await work.acted(call.name, call.arguments, answer.text, reply.text)
            if answer.result_as_answer and not answer.failed:
                return await work.finished(answer.text)
            if answer.failed:
                failures.note(call.name, call.arguments)
    return await answer_now(work)


async def _run_tools(work: Work, reply: Reply) -> list[ToolAnswer]:
    return await work.runtime.gather(*[_job(work, number, call) for number, call in enumerate(reply.tool_calls)])


def _job(work: Work, number: int, call: ToolCall) -> Job[ToolAnswer]:
    key = work.tool_key(number)
    return functools.partial(run_tool, work.runtime, work.tools, call, idempotency_key=key, hooks=work.hooks)


async def answer_now(work: Work) -> str:
    """Return the answer of the last turn, in which there are no tools.

    Raises:
        StepsExhaustedError: the model still asks for one.
    """
    if work.tools:
        work.say(ANSWER_NOW)
    reply = await work.ask()
    if reply.tool_calls:
        raise exhausted(work, reply.tool_calls[0].name)
    return await work.finished(reply.text)


def exhausted(work: Work, tool: str) -> StepsExhaustedError:
    """Return what to say of an agent that wants a tool even in its last turn."""
    return StepsExhaustedError(
        f"Agent {work.role!r} gave no answer within {how_many(work.calls, 'model call')}: it kept calling tools, the last one "
        f"{scrub(tool, 64)!r}. Raise max_iter, or give it tools that lead to an end."
    )
