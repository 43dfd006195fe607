"""OpenAI's own client with an LLM of ours behind it: its requests go nowhere but to the LLM, in this process."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import openai

from oarlock.compat.interop.asking import aask, ask, astream, stream
from oarlock.compat.interop.wire import request_of
from oarlock.compat.interop.wire_errors import error_body, error_headers, status_of
from oarlock.contract.errors import BadRequestError, ConnectionFailedError, LLMTimeoutError, OarlockError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Delta, Reply
from oarlock.contract.request import Request
from oarlock.contract.secret import scrub
from oarlock.dialects.openai_chat.answering import Chunks, Envelope, completion

__all__ = ["async_client", "client", "with_cause"]


def _http_library() -> ModuleType:
    """Return the HTTP library that the installed version of OpenAI's client is made of: `httpx2`, or `httpx` before it."""
    homes = (base.__module__.partition(".")[0] for base in openai.DefaultHttpxClient.__mro__)
    return import_module(next(home for home in homes if home.startswith("httpx")))


_HTTP: Any = _http_library()
_ADDRESS: Final = "http://oarlock.invalid/v1"  # a name that cannot exist (RFC 6761): nothing is ever sent there
_NO_KEY: Final = "no-key: the LLM signs in by itself"
_CAUSE: Final = "oarlock_error"
_JSON: Final = {"content-type": "application/json"}
_EVENTS: Final = {"content-type": "text/event-stream"}


def client(llm: BaseLLM) -> openai.OpenAI:
    """Return a blocking client."""
    http = openai.DefaultHttpxClient(transport=_Transport(llm))
    return openai.OpenAI(
        api_key=_NO_KEY,
        organization="",  # else these two are taken from the environment
        project="",
        base_url=_ADDRESS,
        http_client=http,
        max_retries=0,
    )


def async_client(llm: BaseLLM) -> openai.AsyncOpenAI:
    """Return a client for coroutines."""
    http = openai.DefaultAsyncHttpxClient(transport=_Transport(llm))
    return openai.AsyncOpenAI(
        api_key=_NO_KEY,
        organization="",  # else these two are taken from the environment
        project="",
        base_url=_ADDRESS,
        http_client=http,
        max_retries=0,
    )


@contextmanager
def with_cause() -> Iterator[None]:
    """Let an error of OpenAI's client that is raised inside have the error of ours that it stands for as its cause."""
    try:
        yield
    except Exception as error:
        _attach(error)
        raise


def _attach(error: BaseException | None) -> None:
    while error is not None:
        extensions = getattr(getattr(error, "request", None), "extensions", None)
        if isinstance(error, openai.APIError) and isinstance(extensions, dict) and _CAUSE in extensions:
            error.__cause__ = extensions[_CAUSE]
            return
        error = error.__cause__ or error.__context__


class _Transport(_HTTP.BaseTransport, _HTTP.AsyncBaseTransport):
    """Answers the requests of an HTTP client, as a server would; in both of its colours."""

    def __init__(self, llm: BaseLLM) -> None:
        self._llm = llm

    def handle_request(self, request: Any) -> Any:
        """Answer a blocking client."""
        body = _json_of(request.read())
        try:
            asked = _asked(request, body)
            if not body.get("stream"):
                return self._whole(ask(self._llm, asked), asked)
            pieces = stream(self._llm, asked)
            first = next(pieces, None)  # what fails before it can still be said by the status
        except OarlockError as error:
            return self._failed(request, error)
        return self._events(request, asked, pieces, first)

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a client for coroutines."""
        body = _json_of(await request.aread())
        try:
            asked = _asked(request, body)
            if not body.get("stream"):
                return self._whole(await aask(self._llm, asked), asked)
            pieces = astream(self._llm, asked)
            first = await anext(pieces, None)
        except OarlockError as error:
            return self._failed(request, error)
        return self._events(request, asked, pieces, first)

    def _whole(self, reply: Reply, asked: Request) -> Any:
        return _HTTP.Response(200, headers=_JSON, content=_bytes(completion(self._envelope(), reply, asked)))

    def _events(self, request: Any, asked: Request, pieces: Any, first: Delta | None) -> Any:
        cuts = not self._llm.supports_stop_words()
        chunks = Chunks(envelope=self._envelope(), request=asked, include_usage=True, cuts=cuts)
        return _HTTP.Response(200, headers=_EVENTS, stream=_Events(request, chunks, pieces, first))

    def _envelope(self) -> Envelope:
        return Envelope(id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=self._llm.model)

    def _failed(self, request: Any, error: OarlockError) -> Any:
        request.extensions[_CAUSE] = error
        if isinstance(error, LLMTimeoutError) and error.status is None:
            raise _HTTP.ReadTimeout(str(error), request=request) from error
        if isinstance(error, ConnectionFailedError) and error.status is None:
            raise _HTTP.ConnectError(str(error), request=request) from error
        headers = {**_JSON, **error_headers(error)}
        return _HTTP.Response(status_of(error), headers=headers, content=_bytes(error_body(error)))


class _Events(_HTTP.SyncByteStream, _HTTP.AsyncByteStream):
    """The body of a streamed answer: an event for each piece, in both colours."""

    def __init__(self, request: Any, chunks: Chunks, pieces: Any, first: Delta | None) -> None:
        self._request = request
        self._chunks = chunks
        self._pieces = pieces
        self._first = first

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield self._begin()
            for delta in self._pieces:
                yield _event(self._chunks.piece(delta))
            yield self._end()
        except OarlockError as error:
            yield self._broken(error)
        finally:
            self._pieces.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield self._begin()
            async for delta in self._pieces:
                yield _event(self._chunks.piece(delta))
            yield self._end()
        except OarlockError as error:
            yield self._broken(error)
        finally:
            await self._pieces.aclose()

    def _begin(self) -> bytes:
        first = None if self._first is None else self._chunks.piece(self._first)
        return _event(self._chunks.first()) + _event(first)

    def _end(self) -> bytes:
        return b"".join(map(_event, self._chunks.last(self._pieces.reply))) + b"data: [DONE]\n\n"

    def _broken(self, error: OarlockError) -> bytes:
        self._request.extensions[_CAUSE] = error
        return _event(error_body(error))

    def close(self) -> None:
        """Leave the answer, wherever it is."""
        self._pieces.close()

    async def aclose(self) -> None:
        """Leave the answer, wherever it is."""
        await self._pieces.aclose()


def _asked(request: Any, body: dict[str, Any]) -> Request:
    path = str(request.url.path)
    if not path.endswith("/chat/completions"):
        raise BadRequestError(
            f"An LLM of Oarlock's answers chat completions, and was asked for {scrub(path)}: use the chat completions API."
        )
    return request_of(body)


def _json_of(content: bytes) -> dict[str, Any]:
    body = json.loads(content) if content else {}
    return body if isinstance(body, dict) else {}


def _event(value: dict[str, Any] | None) -> bytes:
    return b"" if value is None else b"data: " + _bytes(value) + b"\n\n"


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
