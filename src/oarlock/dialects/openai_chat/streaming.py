"""From stream events to a reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oarlock.contract.endings import OnLength, require_whole
from oarlock.contract.errors import (
    TruncatedStream,
)
from oarlock.contract.reply import Delta, Reply, ToolCall
from oarlock.dialects.openai_chat.decoding import arguments_text, refusal_of, text_of, tool_call, usage_of
from oarlock.dialects.openai_chat.failures import error_inside, from_json, wrong_shape
from oarlock.dialects.openai_chat.texts import clean

__all__ = ["StreamAssembler"]


class _PartialCall:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []


class StreamAssembler:
    """Puts a streamed answer together from the data of its events.

    Args:
        who: the LLM in words, to begin messages with.
        on_length: `"return"` takes a text that ended at the limit of tokens; see `require_whole`.

    Attributes:
        done: the stream has said that it is over; nothing more needs to be read.
        pieces: how many events have brought something of the answer; what only keeps the stream alive does not count.

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
        *("_calls", "_finish_reason", "_id", "_last", "_model", "_odd", "_on_length", "_places", "_raw", "_refusal"),
        *("_texts", "_usage", "_who", "done", "pieces"),
    )

    def __init__(self, who: str, on_length: OnLength = "error") -> None:
        self.done = False
        self.pieces = 0
        self._who = who
        self._on_length = on_length
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
        if self.done:
            return []
        if data[:1] != "{":  # nearly none
            said = data.strip()
            self.done = said == "[DONE]"
            if self.done or not said:
                return []
        chunk = self._parse(data, event)
        if event == "error" or chunk.get("error") or chunk.get("object") == "error":
            raise error_inside(chunk, self._who)
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
            raise wrong_shape(self._who, "a list 'choices' in each event", choices, chunk)
        deltas: list[Delta] = []
        for choice in choices:
            if not isinstance(choice, dict):
                raise wrong_shape(self._who, "an object in 'choices'", choice, chunk)
            index = choice.get("index")
            if not (type(index) is int and index > 0):  # of several answers, the first
                self._add_choice(choice, deltas)
        return deltas

    def finish(self) -> Reply:
        """Return the whole reply, once the stream has ended.

        Raises:
            TruncatedStream: there was neither a finish reason nor `[DONE]`; `.text` is what had come.
            EmptyReply: nothing has come.
            TruncatedReply, RefusalError, ContentFilterError: the answer is not a whole one.
        """
        text = "".join(self._texts)
        if self._odd and not (text or self._calls or self._finish_reason or self._refusal):
            raise wrong_shape(self._who, "events with 'choices'", self._odd)
        if not self.done and self._finish_reason is None:
            raise TruncatedStream(
                f"{self._who}'s stream ended before the answer did, after {len(text)} characters.",
                text=text,
                request_id=self._id,
            )
        calls = [self._whole(number, self._calls[number]) for number in sorted(self._calls)]
        reply = Reply(
            text=text,
            tool_calls=tuple(calls),
            usage=usage_of(self._usage),
            finish_reason=self._finish_reason,
            model=self._model,
            id=self._id,
            raw=self._raw,
        )
        return require_whole(reply, self._who, self._on_length, self._refusal)

    def _parse(self, data: str, event: str) -> dict[str, Any]:
        try:
            chunk = from_json(data)
        except (ValueError, RecursionError):
            if event == "error":
                return {"message": data}
            raise wrong_shape(self._who, "JSON in each event of its stream", data) from None
        if type(chunk) is dict:
            return chunk
        if event == "error":
            return {"message": str(chunk)}
        raise wrong_shape(self._who, "an object in each event of its stream", chunk)

    def _add_choice(self, choice: dict[str, Any], deltas: list[Delta]) -> None:
        if choice.get("error"):
            raise error_inside(choice, self._who)
        if isinstance(choice.get("finish_reason"), str):
            self._finish_reason = choice["finish_reason"]
            self.pieces += 1
        delta = choice.get("delta")
        if delta is None and not self._texts and not self._calls:
            delta = choice.get("message")  # a server that sends the whole at once
        if delta is None:
            return
        if not isinstance(delta, dict):
            raise wrong_shape(self._who, "an object in choices[0].delta", delta)
        self.pieces += any(delta.values())
        content = delta.get("content")
        if content:
            text = content if type(content) is str else text_of(content, self._who)
            if not text.isascii():
                text = clean(text)
            self._texts.append(text)
            deltas.append(Delta(text))
        if type(content) is not str or "refusal" in delta:
            self._refusal += refusal_of(delta)
        if delta.get("tool_calls") or delta.get("function_call"):
            self._add_calls(delta, deltas)

    def _add_calls(self, delta: Mapping[str, Any], deltas: list[Delta]) -> None:
        items = delta.get("tool_calls") or [{"index": 0, "function": delta["function_call"]}]
        if not isinstance(items, list):
            raise wrong_shape(self._who, "a list of tool calls", items)
        for item in items:
            function = item.get("function") or {} if isinstance(item, dict) else None
            if not isinstance(function, dict):
                raise wrong_shape(self._who, 'pieces of tool calls such as {"index": 0, "function": {...}}', item)
            id_, name = _text(item.get("id")), _text(function.get("name"))
            arguments = arguments_text(function.get("arguments"), self._who)
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
        return tool_call({"id": call.id, "function": function}, number, self._who)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
