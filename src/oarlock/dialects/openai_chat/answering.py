"""From a reply to an answer in OpenAI's chat format, as a server gives it: whole, or as the chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from oarlock.contract.answers import cut_at_stop
from oarlock.contract.errors import LLMError, RefusalError, TruncatedReply
from oarlock.contract.estimates import with_usage
from oarlock.contract.reply import Delta, Reply, ToolCall, Usage
from oarlock.contract.request import Request
from oarlock.dialects.openai_chat.stop_cut import StopCut

__all__ = ["Chunks", "Envelope", "completion", "reply_of_error"]

_REASONS: Final = ("stop", "length", "tool_calls", "content_filter")
_CUT: Final = ("max_tokens", "max_output_tokens", "model_length")  # the words of others for "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What stands around every answer: its id, the time in seconds since the epoch, the model's name."""

    id: str
    created: int
    model: str

    def of(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return an object of this kind with these fields."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, **fields}


def completion(envelope: Envelope, reply: Reply, request: Request, refusal: str | None = None) -> dict[str, Any]:
    """Return a whole chat completion.

    Example:
        >>> request = Request(messages=[{"role": "user", "content": "Hi"}])
        >>> made = completion(Envelope(id="1", created=0, model="m"), Reply(text="Hello"), request)
        >>> made["choices"][0]["message"]["content"], made["choices"][0]["finish_reason"]
        ('Hello', 'stop')
    """
    text = cut_at_stop(reply.text, request.stop) if request.stop else reply.text
    content = None if refusal or (reply.tool_calls and not text) else text
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
    if reply.tool_calls:
        message["tool_calls"] = [call.as_message() for call in reply.tool_calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(reply)}
    return envelope.of("chat.completion", choices=[choice], usage=usage_of(reply, request))


def finish_reason(reply: Reply) -> str:
    """Return why the model stopped, in one of OpenAI's words."""
    if reply.tool_calls:
        return "tool_calls"
    reason = (reply.finish_reason or "stop").lower()
    if reason in _CUT:
        return "length"
    return reason if reason in _REASONS and reason != "tool_calls" else "stop"


def usage_of(reply: Reply, request: Request) -> dict[str, Any]:
    """Return what an answer cost; `estimated` where the model did not say."""
    usage: Usage = with_usage(reply, request).usage
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
    }
    return {**counts, "estimated": True} if usage.estimated else counts


def reply_of_error(error: LLMError) -> tuple[Reply, str | None] | None:
    """Return the reply, and the words of a refusal, where what is an error to us is an answer in this format."""
    usage = error.usage or Usage()
    if isinstance(error, TruncatedReply):
        return Reply(text=error.text, finish_reason="length", usage=usage), None
    if isinstance(error, RefusalError):
        return Reply(finish_reason="stop", usage=usage), str(error)
    return None


@dataclass(slots=True, kw_only=True)
class Chunks:
    """Makes the chunks of one stream: pieces as they come, then what is missing, the reason and the usage.

    Attributes:
        envelope: what stands around each.
        request: what was asked.
        include_usage: end with a chunk that has the usage.
        cuts: the LLM does not know stop words, so that the text is cut here.
    """

    envelope: Envelope
    request: Request
    include_usage: bool = False
    cuts: bool = False
    _calls: dict[str, int] = field(
        default_factory=dict, init=False
    )  # the ids of tool calls that began, and their numbers
    _stop: StopCut | None = field(default=None, init=False)
    _number: int = field(default=0, init=False)  # of the next tool call
    _wrote: bool = field(default=False, init=False)
    _unclear: bool = field(default=False, init=False)  # a piece of a tool call came without its id or name

    def __post_init__(self) -> None:
        if self.cuts and self.request.stop:
            self._stop = StopCut(self.request.stop)

    def first(self) -> dict[str, Any]:
        """Return the chunk that begins the answer."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def piece(self, delta: Delta) -> dict[str, Any] | None:
        """Return the chunk for a piece, `None` if there is nothing to show of it yet."""
        if delta.tool_call is not None:
            return self._call_piece(delta.tool_call)
        text = delta.text if self._stop is None else self._stop.feed(delta.text)
        return self._text(text)

    def last(self, reply: Reply, refusal: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield what has not been sent yet, and how the answer ended."""
        rest = self._text(self._stop.end() if self._stop is not None else "")
        if rest is not None:
            yield rest
        if refusal is not None:
            yield self._chunk({"refusal": refusal})
        if not self._wrote and reply.text and not refusal:  # nothing came in pieces
            text = cut_at_stop(reply.text, self.request.stop)
            yield self._chunk({"content": text})
        begun = set(self._calls)
        for call in reply.tool_calls:
            if call.id not in begun:
                yield self._begin(call, call.arguments)
        yield self._chunk({}, finish_reason(reply))
        if self.include_usage:
            usage = usage_of(reply, self.request)
            yield self.envelope.of("chat.completion.chunk", choices=[], usage=usage)

    def _text(self, text: str) -> dict[str, Any] | None:
        if not text:
            return None
        self._wrote = True
        return self._chunk({"content": text})

    def _call_piece(self, call: ToolCall) -> dict[str, Any] | None:
        """Return the chunk for a piece of a tool call that can be told apart from others; the rest comes at the end."""
        self._unclear = self._unclear or not (call.id and call.name)
        if call.id not in self._calls:
            return None if self._unclear else self._begin(call, call.arguments)
        piece = {"index": self._calls[call.id], "function": {"arguments": call.arguments}}
        return self._chunk({"tool_calls": [piece]})

    def _begin(self, call: ToolCall, arguments: str) -> dict[str, Any]:
        number = self._calls[call.id] = self._number
        self._number += 1
        whole = {"index": number, **call.as_message()}
        whole["function"] = {"name": call.name, "arguments": arguments}
        return self._chunk({"tool_calls": [whole]})

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        fields = {"usage": None} if self.include_usage else {}
        return self.envelope.of("chat.completion.chunk", choices=[choice], **fields)
