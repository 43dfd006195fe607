"""The loop for models that only write text: Thought, Action, Action Input; then our Observation."""

from __future__ import annotations

import json
import re

from oarlock.agents.native import Failures, exhausted
from oarlock.agents.prompts import ANSWER_NOW, CORRECT_INPUT, STOP_WORD
from oarlock.agents.work import Work
from oarlock.contract.answers import cut_at_stop
from oarlock.contract.records import dataclass
from oarlock.contract.reply import ToolCall
from oarlock.tools import run_tool

__all__ = ["Action", "Final", "Malformed", "parse", "run_react"]

_FINAL = re.compile(r"^[ \t]*\**final answer\**[ \t]*:\**[ \t]*", re.IGNORECASE | re.MULTILINE)
_ACTION = re.compile(r"^[ \t]*\**action\**[ \t]*:\**[ \t]*(.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_INPUT = re.compile(r"^[ \t]*\**action input\**[ \t]*:\**[ \t]*", re.IGNORECASE | re.MULTILINE)
_THOUGHT = re.compile(r"\A\s*\**thought\**[ \t]*:\**[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Final:
    """The model has answered."""

    answer: str


@dataclass(frozen=True, slots=True)
class Action:
    """The model wants a tool."""

    tool: str
    input: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """The model wants a tool but forgot its input."""

    tool: str


async def run_react(work: Work) -> str:
    """Return the answer of a model that uses tools by writing text.

    Raises:
        StepsExhaustedError: even the last turn brought no answer.
    """
    failures = Failures()
    while work.turns_left > 1 and not failures.are_too_many:
        text = await _ask(work)
        step = parse(text)
        if isinstance(step, Final):
            return await work.finished(step.answer, text)
        work.messages.append({"role": "assistant", "content": text})
        if isinstance(step, Malformed):
            work.say(CORRECT_INPUT.format(name=step.tool))
            failures.note(step.tool, "")
            continue
        observation = await _act(work, step, text, failures)
        if observation is not None:
            return await work.finished(observation)
    return await _answer_now(work)


async def _answer_now(work: Work) -> str:
    work.say(ANSWER_NOW)
    text = await _ask(work)
    step = parse(text)
    if not isinstance(step, Final):
        raise exhausted(work, step.tool)
    return await work.finished(step.answer, text)


async def _ask(work: Work) -> str:
    """Return what the model writes; a tool call, though it was offered none that way, as it should have written it."""
    reply = await work.ask(stop=(STOP_WORD,))
    if reply.tool_calls and not reply.text.strip():
        call = reply.tool_calls[0]
        return f"Action: {call.name}\nAction Input: {call.arguments}"
    return cut_at_stop(reply.text, (STOP_WORD,))  # whatever the LLM says about stop words


async def _act(work: Work, action: Action, text: str, failures: Failures) -> str | None:
    """Run the tool and tell the model; return its result if that is the answer."""
    call = ToolCall(id=f"call_{work.calls}", name=action.tool, arguments=_arguments(work, action))
    answer = await run_tool(work.runtime, work.tools, call, idempotency_key=work.tool_key(0), hooks=work.hooks)
    work.say(f"Observation: {answer.text}")
    await work.acted(action.tool, action.input, answer.text, text)
    if answer.failed:
        failures.note(action.tool, action.input)
    return answer.text if answer.result_as_answer and not answer.failed else None


def parse(text: str) -> Final | Action | Malformed:
    """Read what the model wrote. A final answer wins over an action; a plain text is an answer.

    Example:
        >>> parse("Thought: hm\\nAction: add\\nAction Input: {}")
        Action(tool='add', input='{}')
        >>> parse("It is 4.")
        Final(answer='It is 4.')
    """
    final = _FINAL.search(text)
    if final:
        return Final(text[final.end() :].strip())
    action = _ACTION.search(text)
    if not action:
        return Final(_THOUGHT.sub("", text).strip())
    tool = action.group(1).strip(" \t`*\"'")
    given = _INPUT.search(text, action.end())
    if not given:
        return Malformed(tool)
    return Action(tool, _unfenced(text[given.end() :]))


def _unfenced(text: str) -> str:
    """Return the input without a code fence around it, or anything after its JSON object."""
    text = re.sub(r"\A\s*```\w*\s*|\s*```\s*\Z", "", text.strip())
    if text.startswith("{"):
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            return text
        return text[:end]
    return text


def _arguments(work: Work, action: Action) -> str:
    """Return the input as a JSON object; a bare value goes to a tool's only parameter."""
    if action.input.startswith("{") or action.tool not in work.tools:
        return action.input or "{}"
    parameters = list(work.tools[action.tool].schema["function"]["parameters"].get("properties", {}))
    if not action.input or not parameters:
        return "{}"
    if len(parameters) > 1:
        return action.input
    try:
        value = json.loads(action.input)
    except (ValueError, RecursionError):
        value = action.input
    return json.dumps({parameters[0]: value})
