"""Keeping a conversation within the model's context window: counted before each call, shortened if it does not fit.

What is shortened, in this order, until it fits: results of tools of earlier turns, the oldest first; those of the last turn
that take more than half of the room; everything between the task and the last turn, for which the model itself writes a
summary; whatever is longest, the answers of earlier tasks included; at last, whole messages, the oldest first. The system prompt and the task are never
touched, and the last turn keeps its tool calls with their results.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from oarlock.agents.prompts import CONTEXT_SEPARATOR, SUMMARISE, SUMMARY, WORK_SO_FAR
from oarlock.agents.templates import PLAIN
from oarlock.agents.turns import as_line, fixed_of, is_result, last_turn, level_of, told_by
from oarlock.contract.checks import whole
from oarlock.contract.context import emit
from oarlock.contract.errors import ConfigurationError, ContextWindowExceededError, a_kind
from oarlock.contract.estimates import message_tokens, text_tokens, tool_tokens
from oarlock.contract.events import ContextShortened
from oarlock.contract.messages import Message
from oarlock.contract.reply import Reply, Usage

if TYPE_CHECKING:
    from oarlock.agents.work import Work
    from oarlock.contract.llm import BaseLLM
    from oarlock.contract.messages import ToolCallMessage, ToolSchema
    from oarlock.contract.request import Request

__all__ = ["CountTokens", "Window", "check_count_tokens"]

_log = logging.getLogger("oarlock.agents")

CountTokens = Callable[[str], int | Sized]
"""Returns how many tokens a text has, or the tokens themselves."""

_FEW_TOOLS: Final = 16  # fewer are counted only if the conversation is long
_ANSWER: Final = 0.15  # of the window, left for an answer whose max_tokens nobody set; CrewAI leaves as much
_ASSUMED: Final = 8192  # tokens: what `BaseLLM` and `ChatLLM` say if nobody told them; as good as not saying anything
_SHORT: Final = 100  # tokens that are left of an old result
_LEAST: Final = 30  # tokens that are left of anything; half of it says that something was left out
_WORTH_A_SUMMARY: Final = 400  # tokens; a summary has as many
_REFUSED: Final = 0.7  # of what the endpoint would not take is tried next
_FOR_TRANSCRIPT: Final = 0.7  # of the window, when the model is to summarise


@dataclass(slots=True, kw_only=True)
class _Shortened:
    """What has been shortened."""

    tool_results: int = 0
    summarised: int = 0
    others: int = 0
    left_out: int = 0

    def __bool__(self) -> bool:
        return bool(self.tool_results or self.summarised or self.others or self.left_out)


class Window:
    """The context window of the model, and how much of it one conversation takes.

    Args:
        fixed: how many messages, from the first one on, are the system prompt and the task.
        context: the answers of earlier tasks, as they stand in the task's message.
        count: counts tokens; default: the endpoint's figures, and estimates for what came since.
    """

    __slots__ = (
        "_context",
        "_count",
        "_counted",
        "_doubtful",
        "_fixed",
        "_known",
        "_last",
        "_scale",
        "_seen",
        "_sizes",
        "_tools",
        "_whole",
    )

    def __init__(self, fixed: int, context: str = "", count: CountTokens | None = None) -> None:
        self._fixed = fixed
        self._context = context
        self._count = count
        self._sizes: dict[int, int] = {}  # by id of the LLM
        self._tools: tuple[int, int] = (0, 0)  # id of the schemas, and how many tokens they have
        self._known = 0  # tokens of the messages seen, schemas included
        self._seen = 0
        self._last: Message | None = None  # of those seen; if it is not there any more, nothing is known
        self._counted = 0  # tokens of the request that is under way
        self._doubtful = False  # whether what is known of the window cannot be right: then nothing is refused for it
        self._whole = False  # whether that is our own count of all of it
        self._scale = 1.0  # tokens in the endpoint's count for one in ours

    async def fit(self, work: Work, llm: BaseLLM, tools: Sequence[ToolSchema]) -> None:
        """Shorten the conversation if it does not fit.

        Raises:
            ContextWindowExceededError: system prompt and task alone are too long.
            ConfigurationError: the LLM says nothing sensible of its window.
        """
        size = self._sizes.get(id(llm)) or self._size_of(llm)
        self._counted = self._tokens(work.messages)
        self._whole = not (self._seen or tools)
        if tools and not self._seen:
            if self._counted < size / 4 and len(tools) <= _FEW_TOOLS:
                return  # their schemas, which take time to count, cannot be shortened anyway
            self._counted += round(self._scale * self._schemas(tools))
            self._whole = True
        if self._counted > size / 2:  # a short conversation costs no more than this
            limit = size - _for_answer(llm, size)
            if self._counted > limit:
                await self._shorten(work, llm, tools, limit, why="full")
            if self._counted > size and not self._doubtful and size != _ASSUMED:
                raise self._hopeless(work, llm, size)

    def learn(self, request: Request, reply: Reply) -> None:
        """Take note of what an answered request had in tokens."""
        usage = reply.usage
        if reply.cached:
            return
        counted = self._counted
        if usage.requests == 1 and not (usage.estimated and self._count):
            if self._whole and counted and not usage.estimated:
                self._scale = min(4.0, max(0.25, self._scale * usage.prompt_tokens / counted))
            counted = usage.prompt_tokens
        self._known, self._seen, self._last = counted, len(request.messages), request.messages[-1]
        for llm, size in self._sizes.items():
            if counted > size:  # so its window is larger than what it says, or than what it once refused
                self._sizes[llm] = counted
                self._doubtful = True

    async def shrink(self, work: Work, llm: BaseLLM, tools: Sequence[ToolSchema], error: Exception) -> bool:
        """Shorten what an endpoint refused as too long; return whether there was something to shorten."""
        size, counted = told_by(error)
        if size and counted:  # it says what it has and what it was given
            self._counted, limit = counted, size - _for_answer(llm, size)
        else:
            size = max(1, min(self._sizes[id(llm)], self._counted, size or self._counted))
            limit = round(size * _REFUSED)
        self._sizes[id(llm)] = size
        return bool(await self._shorten(work, llm, tools, limit, why="refused"))

    # Counting.

    def _size_of(self, llm: BaseLLM) -> int:
        size = llm.get_context_window_size()
        if type(size) is not int or size < 1:
            whole(repr(llm), "get_context_window_size()", size)  # says what is wrong
        self._sizes[id(llm)] = size
        return size

    def _tokens(self, messages: Sequence[Message]) -> int:
        """Return how many tokens the messages have: what is known of them, and an estimate of the rest."""
        seen = self._seen
        if seen and (len(messages) < seen or messages[seen - 1] is not self._last):
            seen = self._seen = 0
        own = sum([self._message(message) for message in (messages[seen:] if seen else messages)])
        return self._known + round(self._scale * own) if seen else round(self._scale * own)

    def _schemas(self, tools: Sequence[ToolSchema]) -> int:
        known, tokens = self._tools
        if known != id(tools):
            tokens = sum(map(tool_tokens, tools))
            self._tools = (id(tools), tokens)
        return tokens

    def _message(self, message: Message) -> int:
        content = message.get("content")
        if self._count is None or not isinstance(content, str):
            return message_tokens(message)
        return self._text(content) + sum(self._text(str(call)) for call in message.get("tool_calls") or ())

    def _text(self, text: str) -> int:
        if self._count is None:
            return text_tokens(text)
        counted = self._count(text)
        number = len(counted) if isinstance(counted, Sized) else counted
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ConfigurationError(
                f"count_tokens must return a number of tokens, or the tokens themselves, not {a_kind(counted)}."
            )
        return number

    # Shortening.

    async def _shorten(
        self, work: Work, llm: BaseLLM, tools: Sequence[ToolSchema], limit: int, *, why: str
    ) -> _Shortened:
        before, done = self._counted, _Shortened()
        self._fixed = fixed_of(work.messages, self._fixed)
        self._seen = 0  # what is known of the whole says nothing of its parts
        now = self._recount(work, tools)
        if now and (before > now or why == "full"):  # keep to the endpoint's figure
            self._scale *= before / now

        def excess() -> float:
            return (self._recount(work, tools) - limit) / self._scale

        self._cut_old_results(work, excess(), done)
        if excess() > 0:
            self._cut_large_results(work, limit / self._scale, done)
        if excess() > 0:
            await self._summarise(work, llm, limit / self._scale, done)
        if excess() > 0:
            self._level(work, excess(), done)
        if excess() > 0:
            self._leave_out(work, excess, done)
        self._counted = self._recount(work, tools)
        if done:
            self._tell(llm, before, done, why)
        return done

    def _recount(self, work: Work, tools: Sequence[ToolSchema]) -> int:
        return self._tokens(work.messages) + round(self._scale * self._schemas(tools))

    def _cut_old_results(self, work: Work, excess: float, done: _Shortened) -> None:
        for at in range(self._fixed, last_turn(work.messages, self._fixed)):
            if excess <= 0:
                return
            if is_result(work.messages[at]):
                excess -= self._cut(work, at, _SHORT, done)

    def _cut_large_results(self, work: Work, limit: float, done: _Shortened) -> None:
        half = (limit - sum(map(self._message, work.messages[: self._fixed]))) / 2
        for at in range(last_turn(work.messages, self._fixed), len(work.messages)):
            if is_result(work.messages[at]):
                self._cut(work, at, half, done)

    async def _summarise(self, work: Work, llm: BaseLLM, limit: float, done: _Shortened) -> None:
        """Let the model say in short what was done between the task and the last turn; that is a model call, too."""
        end = last_turn(work.messages, self._fixed)
        between = work.messages[self._fixed : end]
        if work.calls + 1 >= work.max_iter or sum(map(self._message, between)) <= _WORTH_A_SUMMARY:
            return
        transcript, most = "\n\n".join(map(as_line, between)), limit * _FOR_TRANSCRIPT
        asked = WORK_SO_FAR.format(
            task=self._shorter(str(work.messages[self._fixed - 1].get("content")), most / 4),
            work=self._shorter(transcript, most * 3 / 4),
        )
        messages: list[Message] = [{"role": "system", "content": SUMMARISE}, {"role": "user", "content": asked}]
        writer = dataclasses.replace(
            work,
            llm=llm,
            messages=messages,
            tools={},
            usage=Usage(),
            json_schema=None,
            window=None,
            key=f"{work.key}:summary",  # the call that it makes room for has the same number
            purpose="summary",
            prompts=PLAIN,
        )
        try:
            summary = (await writer.ask()).text.strip()
        finally:  # it is paid for, whatever comes of it
            work.usage += writer.usage
            work.calls = writer.calls
        if summary:  # a model may ask for tools even here
            work.messages[self._fixed : end] = [{"role": "user", "content": SUMMARY.format(summary=summary)}]
            done.summarised += len(between)

    def _level(self, work: Work, excess: float, done: _Shortened) -> None:
        """Cut the longest texts, messages and answers of earlier tasks alike, to one length at which all of it fits."""
        parts = self._context.split(CONTEXT_SEPARATOR) if self._context else []
        lengths = [self._message(message) for message in work.messages[self._fixed :]] + list(map(self._text, parts))
        level = level_of(lengths, sum(lengths) - excess)
        for at in range(self._fixed, len(work.messages)):
            self._cut(work, at, level, done)
        shorter = [self._shorter(part, level) for part in parts]
        if shorter != parts:
            self._put_context(work, CONTEXT_SEPARATOR.join(shorter))
            done.others += sum(one != other for one, other in zip(shorter, parts, strict=True))

    def _put_context(self, work: Work, context: str) -> None:
        """Put other answers of earlier tasks in the place of those that stand in the task's message."""
        for at, message in enumerate(work.messages[: self._fixed]):
            content = message.get("content")
            if isinstance(content, str) and self._context in content:
                work.messages[at] = {**message, "content": content.replace(self._context, context, 1)}
        self._context = context

    def _leave_out(self, work: Work, excess: Callable[[], float], done: _Shortened) -> None:
        """Leave out whole messages: those between task and last turn, then the last turn's first calls with their results."""
        messages, start = work.messages, last_turn(work.messages, self._fixed)
        if start > self._fixed:
            messages[self._fixed : start] = []
            done.left_out += start - self._fixed
        while excess() > 0 and len(messages) > self._fixed and len(messages[self._fixed].get("tool_calls") or ()) > 1:
            calls = messages[self._fixed]["tool_calls"]
            fewer = calls[(len(calls) + 1) // 2 :]  # by halves: each count is of the whole
            kept = {call["id"] for call in fewer}
            results = [one for one in messages[self._fixed + 1 :] if one.get("tool_call_id", "") in kept | {""}]
            done.left_out += len(messages) - self._fixed - 1 - len(results)
            messages[self._fixed :] = [{**messages[self._fixed], "tool_calls": fewer}, *results]

    def _cut(self, work: Work, at: int, most: float, done: _Shortened) -> int:
        """Cut the texts of a message to so many tokens each; return how many are gone."""
        message = work.messages[at]
        shorter = message.copy()
        content = message.get("content")
        if isinstance(content, str):
            shorter["content"] = self._shorter(content, most)
        if calls := message.get("tool_calls"):
            shorter["tool_calls"] = [self._shorter_call(call, most) for call in calls]
        if shorter == message:
            return 0
        work.messages[at] = shorter
        if is_result(message):
            done.tool_results += 1
        else:
            done.others += 1
        return self._message(message) - self._message(shorter)

    def _shorter_call(self, call: ToolCallMessage, most: float) -> ToolCallMessage:
        arguments = call["function"]["arguments"]
        shorter = self._shorter(arguments, most)
        if shorter is arguments:
            return call
        kept = json.dumps({"left_out": shorter}, ensure_ascii=False)  # an endpoint may read it: it stays JSON
        return {**call, "function": {**call["function"], "arguments": kept}}

    def _shorter(self, text: str, most: float) -> str:
        """Return the beginning and the end of a text, so that it has about so many tokens, 30 at least."""
        most, tokens = max(most, _LEAST), self._text(text)
        if tokens <= most:
            return text
        kept = int(len(text) * most / tokens) - _NOTE_LENGTH
        head = max(0, kept * 3 // 4)
        tail = max(0, kept - head)
        note = _NOTE.format(count=len(text) - head - tail)
        shorter = f"{text[:head]}{note}{text[len(text) - tail :]}"
        return shorter if len(shorter) < len(text) else text

    def _tell(self, llm: BaseLLM, before: int, done: _Shortened, why: str) -> None:
        event = ContextShortened(
            model=llm.model,
            window=self._sizes[id(llm)],
            before=before,
            after=self._counted,
            tool_results=done.tool_results,
            summarised=done.summarised,
            others=done.others,
            left_out=done.left_out,
            refused=why == "refused",
        )
        hint = ""
        if self._doubtful or event.window == _ASSUMED:
            hint = " Nobody has said how large its window is: set context_window=, if it is larger."
        _log.warning("%s: %s.%s", llm, event.what, hint)
        emit(event)

    def _hopeless(self, work: Work, llm: BaseLLM, size: int) -> ContextWindowExceededError:
        return ContextWindowExceededError(
            f"Agent {work.role!r}: what cannot be shortened, the system prompt, the task and its tools, has about "
            f"{self._counted:,} tokens, and the context window of {llm.model!r} {size:,}. Make the task shorter, or split it; "
            "or use a model with a larger window. If this one's is larger, say so: context_window=..., or "
            "get_context_window_size() of a class of your own.",
            attempts=0,
        )


_NOTE: Final = "\n[... {count:,} characters left out, for the context window ...]\n"
_NOTE_LENGTH: Final = len(_NOTE)


def _for_answer(llm: BaseLLM, size: int) -> int:
    """Return how much of the window to leave for the answer."""
    most = llm.max_tokens
    if isinstance(most, int) and not isinstance(most, bool) and most > 0:
        return min(most, size // 2)
    return round(size * _ANSWER)


def check_count_tokens(owner: str, count: Any) -> None:
    """Raise a ConfigurationError unless this is a function, or nothing."""
    if count is not None and not callable(count):
        raise ConfigurationError(
            f"{owner}: count_tokens must be a function of a text that returns its tokens, or how many, not {count!r}."
        )
