"""Faults of the answer's shape: valid HTTP, status 200, and JSON that is not what a chat endpoint sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oarlock.testing.faults import answers
from oarlock.testing.faults.answers import completion, message
from oarlock.testing.faults.catalog import ANSWER, fault
from oarlock.testing.faults.connection import Connection

SHAPE = "ResponseFormatError"
EMPTY = "EmptyReply"
_ANY = (ANSWER, SHAPE)


def _choices(choices: Any) -> dict[str, Any]:
    return completion(choices=choices)


def _usage(usage: Any) -> dict[str, Any]:
    return completion(usage=usage)


def _around(before: bytes, after: bytes = b"") -> bytes:
    """Return a good answer with these bytes after its first brace and before its last."""
    return b"{" + before + answers.encoded(completion())[1:-1] + after + b"}"


def _said(text: str, **fields: Any) -> dict[str, Any]:
    return completion(message(text), **fields)


_FILTERED = {"hate": {"filtered": True, "severity": "high"}}

# Name, what the endpoint does, the sound outcomes, the body.
_BODIES: tuple[tuple[str, str, str | tuple[str, ...], Any], ...] = (
    ("json_null", "Answers `null`.", SHAPE, b"null"),
    ("json_list", "Answers with a list.", SHAPE, [completion()]),
    ("json_text", "Answers with a JSON text.", SHAPE, b'"Hello there."'),
    ("json_number", "Answers with a number.", SHAPE, b"42"),
    ("json_empty_object", "Answers `{}`.", SHAPE, {}),
    ("deep_json", "Answers with 100,000 lists in each other.", SHAPE, b"[" * 100_000 + b"]" * 100_000),
    (
        "deep_json_in_answer",
        "Puts 100,000 objects in each other beside a good answer.",
        _ANY,
        _around(b'"x": ' + b'{"x": ' * 100_000 + b"1" + b"}" * 100_000 + b", "),
    ),
    ("nan_in_answer", "Puts NaN and Infinity beside a good answer.", _ANY, _around(b'"a": NaN, "b": -Infinity, ')),
    ("huge_float", "Puts 1e999 beside a good answer.", _ANY, _around(b'"score": 1e999, ')),
    ("huge_integer", "Puts an integer of 100,000 digits beside a good answer.", _ANY, _around(b'"n": ' + b"9" * 100_000 + b", ")),
    ("duplicate_keys", "Names `choices` twice; the first is empty.", _ANY, _around(b'"choices": [], ')),
    ("many_keys", "Puts 100,000 keys beside a good answer.", ANSWER, completion(**{f"key{n}": n for n in range(100_000)})),
    ("raw_newlines", "Puts raw line breaks into a JSON text.", _ANY, answers.encoded(completion()).replace(b" there", b"\nthere")),
    ("control_characters", "Puts control characters into the text.", ANSWER, _said("Hello\x00\x07\x08\x1b\x7f there.")),
    ("terminal_escapes", "Puts terminal escapes into the text.", ANSWER, _said("\x1b[2J\x1b]0;owned\x07Hello\x9b31m there.")),
    ("lone_surrogates", "Puts half a surrogate pair into the text.", ANSWER, _said("Hello \ud83d there\udc00.")),
    ("bidi_override", "Puts marks into the text that turn its direction.", ANSWER, _said("Hello \u202egpj.exe there.")),
    ("content_parts", "Sends the text as a list of parts.", ANSWER, completion(message([{"type": "text", "text": "Hello"}]))),
    ("content_parts_of_text", "Sends the text as a list of texts.", _ANY, completion(message(["Hello", " there."]))),
    ("content_part_unknown", "Sends a part of a kind nobody knows.", _ANY, completion(message([{"type": "martian", "x": 1}]))),
    ("content_parts_wrong", "Sends the text as a list of numbers.", SHAPE, completion(message([1, 2]))),
    ("content_number", "Sends a number as the text.", SHAPE, completion(message(42))),
    ("content_true", "Sends `true` as the text.", SHAPE, completion(message(True))),
    ("content_object", "Sends an object as the text.", SHAPE, completion(message({"text": "Hello"}))),
    ("content_null", "Sends `null` as the text, and no tool calls.", EMPTY, completion(message(None))),
    ("content_empty", "Sends an empty text.", EMPTY, completion(message(""))),
    ("content_blank", "Sends blanks as the text.", EMPTY, completion(message(" \n\t"))),
    ("content_missing", "Sends a message without a text.", EMPTY, completion({"role": "assistant"})),
    (
        "reasoning_only",
        "Sends reasoning and no answer.",
        EMPTY,
        completion(message(None, reasoning_content="Let me think about that for ever.")),
    ),
    ("missing_choices", "Sends no choices.", SHAPE, {"id": "x", "object": "chat.completion"}),
    ("null_choices", "Sends `null` as the choices.", SHAPE, _choices(None)),
    ("empty_choices", "Sends an empty list of choices.", SHAPE, _choices([])),
    ("choices_object", "Sends an object as the choices.", SHAPE, _choices({"0": {"message": message()}})),
    ("choices_text", "Sends a text as the choices.", SHAPE, _choices("Hello")),
    ("choice_null", "Sends a choice that is `null`.", SHAPE, _choices([None])),
    ("choice_text", "Sends a choice that is a text.", SHAPE, _choices(["Hello"])),
    ("choice_empty", "Sends a choice without a message.", SHAPE, _choices([{}])),
    ("legacy_text_choice", "Sends a choice of the old form, with `text`.", _ANY, _choices([{"text": "Hello", "index": 0}])),
    ("many_choices", "Sends 500 choices.", ANSWER, _choices([{"index": n, "message": message(), "finish_reason": "stop"} for n in range(500)])),
    ("message_null", "Sends a message that is `null`.", SHAPE, _choices([{"message": None}])),
    ("message_text", "Sends a message that is a text.", SHAPE, _choices([{"message": "Hello"}])),
    ("message_list", "Sends a message that is a list.", SHAPE, _choices([{"message": [message()]}])),
    ("id_wrong_type", "Sends a list as the id.", ANSWER, completion(id=[1, 2])),
    ("model_wrong_type", "Sends a number as the model.", ANSWER, completion(model=7)),
    ("created_wrong_type", "Sends a text as the time.", ANSWER, completion(created="yesterday")),
    ("role_wrong", "Answers in the user's role.", ANSWER, completion(message(role="user"))),
    ("finish_reason_wrong_type", "Sends a list as the finish reason.", ANSWER, completion(finish_reason=["stop"])),
    ("finish_reason_unknown", "Sends a finish reason nobody knows.", ANSWER, completion(finish_reason="martian")),
    ("finish_reason_missing", "Sends no finish reason.", ANSWER, _choices([{"index": 0, "message": message()}])),
    ("finish_length", "Sends an answer that ended at the limit of tokens.", "TruncatedReply", completion(finish_reason="length")),
    (
        "finish_length_empty",
        "Sends no text, since all tokens went into thinking.",
        ("TruncatedReply", EMPTY),
        completion(message(""), finish_reason="length"),
    ),
    (
        "content_filter",
        "Sends no text: a filter took it.",
        "ContentFilterError",
        completion(message(None), finish_reason="content_filter"),
    ),
    (
        "content_filter_half",
        "Sends half a text: a filter took the rest.",
        "ContentFilterError",
        completion(message("Hello"), finish_reason="content_filter"),
    ),
    ("refusal", "Sends a refusal in place of a text.", "RefusalError", completion(message(None, refusal="I cannot help with that."))),
    ("refusal_wrong_type", "Sends a number as the refusal.", SHAPE, completion(message(None, refusal=7))),
    ("usage_missing", "Sends no usage.", ANSWER, {"choices": completion()["choices"]}),
    ("usage_null", "Sends `null` as the usage.", ANSWER, _usage(None)),
    ("usage_list", "Sends a list as the usage.", ANSWER, _usage([9, 3])),
    ("usage_negative", "Sends negative numbers of tokens.", ANSWER, _usage({"prompt_tokens": -9, "completion_tokens": -3})),
    ("usage_texts", "Sends texts as numbers of tokens.", ANSWER, _usage({"prompt_tokens": "9", "completion_tokens": "many"})),
    ("usage_huge", "Sends 10^300 tokens.", ANSWER, _usage({"prompt_tokens": 10**300, "completion_tokens": 3})),
    ("usage_fractions", "Sends fractions of tokens.", ANSWER, _usage({"prompt_tokens": 9.5, "completion_tokens": 3.0})),
    ("usage_nan", "Sends NaN tokens.", _ANY, _around(b"", b', "usage": {"prompt_tokens": NaN, "completion_tokens": Infinity}')),
    ("usage_true", "Sends `true` as numbers of tokens.", ANSWER, _usage({"prompt_tokens": True, "completion_tokens": True})),
    ("usage_details_wrong", "Sends wrong details of the usage.", ANSWER, _usage({"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": "none"})),
    ("usage_cached_too_many", "Says that more tokens were cached than sent.", ANSWER, _usage({"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 99}})),
    ("error_in_200", "Answers 200 with an error inside.", "ServerError", answers.error("The model broke.")),
    ("error_in_200_text", "Answers 200 with a text as the error.", "ServerError", {"error": "The model broke."}),
    (
        "error_in_200_throttled",
        "Answers 200 with an error inside: too many requests.",
        "RateLimitError",
        answers.error("Slow down.", code="rate_limit_exceeded", kind="rate_limit_error"),
    ),
    (
        "error_in_200_key",
        "Answers 200 with an error inside: a wrong key.",
        "AuthenticationError",
        answers.error("Incorrect API key.", code="invalid_api_key", kind="authentication_error"),
    ),
    (
        "error_in_200_context",
        "Answers 200 with an error inside: too long.",
        "ContextWindowExceededError",
        answers.error("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
    ),
    ("error_in_choice", "Puts an error into the choice.", "ServerError", _choices([{"error": {"code": 502, "message": "Upstream failed."}}])),
    ("error_and_answer", "Sends an error beside a good answer.", (ANSWER, "ServerError"), completion(error={"message": "Something."})),
    ("error_null", "Sends `error: null` beside a good answer.", ANSWER, completion(error=None)),
    ("fastapi_detail", "Answers 200 with `detail` alone.", SHAPE, {"detail": "Not Found"}),
    ("ollama_shape", "Answers in another server's shape.", SHAPE, {"model": "m", "message": message(), "done": True}),
    ("echoed_request", "Answers with the request.", SHAPE, None),
)  # fmt: skip


def _sends(body: Any) -> Callable[[Connection], None]:
    sent = None if body is None else answers.encoded(body)

    def send(connection: Connection) -> None:
        assert connection.request is not None
        connection.answer(connection.request.body if sent is None else sent)

    return send


for _name, _does, _expect, _body in _BODIES:
    fault(_does, group="shape", name=_name, expect=_expect)(_sends(_body))
