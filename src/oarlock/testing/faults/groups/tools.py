"""Faults of tool calls: what a model should never ask for, or not like this."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from oarlock.testing.faults import answers
from oarlock.testing.faults.answers import completion, message, tool_call, tool_calls
from oarlock.testing.faults.catalog import ANSWER, fault
from oarlock.testing.faults.connection import Connection

SHAPE = "ResponseFormatError"
EMPTY = "EmptyReply"
_EITHER = (ANSWER, SHAPE)


def _function(**fields: Any) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": fields}


def _calls_field(value: Any) -> dict[str, Any]:
    return completion(message(None, tool_calls=value), finish_reason="tool_calls")


# Name, what the endpoint does, the sound outcomes of one call of the model, the body. An agent must then tell the model what
# is wrong with its wish, and never run a tool with it.
_BODIES: tuple[tuple[str, str, str | tuple[str, ...], Any], ...] = (
    ("tool_not_offered", "Asks for a tool that was not offered.", ANSWER, tool_calls(tool_call("delete_everything"))),
    ("tool_dunder", "Asks for a tool named `__class__`.", ANSWER, tool_calls(tool_call("__class__"))),
    ("tool_dotted", "Asks for a tool named `os.system`.", ANSWER, tool_calls(tool_call("os.system", '{"command": "id"}'))),
    ("tool_name_with_escapes", "Asks for a tool with terminal escapes in its name.", ANSWER, tool_calls(tool_call("\x1b[2Jadd\r\n\ud83d"))),
    ("tool_name_huge", "Asks for a tool with a name of 1 MB.", _EITHER, tool_calls(tool_call("a" * 1_000_000))),
    ("tool_name_empty", "Asks for a tool without a name: an empty one.", SHAPE, tool_calls(tool_call(""))),
    ("tool_name_null", "Asks for a tool named `null`.", SHAPE, tool_calls(tool_call(None))),
    ("tool_name_number", "Asks for a tool named 7.", SHAPE, tool_calls(tool_call(7))),
    ("tool_name_missing", "Asks for a tool and does not name it.", SHAPE, tool_calls(_function(arguments="{}"))),
    ("tool_function_missing", "Asks for a tool without `function`.", SHAPE, tool_calls({"id": "call_1", "type": "function"})),
    ("tool_function_text", "Asks for a tool with a text as `function`.", SHAPE, tool_calls({"id": "call_1", "function": "add"})),
    ("tool_type_unknown", "Asks for a tool of a type nobody knows.", _EITHER, tool_calls(tool_call(type="martian"))),
    ("arguments_bad_json", "Sends arguments that are no JSON.", ANSWER, tool_calls(tool_call(arguments='{"a": 1, "b":'))),
    ("arguments_list", "Sends a list of arguments.", ANSWER, tool_calls(tool_call(arguments="[1, 2]"))),
    ("arguments_null", "Sends `null` as the text of the arguments.", ANSWER, tool_calls(tool_call(arguments="null"))),
    ("arguments_number", "Sends a number as the text of the arguments.", ANSWER, tool_calls(tool_call(arguments="7"))),
    ("arguments_absent", "Sends no arguments.", ANSWER, tool_calls(_function(name="add"))),
    ("arguments_none", "Sends `null` instead of a text.", ANSWER, tool_calls(tool_call(arguments=None))),
    ("arguments_object", "Sends the arguments as an object instead of a text.", ANSWER, tool_calls(tool_call(arguments={"a": 1, "b": 2}))),
    ("arguments_encoded_twice", "Encodes the arguments as JSON twice.", ANSWER, tool_calls(tool_call(arguments=json.dumps('{"a": 1, "b": 2}')))),
    ("arguments_wrong_types", "Sends arguments of wrong types.", ANSWER, tool_calls(tool_call(arguments='{"a": "one", "b": [2]}'))),
    ("arguments_missing_one", "Leaves out an argument.", ANSWER, tool_calls(tool_call(arguments='{"a": 1}'))),
    ("arguments_extra", "Sends an argument too many.", ANSWER, tool_calls(tool_call(arguments='{"a": 1, "b": 2, "__class__": 3}'))),
    ("arguments_nan", "Sends NaN as an argument.", ANSWER, tool_calls(tool_call(arguments='{"a": NaN, "b": 2}'))),
    ("arguments_deep", "Sends 50,000 lists in each other as an argument.", ANSWER, tool_calls(tool_call(arguments='{"a": ' + "[" * 50_000 + "]" * 50_000 + "}"))),
    ("arguments_duplicate_keys", "Names an argument twice.", ANSWER, tool_calls(tool_call(arguments='{"a": 1, "a": "x", "b": 2}'))),
    ("arguments_huge", "Sends 4 MB of arguments.", ANSWER, tool_calls(tool_call(arguments=json.dumps({"a": "x" * 4_000_000, "b": 2})))),
    ("calls_many", "Asks for 300 tools at once.", ANSWER, tool_calls(*(tool_call(arguments=f'{{"a": {n}, "b": 2}}', id=f"call_{n}") for n in range(300)))),
    ("calls_duplicate_ids", "Asks for two tools under one id.", ANSWER, tool_calls(tool_call(), tool_call(arguments='{"a": 3, "b": 4}'))),
    ("calls_without_ids", "Asks for two tools without ids.", ANSWER, tool_calls(tool_call(id=None), tool_call(id=""))),
    ("calls_id_number", "Asks for a tool with a number as the id.", ANSWER, tool_calls(tool_call(id=7))),
    ("calls_object", "Sends an object instead of a list of tool calls.", SHAPE, _calls_field(tool_call())),
    ("calls_text", "Sends a text instead of a list of tool calls.", SHAPE, _calls_field("add(1, 2)")),
    ("calls_null_in_list", "Sends `null` in the list of tool calls.", SHAPE, _calls_field([None])),
    ("calls_empty", "Sends an empty list of tool calls, and no text.", EMPTY, _calls_field([])),
    ("calls_and_text", "Sends text and a tool call.", ANSWER, completion(message("Let me add that.", tool_calls=[tool_call()]), finish_reason="tool_calls")),
    ("calls_but_stop", "Sends a tool call with the finish reason `stop`.", ANSWER, completion(message(None, tool_calls=[tool_call()]))),
    ("calls_in_word_only", "Says `tool_calls` as the finish reason, and sends text alone.", ANSWER, completion(finish_reason="tool_calls")),
    ("calls_cut", "Ends at the limit of tokens in the middle of the arguments.", (ANSWER, "TruncatedReply"), completion(message(None, tool_calls=[tool_call(arguments='{"a": 1, "b')]), finish_reason="length")),
    ("legacy_function_call", "Asks for a tool in the form before November 2023.", ANSWER, completion(message(None, function_call={"name": "add", "arguments": '{"a": 1, "b": 2}'}), finish_reason="function_call")),
    ("legacy_function_call_text", "Sends a text as `function_call`.", SHAPE, completion(message(None, function_call="add"))),
)  # fmt: skip


def _sends(body: Any) -> Callable[[Connection], None]:
    sent = answers.encoded(body)
    return lambda connection: connection.answer(sent)


for _name, _does, _expect, _body in _BODIES:
    fault(_does, group="tools", name=_name, expect=_expect)(_sends(_body))


@fault("Asks for the same tool again, whatever it is told.", group="tools")
def endless_tool_loop(connection: Connection) -> None:
    connection.answer(tool_calls(tool_call(id=f"call_{connection.turn}")))
