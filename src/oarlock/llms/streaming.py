"""An answer that is still arriving: what a sign-in sends, the response that stays open, and the limits of its reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock.contract.errors import LLMError, LLMTimeoutError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.llms.exchange import Exchange, timed_out_at
from oarlock.runtime import Runtime
from oarlock.transport import ResponseStream
from oarlock.transport.body import ERROR_BODY_SECONDS, body_error

if TYPE_CHECKING:
    from oarlock.llms.chat import ChatLLM

__all__ = ["OpenAnswer"]

_MAX_ERROR_BODY = 64 * 1024  # bytes of an error that are read
_LAST_WORDS = 0.2  # seconds for what follows the end of an answer: the connection can be used again after it


class OpenAnswer(Exchange):
    """Sends what a sign-in flow yields, keeps the last response open, and reads it within the attempt's time.

    Two more limits hold for the events of a stream: for the first one, from the moment of sending, and for the silence
    between two. Bytes that are no part of the answer, such as comments and pings, do not count: only `heard()` does.
    """

    def __init__(self, llm: ChatLLM, runtime: Runtime, until: float, sent: list[HttpRequest]) -> None:
        super().__init__(llm._transport, runtime, until, sent)  # noqa: SLF001  a part of ChatLLM
        self._llm = llm
        self._idle = llm.idle_timeout
        self._event_by: float | None = None
        self._late: tuple[str, float | None] = "", None  # what to say when no event has come by then
        self._stream: ResponseStream | None = None

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request of the sign-in's; if it is the one to the model, its response stays open."""
        if not request.url.startswith(self._llm._url()):  # noqa: SLF001  a token endpoint: its flow wants the body
            return await self.aside(request)
        self.sent.append(request)
        await self.close()
        self._expect(self._llm.first_event_timeout, "sent no part of its answer within {:g} s (first_event_timeout).")
        timed = timed_out_at(request, self._limit(), self.runtime)
        try:
            stream: ResponseStream = await self.runtime.invoke(self.transport.open, self.transport.aopen, timed)
        except LLMTimeoutError as error:
            self._tell_late(error)
            raise
        self._stream = stream
        body, problem = await self._read_error() if stream.status >= 400 else (b"", "")
        return HttpResponse(status=stream.status, headers=stream.headers, body=body, body_error=problem)

    def heard(self) -> None:
        """Note that a part of the answer has come: the silence begins now."""
        if self._idle is None:
            self._event_by = None
        else:
            self._expect(self._idle, "was silent for {:g} s in the middle of its answer (idle_timeout).")

    def at_once(self) -> None:
        """Note that the answer comes as a whole, without events."""
        self._event_by = None

    def _expect(self, seconds: float | None, late: str) -> None:
        self._event_by = None if seconds is None else self.runtime.now() + seconds
        self._late = late, seconds  # put into words only when it is reached

    def _limit(self) -> float:
        return self.until if self._event_by is None else min(self.until, self._event_by)

    def _tell_late(self, error: LLMTimeoutError) -> None:
        """Raise the error that says which time was up, if it was one of those that are kept here."""
        if self._event_by is not None and self._event_by <= min(self.until, self.runtime.now()):
            raise LLMTimeoutError(self._silent()) from error
        if self._stream is not None and self.runtime.now() >= self.until:
            raise LLMTimeoutError(self._unfinished()) from error

    def _silent(self) -> str:
        words, seconds = self._late
        return f"{self._llm.model} {words.format(seconds)}"

    def _unfinished(self) -> str:
        return f"{self._llm.model} was still sending its answer when the attempt's time was up (timeout)."

    async def read(self) -> bytes:
        """Return the next piece of the body, `b""` at its end."""
        stream, until = self._stream, self.until
        assert stream is not None
        if self._event_by is not None:
            until = min(until, self._event_by)
        left = until - self.runtime.now()
        if left <= 0:
            raise LLMTimeoutError(self._unfinished() if until == self.until else self._silent())
        try:
            piece: bytes = await self.runtime.invoke(stream.read_chunk, stream.aread_chunk, left)
        except LLMTimeoutError as error:
            self._tell_late(error)
            raise
        return piece

    async def read_all(self) -> bytes:
        """Return the body, which the transport caps."""
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def _read_error(self) -> tuple[bytes, str]:
        """Return what comes of an error's body in a second, and why that is not all of it."""
        assert self._stream is not None
        until = min(self._limit(), self.runtime.now() + ERROR_BODY_SECONDS)
        pieces: list[bytes] = []
        size = 0
        try:
            while size < _MAX_ERROR_BODY and (left := until - self.runtime.now()) > 0:
                piece = await self.runtime.invoke(self._stream.read_chunk, self._stream.aread_chunk, left)
                if not piece:
                    return b"".join(pieces), ""
                pieces.append(piece)
                size += len(piece)
            problem = "" if size >= _MAX_ERROR_BODY else body_error(TimeoutError())
        except LLMError as error:
            problem = body_error(error)
        return b"".join(pieces), problem

    async def read_out(self) -> None:
        """Read what follows the end of the answer, as long as it is soon over."""
        self.until = min(self.until, self.runtime.now() + _LAST_WORDS)
        self.at_once()
        try:
            while await self.read():
                pass
        except LLMError:  # the answer is there: what comes after it cannot spoil it
            return

    def drop(self) -> None:
        """Let the response go without waiting."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()

    async def close(self) -> None:
        """Give the connection back, or drop it if there is more to come."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await self.runtime.invoke(stream.close, stream.aclose)
