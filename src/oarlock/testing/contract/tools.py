"""Checks of function calling."""

from __future__ import annotations

from contextlib import suppress

from oarlock.contract.functions import MAX_TURNS
from oarlock.testing.contract.asking import TOOL, TOOL_SCHEMA, ask, call, name_of, need_function_calling, request
from oarlock.testing.contract.stage import question
from oarlock.testing.contract.subject import NotApplicable, Scene, require
from oarlock.testing.endpoint import RecordedRequest, ToolCalls

__all__ = ["ends_with_unknown_function", "tool_calls", "tools_ignored"]

_TASK = (
    "Find out with your tool what it says about the word boat."  # not the tool's name: it shows that tools were sent
)


def tool_calls(scene: Scene) -> None:
    """If it supports function calling: a model's tool calls are returned, or run."""
    llm = scene.llm()
    need_function_calling(llm)
    if scene.subject.takes_url:
        llm, endpoint = scene.behind(ToolCalls([(TOOL, {"word": "boat"})]), "A boat floats.")
    words: list[str] = []

    def look_up(word: str) -> str:
        words.append(word)
        return "A boat floats."

    reply = ask(llm, _TASK, tools=[TOOL_SCHEMA], available_functions={TOOL: look_up})
    if scene.subject.takes_url:
        require(
            TOOL.encode() in endpoint.requests[0].body,
            f"{name_of(llm, 'call')} did not send the tools: send them, or let supports_function_calling() return False.",
        )
    elif not (words or reply.tool_calls):
        raise NotApplicable("The model answered without the tool, so nothing was shown.")
    require(
        words == ["boat"] or reply.tool_calls,
        f"The model asked for the function {TOOL!r} and {name_of(llm, 'call')} returned {reply.text[:80]!r}: return the "
        "answer's 'tool_calls' list, or run available_functions and ask again.",
    )


def ends_with_unknown_function(scene: Scene) -> None:
    """A model that keeps asking for a function that is not there is asked at most 25 times."""
    scene.need_url()

    def stubborn(request: RecordedRequest) -> str | ToolCalls:
        return ToolCalls([("no_such_function", {})]) if request.number < MAX_TURNS else "I give up."

    llm, endpoint = scene.behind(stubborn)
    need_function_calling(llm)
    with suppress(Exception):  # an error is a good end too
        call(llm, _TASK, tools=[TOOL_SCHEMA], available_functions={TOOL: lambda word: word})
    require(
        len(endpoint.requests) <= MAX_TURNS,
        f"The model asked for an unknown function again and again, and {name_of(llm, 'call')} sent {len(endpoint.requests)} "
        "requests: answer unknown functions with an error message for the model, and stop after some turns.",
    )


def tools_ignored(scene: Scene) -> None:
    """If it does not support function calling: tools do no harm."""
    llm = scene.llm()
    if llm.supports_function_calling():
        raise NotApplicable("supports_function_calling() is True.")
    llm.complete(request(question(1), tools=(TOOL_SCHEMA,), available_functions={TOOL: lambda word: word}))
