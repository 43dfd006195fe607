"""`ChatLLM`: any endpoint that speaks the OpenAI chat format, with any sign-in."""

from __future__ import annotations

from oarlock.contract.errors import LLMTimeoutError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.dialects.openai_chat import StreamAssembler, decode, encode
from oarlock.dialects.sse import SSEParser
from oarlock.llms.http import HttpLLM, timed_out_at
from oarlock.runtime import Runtime
from oarlock.transport import ResponseStream

__all__ = ["ChatLLM"]

_PATH = "/chat/completions"
_MAX_ERROR_BODY = 64 * 1024  # bytes of an error that are read


class ChatLLM(HttpLLM):
    """A model behind an OpenAI-style chat endpoint: a company gateway, a cloud, vLLM, llama.cpp, Ollama, ...

    Args:
        model: the model's name, as the endpoint knows it.
        base_url: up to and including the version, such as `https://llm.example.com/v1`; with `/chat/completions` at its
            end it is taken as it is.
        auth, timeout, deadline, policies, options, transport, headers, ...: see `HttpLLM`.

    Raises:
        ConfigurationError: a setting that cannot work.
        LLMError: from a call; see `oarlock.contract.errors`.

    Example:
        >>> from oarlock.auth import ApiKey
        >>> llm = ChatLLM("gpt-x", "https://llm.example.com/v1", auth=ApiKey("my-key"))
        >>> llm
        ChatLLM(model='gpt-x', base_url='https://llm.example.com/v1')
    """

    def encode(self, request: Request) -> bytes:
        return encode(
            self._completed(request), model=self.model, stream=request.deltas is not None, options=self.options
        )

    def decode(self, response: HttpResponse) -> Reply:
        return decode(response.body, self.model)

    def _completed(self, request: Request) -> Request:
        """Return the request with this LLM's own settings where the request says nothing."""
        stop = tuple(dict.fromkeys((*self._oarlock_stop, *request.stop)))
        if stop == request.stop and self.temperature is None and self.max_tokens is None:
            return request
        return request.replace(
            stop=stop,
            temperature=self.temperature if request.temperature is None else request.temperature,
            max_tokens=self.max_tokens if request.max_tokens is None else request.max_tokens,
        )

    def _url(self) -> str:
        return self.base_url if self.base_url.endswith(_PATH) else self.base_url + _PATH

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        if request.deltas is None:
            return await super()._respond(runtime, request)
        until = self._until(runtime, request)
        opened = _Opened(self, runtime, until)
        try:
            await self._authorized(runtime, self._http_request(request), until, opened.send)
            self._refuse_failure(runtime, opened.response)
            if not opened.response.headers.get("content-type", "").startswith("text/event-stream"):
                body = await opened.read_all()  # the endpoint does not stream: its answer comes at once
                return self.decode(HttpResponse(status=200, headers=opened.response.headers, body=body))
            return await self._read_events(opened, request)
        except GeneratorExit:  # dropped without being closed: nothing may be awaited any more
            opened.drop()
            raise
        finally:
            await opened.close()

    async def _read_events(self, opened: _Opened, request: Request) -> Reply:
        assert request.deltas is not None
        parser, assembler = SSEParser(), StreamAssembler(self.model)
        while True:
            chunk = await opened.read()
            for event in parser.feed(chunk) if chunk else parser.end():
                for delta in assembler.feed(event.data, event.event):
                    await request.deltas.put(delta)
            if not chunk:
                return assembler.finish()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, base_url={self.base_url!r})"


class _Opened:
    """Sends what a sign-in flow yields, keeps the last response open, and reads it within the attempt's time."""

    def __init__(self, llm: ChatLLM, runtime: Runtime, until: float) -> None:
        self._url = llm._url()  # noqa: SLF001  a part of ChatLLM
        self._transport = llm._transport  # noqa: SLF001
        self._runtime = runtime
        self._until = until
        self._stream: ResponseStream | None = None
        self.response: HttpResponse

    async def send(self, request: HttpRequest) -> HttpResponse:
        timed = timed_out_at(request, self._until, self._runtime)
        if not request.url.startswith(self._url):  # a token endpoint: its flow wants the body
            answer: HttpResponse = await self._runtime.invoke(self._transport.send, self._transport.asend, timed)
            return answer
        await self.close()
        stream: ResponseStream = await self._runtime.invoke(self._transport.open, self._transport.aopen, timed)
        self._stream = stream
        body = await self.read_all(_MAX_ERROR_BODY) if stream.status >= 400 else b""
        self.response = HttpResponse(status=stream.status, headers=stream.headers, body=body)
        return self.response

    async def read(self) -> bytes:
        """Return the next piece of the body, `b""` at its end."""
        assert self._stream is not None
        left = self._until - self._runtime.now()
        if left <= 0:
            raise LLMTimeoutError("The answer was still streaming when the attempt's time was up.")
        chunk: bytes = await self._runtime.invoke(self._stream.read_chunk, self._stream.aread_chunk, left)
        return chunk

    async def read_all(self, limit: int | None = None) -> bytes:
        """Return the body, up to about `limit` bytes of it (the transport caps it in any case)."""
        pieces, size = [], 0
        while (limit is None or size < limit) and (piece := await self.read()):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def drop(self) -> None:
        """Let the response go without waiting."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()

    async def close(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await self._runtime.invoke(stream.close, stream.aclose)
