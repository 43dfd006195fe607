"""Running functions by name for a model, for LLMs that are given `available_functions`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from oarlock.contract.errors import OarlockError, StepsExhaustedError
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply, ToolCall
from oarlock.contract.request import Request
from oarlock.contract.secret import scrub
from oarlock.runtime import Runtime

__all__ = ["MAX_TURNS", "converse", "run_function"]

MAX_TURNS = 25  # model calls in one conversation with functions; CrewAI's default for an agent's max_iter


async def converse(runtime: Runtime, request: Request, handler: Handler) -> Reply:
    """Ask, run the functions that the model asks for, and ask again, until it answers in text.

    Without any functions its tool calls are the answer.

    Raises:
        StepsExhaustedError: no answer within 25 model calls.
    """
    functions = request.available_functions or {}
    for _ in range(MAX_TURNS):
        reply = await handler(runtime, request)
        if not reply.tool_calls or not functions:
            return reply
        answers = [
            {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": run_function(functions, call)}
            for call in reply.tool_calls
        ]
        request = request.replace(messages=[*request.messages, reply.as_message(), *answers])
    raise StepsExhaustedError(f"The model asked for functions {MAX_TURNS} times without giving an answer.")


def run_function(functions: Mapping[str, Callable[..., Any]], call: ToolCall) -> str:
    """Run one function; what goes wrong becomes text for the model."""
    if call.name not in functions:
        return f"Error: there is no function {call.name!r}. The functions are: {', '.join(functions)}."
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as error:  # nested too deep is no JSON for us either
        return f"Error: the arguments of {call.name!r} are not JSON ({error}). Send a JSON object."
    if not isinstance(arguments, dict):
        return f"Error: the arguments of {call.name!r} must be a JSON object, not {type(arguments).__name__}."
    try:
        return str(functions[call.name](**arguments))
    except OarlockError:
        raise
    except Exception as error:  # noqa: BLE001  a user's function: whatever it raises is for the model to read
        return f"Error: {call.name!r} failed: {type(error).__name__}: {scrub(str(error))}"
