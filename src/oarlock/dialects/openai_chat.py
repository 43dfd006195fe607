"""OpenAI's chat format, which most endpoints speak: requests to bytes, bytes and stream events to replies. No I/O.

Reading is tolerant of what many servers get wrong without harm (a byte order mark, missing ids, missing usage, an
`index` that is not there) and strict about the rest: each wrong shape is one `ResponseFormatError` that says what was
expected and shows a piece of what came.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from oarlock.contract.answers import require_answer
from oarlock.contract.classify import error_for_status
from oarlock.contract.errors import (
    ConfigurationError,
    ContextWindowExceededError,
    LLMError,
    ResponseFormatError,
    TruncatedStream,
)
from oarlock.contract.reply import Delta, Reply, ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.contract.secret import scrub

__all__ = ["StreamAssembler", "body_of", "decode", "encode", "error_message", "parse", "read"]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")


_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode
_from_json = json.JSONDecoder(strict=False).decode  # raw newlines inside strings: wrong, frequent, harmless
_MOST_TOKENS: Final = 2**53  # a count above what a JSON number holds exactly is no count
_READ_BODY: Final = 64 * 1024  # of an error's body, no more than this is looked at (DESIGN.md's cap)


# From a request to bytes.


def encode(
    request: Request,
    *,
    model: str,
    stream: bool = False,
    options: Mapping[str, Any] | None = None,
    max_tokens_name: str = "max_tokens",
) -> bytes:
    """Return the JSON body for a request.

    Args:
        request: what to ask. Lone surrogates in its texts, which UTF-8 cannot hold, become U+FFFD.
        model: the model's name at the endpoint.
        stream: ask for events, with the usage in the last one.
        options: further fields of the body. The request's own fields win over them; `stop` and `tools` are joined;
            `None` leaves a field out, also one of the body's own, such as `{"stream_options": None}`.
        max_tokens_name: OpenAI's reasoning models want `"max_completion_tokens"`.

    Raises:
        ConfigurationError: an option would replace the messages or the streaming; something is no JSON.

    Example:
        >>> from oarlock.contract.request import Request
        >>> encode(Request(messages=[{"role": "user", "content": "Hi"}]), model="m")
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
    """
    body = body_of(request, model, max_tokens_name)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if options:
        body = _with_options(body, options)
    try:
        text = _to_json(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"The request cannot be written as JSON: {scrub(str(error))}.") from error
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _mended(text).encode()


def body_of(request: Request, model: str, max_tokens_name: str = "max_tokens") -> dict[str, Any]:
    """Return the body for a request before it is JSON, without options and streaming."""
    messages = request.messages
    body: dict[str, Any] = {"model": model, "messages": messages if type(messages) is list else list(messages)}
    if request.tools:
        body["tools"] = list(request.tools)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        body[max_tokens_name] = request.max_tokens
    if request.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": request.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _with_options(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("messages", "stream", "model"):
        if options.get(name) is not None or (name in options and name != "model"):
            raise ConfigurationError(f"options may not set {name!r}: the library sets it for each request.")
    merged = {**body, **{name: value for name, value in options.items() if name not in body}}
    for name in ("stop", "tools"):
        given = options.get(name)
        if given and name in body:
            given = [given] if isinstance(given, str) else list(given)
            merged[name] = [*given, *(item for item in body[name] if item not in given)]
    if isinstance(body.get("stream_options"), dict) and isinstance(options.get("stream_options"), Mapping):
        merged["stream_options"] = {**body["stream_options"], **options["stream_options"]}
    dropped = {name for name, value in options.items() if value is None}
    return {name: value for name, value in merged.items() if name not in dropped}


def _mended(text: str) -> str:
    """Return the text with surrogate pairs joined, and lone surrogates as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# From bytes to a reply.


def decode(body: bytes, who: str) -> Reply:
    """Return the reply in the body of a successful response.

    Args:
        body: as it came.
        who: the LLM in words, to begin messages with.

    Raises:
        ResponseFormatError: the body is not JSON, or not in this format; `EmptyReply` if there is no answer in it.
        LLMError: the body holds an error, in spite of its status.

    Example:
        >>> decode(b'{"choices": [{"message": {"content": "Hello"}}]}', "ChatLLM").text
        'Hello'
    """
    return read(parse(body, who), who)


def parse(body: bytes, who: str) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        ResponseFormatError: there is none. A page of HTML is recognised, since it usually means a wrong `base_url`.
    """
    try:
        data = _from_json(body.decode())
    except (ValueError, RecursionError):
        data = _parse_otherwise(body, who)
    if type(data) is not dict:
        raise _wrong(who, "a JSON object", data)
    return data


def read(data: dict[str, Any], who: str) -> Reply:
    """Return the reply in a response's parsed body; see `decode`."""
    if data.get("error") or data.get("object") == "error":
        raise _error_inside(data, who)
    choice = _choice(data, who)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise _wrong(who, "an object in choices[0].message", message, data)
    text = message.get("content")
    if type(text) is not str:
        text = _text_of(text, who)
    if not text.isascii():
        text = _clean(text)
    calls = _calls(message, who) if "tool_calls" in message or "function_call" in message else ()
    if not (calls or text) and message.get("refusal"):
        raise _refused(message["refusal"], who, data)
    finish_reason, model, id_ = choice.get("finish_reason"), data.get("model"), data.get("id")
    reply = Reply(
        text=text,
        tool_calls=calls,
        usage=_usage(data.get("usage")),
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        model=model if isinstance(model, str) else None,
        id=id_ if isinstance(id_, str) else None,
        raw=data,
    )
    return reply if calls else require_answer(reply, who)


def _choice(data: dict[str, Any], who: str) -> dict[str, Any]:
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise _wrong(who, "a list 'choices' with an object in it", choices, data)
    if choice.get("error"):  # OpenRouter's way
        raise _error_inside(choice, who)
    return choice


def _text_of(content: Any, who: str) -> str:
    """Return the text of a content that is no plain text: null, or a list of parts; parts of other kinds are skipped."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _wrong(who, "a text, a list of parts or null as the message's content", content)
    texts = []
    for part in content:
        text = part if isinstance(part, str) else part.get("text", "") if isinstance(part, dict) else None
        if not isinstance(text, str):
            raise _wrong(who, 'parts such as {"type": "text", "text": "..."} in the message\'s content', part)
        texts.append(text)
    return "".join(texts)


def _calls(message: Mapping[str, Any], who: str) -> tuple[ToolCall, ...]:
    items = message.get("tool_calls")
    if not items:
        legacy = message.get("function_call")  # the form before November 2023; some servers still send it
        items = [{"function": legacy}] if legacy else []
    if not isinstance(items, list):
        raise _wrong(who, "a list of tool calls", items)
    return tuple(_call(item, number, who) for number, item in enumerate(items))


def _call(item: Any, number: int, who: str) -> ToolCall:
    function = item.get("function") if isinstance(item, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name.strip():
        expected = '{"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}} as a tool call'
        raise _wrong(who, expected, item)
    id_ = item.get("id")
    arguments = _arguments(function.get("arguments"), who)
    return ToolCall(
        id=_clean(id_) if isinstance(id_, str) and id_ else f"call_{number}",
        name=_clean(name.strip()),
        arguments=arguments if arguments.strip() else "{}",
    )


def _arguments(arguments: Any, who: str) -> str:
    if isinstance(arguments, str):
        return _clean(arguments)
    if arguments is None:
        return ""
    try:
        return _clean(json.dumps(arguments, ensure_ascii=False))
    except (ValueError, RecursionError):
        raise _wrong(who, "JSON text as a tool call's arguments", arguments) from None


def _clean(text: str) -> str:
    """Return a text that can be written anywhere: JSON's escapes can smuggle in lone surrogates, which no file takes."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _mended(text)
    return text


def _usage(usage: Any) -> Usage:
    if type(usage) is not dict:
        return Usage(requests=1)
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    details = usage.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=_count(prompt),
        completion_tokens=_count(completion),
        cached_prompt_tokens=_count(details.get("cached_tokens")) if type(details) is dict else 0,
        requests=1,
    )


def _count(number: Any) -> int:
    """Return a number of tokens; what is none (a bool, a text, a negative or fractional number) counts as zero."""
    if type(number) is float and number.is_integer():
        number = int(number)
    return number if type(number) is int and 0 <= number <= _MOST_TOKENS else 0


# What is wrong with an answer.


def _parse_otherwise(body: bytes, who: str) -> Any:
    """Parse a body that is no plain UTF-8 JSON: with a byte order mark, in UTF-16, with stray bytes; or say what it is."""
    start = body.lstrip()[:300]
    text = body.decode(json.detect_encoding(body), "replace")
    try:
        return _from_json(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ResponseFormatError(f"{who} answered with JSON that is nested too deeply to be an answer.") from None
    except ValueError as error:
        if not start:
            what = "nothing: an empty body"
        elif start.startswith(b"<"):
            title = _title(text)
            page = f"a page of HTML{f' ({title})' if title else ''}"
            what = f"{page}. Check base_url: it must be that of the API, and often ends in /v1"
        elif start.startswith((b"data:", b"event:", b":")):
            what = "a stream of events, though none was asked for"
        elif isinstance(error, json.JSONDecodeError):
            what = f"{_quoted(text)} ({error.msg} at character {error.pos})"
        else:  # an integer of more digits than Python reads
            what = f"{_quoted(text)} ({scrub(str(error), 80)})"
        raise ResponseFormatError(f"{who} should have answered with a JSON object, but sent {what}.") from None


_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxdict, _brief.maxlist, _brief.maxstring, _brief.maxother = 3, 8, 4, 120, 60


def _quoted(text: str) -> str:
    return f"{scrub(text, 200)!r}"


def _wrong(who: str, expected: str, got: Any, data: Mapping[str, Any] | None = None) -> ResponseFormatError:
    where = f" in {scrub(_brief.repr(data), 200)}" if data is not None else ""
    sent = scrub(_brief.repr(got), 200) if got is not None else "nothing there"
    id_ = data.get("id") if data is not None else None
    return ResponseFormatError(
        f"{who} should have sent {expected}, but sent {sent}{where}.", request_id=id_ if isinstance(id_, str) else None
    )


def _refused(refusal: Any, who: str, data: Mapping[str, Any]) -> ResponseFormatError:
    id_ = data.get("id")
    said = scrub(refusal if isinstance(refusal, str) else _brief.repr(refusal))
    return ResponseFormatError(
        f"{who} refused to answer: {said}", code="refusal", request_id=id_ if isinstance(id_, str) else None
    )


_STATUS_WORDS: Final = (  # the words of providers' codes and types, in the order in which they are looked for
    (429, re.compile(r"quota|billing|rate.?limit|too.?many|exhausted|throttl")),
    (401, re.compile(r"api.?key|authentication|unauthenticated|unauthorized|token.?expired")),
    (403, re.compile(r"permission|forbidden|access.?denied")),
    (404, re.compile(r"not.?found")),
    (503, re.compile(r"overloaded|unavailable")),
    (500, re.compile(r"server.?error|internal|api.?error|upstream")),
    (408, re.compile(r"timeout|timed.?out")),
    (400, re.compile(r"invalid|bad.?request|context|content.?(?:filter|policy)|unsupported|exceed")),
)


def _error_inside(data: Mapping[str, Any], who: str) -> LLMError:
    """Return the error that an answer holds in spite of its status 200."""
    message, code, status = _read_error(data)
    said = f"{who} answered with an error: {scrub(message) or _quoted(_brief.repr(data))}"
    if status is None:
        guess = error_for_status(400, said, code=code)
        if isinstance(guess, ContextWindowExceededError):
            return guess
        # It says nothing of whose fault it is. The server had accepted the request, so it is taken for the server's.
        status = 500
    return error_for_status(status, said, code=code)


def _read_error(data: Any) -> tuple[str, str | None, int | None]:
    """Return the message, the code and the status that an error object names, in any of the common shapes."""
    if isinstance(data, list) and data:  # Google wraps the object in a list
        data = data[0]
    error = data.get("error") or data.get("errors") if isinstance(data, Mapping) else data
    if isinstance(error, list) and error:  # JSON:API
        error = error[0]
    outer = data if isinstance(data, Mapping) else {}
    fields = [error, outer] if isinstance(error, Mapping) else [outer]
    message = _first_text(fields, ("message", "Message", "msg", "error_description", "detail", "title"))
    if not message:
        message = error if isinstance(error, str) else _detail(outer.get("detail"))
    words = _first_text(fields, ("code",)), _first_text(fields, ("type", "status", "__type"))
    code = next((word for word in words if word and not word.isdigit() and word != "error"), None)
    if code is None and isinstance(error, str) and message != error:  # OAuth's shape
        code = error
    numbers = [field.get(name) for field in fields for name in ("status", "code", "status_code")]
    status = next((number for value in numbers if (number := _status(value))), None)
    return message, scrub(code, 100) if code else None, status or _status_of_words(*words, code)


def _first_text(fields: Iterable[Mapping[str, Any]], names: Iterable[str]) -> str | None:
    names = tuple(names)
    found = (field.get(name) for field in fields for name in names)
    return next((value for value in found if isinstance(value, str) and value.strip()), None)


def _detail(detail: Any) -> str:
    """Return the text of FastAPI's `detail`: a list of `{"loc": [...], "msg": ...}`."""
    items = detail if isinstance(detail, list) else [detail]
    return "; ".join(
        f"{'.'.join(str(step) for step in where if isinstance(step, str | int))}: {item['msg']}"
        if isinstance(where := item.get("loc"), list)
        else item["msg"]
        for item in items[:4]
        if isinstance(item, Mapping) and isinstance(item.get("msg"), str)
    )


def _status(value: Any) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 400 <= value <= 599 else None


def _status_of_words(*words: str | None) -> int | None:
    for word in filter(None, words):
        for status, pattern in _STATUS_WORDS:
            if pattern.search(word.lower()):
                return status
    return None


def error_message(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[str, str | None]:
    """Return what an error response says, and the provider's error code if it names one.

    Understands OpenAI's shape, `{"message": ...}`, `{"detail": ...}`, plain text and pages of HTML. The message is
    scrubbed of secrets and control characters, and at most 300 characters long; it is never empty.

    Args:
        status: the HTTP status.
        body: as it came; no more than 64 KB of it is read.
        headers: of the response; for an empty body, `www-authenticate` is told.

    Example:
        >>> error_message(429, b'{"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}')
        ('Slow down', 'rate_limit_exceeded')
    """
    text = body[:_READ_BODY].decode("utf-8", "replace").removeprefix("\ufeff").strip()
    code = None
    try:
        data = _from_json(text)
    except (ValueError, RecursionError):
        message = _title(text) or "a page of HTML" if text.startswith("<") else text
    else:
        message, code, _ = (
            _read_error(data) if isinstance(data, dict | list) else ("" if data is None else str(data), None, None)
        )
        message = message or (text if data else "")
    if not message.strip():
        message = (headers or {}).get("www-authenticate") or _phrase(status)
    return scrub(message) or _phrase(status), code


def _title(text: str) -> str | None:
    found = re.search(r"<title[^>]{0,200}>([^<]{1,300})|<h1[^>]{0,200}>([^<]{1,300})", text[:_READ_BODY], re.IGNORECASE)
    return scrub(found[1] or found[2], 100) if found else None


def _phrase(status: int) -> str:
    try:
        return f"{HTTPStatus(status).phrase} (no explanation was given)"
    except ValueError:
        return "no explanation was given"


# From stream events to a reply.


class _PartialCall:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []


class StreamAssembler:
    """Puts a streamed answer together from the data of its events.

    Args:
        who: the LLM in words, to begin messages with.

    Attributes:
        done: the stream has said that it is over; nothing more needs to be read.

    Example:
        >>> assembler = StreamAssembler("ChatLLM")
        >>> for data in ('{"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}', "[DONE]"):
        ...     print([str(delta) for delta in assembler.feed(data)])
        ['Hello']
        []
        >>> assembler.finish().text
        'Hello'
    """

    __slots__ = (
        *("_calls", "_finish_reason", "_id", "_last", "_model", "_odd", "_places", "_raw", "_refusal", "_texts"),
        *("_usage", "_who", "done"),
    )

    def __init__(self, who: str) -> None:
        self.done = False
        self._who = who
        self._texts: list[str] = []
        self._calls: dict[int, _PartialCall] = {}
        self._places: dict[int, int] = {}  # from the server's index to the number of the call it now means
        self._last = -1  # the number of the call that was spoken of last
        self._finish_reason: str | None = None
        self._usage: Any = None
        self._model: str | None = None
        self._id: str | None = None
        self._refusal = ""
        self._odd: Any = None  # the first event that is none of this format
        self._raw: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The text that has come so far."""
        return "".join(self._texts)

    def feed(self, data: str, event: str = "message") -> list[Delta]:
        """Return the pieces of the answer in one event.

        Args:
            data: the event's data.
            event: the event's type; whatever comes with the type `"error"` is an error.

        Raises:
            LLMError: the event tells of an error.
            ResponseFormatError: the event is in no known shape.
        """
        if self.done or not data or data.isspace():
            return []
        if data.strip() == "[DONE]":
            self.done = True
            return []
        chunk = self._parse(data, event)
        if event == "error" or chunk.get("error") or chunk.get("object") == "error":
            raise _error_inside(chunk, self._who)
        return self.add(chunk)

    def add(self, chunk: dict[str, Any]) -> list[Delta]:
        """Return the pieces of the answer in one parsed chunk; see `feed`."""
        self._raw = chunk
        if chunk.get("usage"):
            self._usage = chunk["usage"]
        if self._id is None:
            model, id_ = chunk.get("model"), chunk.get("id")
            self._model = model if isinstance(model, str) else None
            self._id = id_ if isinstance(id_, str) else None
        choices = chunk.get("choices")
        if not choices:  # the usage at the end, or a provider's own notes
            if "choices" not in chunk and not self._odd:
                self._odd = chunk
            return []
        if not isinstance(choices, list):
            raise _wrong(self._who, "a list 'choices' in each event", choices, chunk)
        deltas: list[Delta] = []
        for choice in choices:
            if not isinstance(choice, dict):
                raise _wrong(self._who, "an object in 'choices'", choice, chunk)
            index = choice.get("index")
            if not (type(index) is int and index > 0):  # of several answers, the first
                self._add_choice(choice, deltas)
        return deltas

    def finish(self) -> Reply:
        """Return the whole reply, once the stream has ended.

        Raises:
            TruncatedStream: there was neither a finish reason nor `[DONE]`; `.text` is what had come.
            EmptyReply: nothing has come.
        """
        text = "".join(self._texts)
        if self._odd and not (text or self._calls or self._finish_reason or self._refusal):
            raise _wrong(self._who, "events with 'choices'", self._odd)
        if self._raw is not None and not self.done and self._finish_reason is None:
            raise TruncatedStream(
                f"{self._who}'s stream ended before the answer did, after {len(text)} characters.",
                text=text,
                request_id=self._id,
            )
        calls = [self._whole(number, self._calls[number]) for number in sorted(self._calls)]
        if not (text or calls) and self._refusal:
            raise _refused(self._refusal, self._who, {"id": self._id})
        reply = Reply(
            text=text,
            tool_calls=tuple(calls),
            usage=_usage(self._usage),
            finish_reason=self._finish_reason,
            model=self._model,
            id=self._id,
            raw=self._raw,
        )
        return require_answer(reply, self._who)

    def _parse(self, data: str, event: str) -> dict[str, Any]:
        try:
            chunk = _from_json(data)
        except (ValueError, RecursionError):
            if event == "error":
                return {"message": data}
            raise _wrong(self._who, "JSON in each event of its stream", data) from None
        if type(chunk) is dict:
            return chunk
        if event == "error":
            return {"message": str(chunk)}
        raise _wrong(self._who, "an object in each event of its stream", chunk)

    def _add_choice(self, choice: dict[str, Any], deltas: list[Delta]) -> None:
        if choice.get("error"):
            raise _error_inside(choice, self._who)
        if isinstance(choice.get("finish_reason"), str):
            self._finish_reason = choice["finish_reason"]
        delta = choice.get("delta")
        if delta is None and not self._texts and not self._calls:
            delta = choice.get("message")  # a server that sends the whole at once
        if delta is None:
            return
        if not isinstance(delta, dict):
            raise _wrong(self._who, "an object in choices[0].delta", delta)
        content = delta.get("content")
        if content:
            text = _clean(_text_of(content, self._who))
            self._texts.append(text)
            deltas.append(Delta(text))
        if isinstance(delta.get("refusal"), str):
            self._refusal += delta["refusal"]
        if delta.get("tool_calls") or delta.get("function_call"):
            self._add_calls(delta, deltas)

    def _add_calls(self, delta: Mapping[str, Any], deltas: list[Delta]) -> None:
        items = delta.get("tool_calls") or [{"index": 0, "function": delta["function_call"]}]
        if not isinstance(items, list):
            raise _wrong(self._who, "a list of tool calls", items)
        for item in items:
            function = item.get("function") or {} if isinstance(item, dict) else None
            if not isinstance(function, dict):
                raise _wrong(self._who, 'pieces of tool calls such as {"index": 0, "function": {...}}', item)
            id_, name = _text(item.get("id")), _text(function.get("name"))
            arguments = _arguments(function.get("arguments"), self._who)
            call = self._call_for(item.get("index"), id_, name)
            call.id, call.name = call.id or id_, call.name or name
            call.arguments.append(arguments)
            deltas.append(Delta(tool_call=ToolCall(id=call.id, name=call.name, arguments=arguments)))

    def _call_for(self, index: Any, id_: str, name: str) -> _PartialCall:
        """Return the tool call that a piece belongs to.

        Servers differ: most number the calls; some number none, or each with 0, and send whole calls.
        """
        if type(index) is int:
            place = self._places.get(index)
        else:
            index = None
            place = next((at for at, call in self._calls.items() if id_ and call.id == id_), self._last)
        known = self._calls.get(place) if place is not None else None
        if known is None:
            number = index if index is not None and index not in self._calls else self._free()
        elif name and known.name and (id_ != known.id if id_ else index is None):
            number = self._free()
        else:
            number = place
        if index is not None:
            self._places[index] = number
        self._last = number
        return self._calls.setdefault(number, _PartialCall())

    def _free(self) -> int:
        return max(self._calls, default=-1) + 1

    def _whole(self, number: int, call: _PartialCall) -> ToolCall:
        function = {"name": call.name, "arguments": "".join(call.arguments)}
        return _call({"id": call.id, "function": function}, number, self._who)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
