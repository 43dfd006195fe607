"""What the LLM claims beyond plain answers: streaming, function calling, stop words; and JSON by schema."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from oarlock.cli.doctor.answers import ask, question
from oarlock.cli.doctor.case import Case
from oarlock.cli.doctor.report import Step, failed, fine, skipped, warning
from oarlock.contract.errors import OarlockError
from oarlock.contract.secret import scrub

__all__ = ["function_calling", "json_mode", "stop_words", "streaming"]

_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Returns today's weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_SCHEMA = {
    "type": "object",
    "properties": {"capital": {"type": "string"}},
    "required": ["capital"],
    "additionalProperties": False,
}


def streaming(case: Case) -> Step:
    """Ask for a stream, and look at its events."""
    if not case.streams:
        return skipped("Not claimed (--no-streaming).")
    pieces = 0
    try:
        with case.llm.stream("Count from 1 to 5, separated by blanks.") as stream:
            for _ in stream:
                pieces += 1
    except OarlockError as error:
        if getattr(error, "code", None) != "length":
            return failed(f"The stream failed: {error}", "Without streaming it works: --no-streaming, and llm.call().")
    if case.http is None:
        said = f"{pieces} pieces." if pieces > 1 else "The answer comes in one piece; a custom LLM need not stream."
        return fine(said, pieces=pieces)
    return _events(case)


def _events(case: Case) -> Step:
    exchange = case.last
    if case.chat is None or exchange is None:
        return fine("It answers when asked to stream.")
    if exchange.content_type != "text/event-stream":
        return failed(
            f"It does not stream: asked for events, it sent the whole answer as {exchange.content_type or 'no type'}.",
            "Switch streaming on at the server, or say that it does not stream: --no-streaming. Calls work all the same.",
        )
    lines = exchange.body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    events = sum(line.startswith(b"data:") for line in lines)
    done = any(line.removeprefix(b"data:").strip() == b"[DONE]" for line in lines)
    first = exchange.first_event or exchange.seconds
    case.times["first event"] = first
    facts: dict[str, Any] = {"events": events, "done": done, "first_event_seconds": round(first, 3)}
    said = f"{events} events, the first after {first:.2f} s, {'[DONE] at the end' if done else 'no [DONE] at the end'}."
    if done:
        return fine(said, **facts)
    return warning(said, "Harmless here, since the last event has a finish reason; other clients may wait.", **facts)


def function_calling(case: Case) -> Step:
    """Offer a tool, and see whether the model asks for it."""
    if not case.llm.supports_function_calling():
        return skipped("Not claimed; tools work through text.")
    advice = "Say so: function_calling=False. Tools then work through text."
    request = question("What is the weather in Paris? Use the tool get_weather to find out.", tools=(_TOOL,))
    try:
        reply = ask(case, "tools", request)
    except OarlockError as error:
        return failed(f"It refused a question with a tool: {error}", advice)
    if not reply.tool_calls:
        case.settings["function_calling"] = False
        return failed("It ignored the tool that it was offered, and answered in text.", advice)
    call = reply.tool_calls[0]
    name = scrub(call.name, 60)
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return warning(f"It asked for {name}, with arguments that are no JSON.", "A crew tells it, and it tries again.")
    if call.name != "get_weather" or not isinstance(arguments, dict):
        return warning(f"It asked for {name}, not for the tool as offered.", "A crew tells it, and it tries again.")
    return fine(f"It asked for {name}({', '.join(scrub(str(key), 40) for key in arguments)}).")


def stop_words(case: Case) -> Step:
    """Ask it to count, and to stop before it gets far."""
    if not case.llm.supports_stop_words():
        return skipped("Not claimed; the library cuts the text itself.")
    request = question("Count from 1 to 9, separated by blanks, digits only.", stop=("5",))
    try:
        reply = ask(case, "stop words", request)
    except OarlockError as error:
        return failed(f"It refused a question with stop words: {error}", _STOP_ADVICE)
    if "5" in reply.text or "6" in reply.text:
        return failed(f"It ignored the stop word '5', and answered {scrub(reply.text, 40)!r}.", _STOP_ADVICE)
    if "4" in reply.text:
        return fine("It stopped at the stop word.")
    return warning(f"Asked to count, it answered {scrub(reply.text, 40)!r}: that shows nothing.", "")


_STOP_ADVICE = (
    "Let a subclass say so: def supports_stop_words(self): return False. The library then cuts the text itself."
)


def json_mode(case: Case) -> Step:
    """Ask for JSON by a schema, and if that is refused for any JSON."""
    if case.chat is None:
        return skipped("Nothing is claimed.")
    request = question("What is the capital of France? Answer in JSON, with the field capital.", json_schema=_SCHEMA)
    advice = "Nothing to do: crews check the answer, and ask again."
    try:
        reply = ask(case, "JSON", request)
    except OarlockError as error:
        return _any_json(case, request, error)
    if _has(reply.text):
        return fine("It keeps to a JSON schema.", json_schema=True)
    return warning(f"It took the schema and did not keep to it: {scrub(reply.text, 40)!r}.", advice, json_schema=False)


def _any_json(case: Case, request: Any, refusal: OarlockError) -> Step:
    assert case.chat is not None
    before = case.chat.options
    case.chat.options = {**before, "response_format": {"type": "json_object"}}
    advice = "Nothing to do: crews check the answer, and ask again."
    try:
        reply = ask(case, "JSON", dataclasses.replace(request, json_schema=None))
    except OarlockError:
        return warning(f"It knows neither JSON schemas nor the JSON mode: {refusal}", advice, json_schema=False)
    finally:
        case.chat.options = before
    works = _has(reply.text)
    said = "JSON mode works" if works else "JSON mode is taken, and gives no JSON"
    return warning(f"It refuses JSON schemas; {said}.", advice, json_schema=False, json_object=works)


def _has(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "capital" in value
