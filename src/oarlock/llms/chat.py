"""`ChatLLM`: any endpoint that speaks the OpenAI chat format, with any sign-in."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from oarlock.contract.endings import refuses_schemas
from oarlock.contract.errors import BadRequestError, ConnectionFailedError, TruncatedStream
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.dialects.openai_chat import StreamAssembler, decode, encode
from oarlock.dialects.sse import SSEParser
from oarlock.llms.http import HttpLLM
from oarlock.llms.streaming import OpenAnswer
from oarlock.policies.rate_limit_headers import with_limits
from oarlock.runtime import Runtime

__all__ = ["ChatLLM"]

_PATH = "/chat/completions"


class ChatLLM(HttpLLM):
    """A model behind an OpenAI-style chat endpoint: a company gateway, a cloud, vLLM, llama.cpp, Ollama, ...

    Args:
        model: the model's name, as the endpoint knows it.
        base_url: up to and including the version, such as `https://llm.example.com/v1`; with `/chat/completions` at its
            end it is taken as it is.
        auth, timeout, deadline, policies, options, transport, headers, ...: see `HttpLLM`.

    Raises:
        ConfigurationError: a setting that cannot work.
        LLMError: from a call; see `oarlock.errors`.

    Example:
        >>> from oarlock.auth import ApiKey
        >>> llm = ChatLLM("gpt-x", "https://llm.example.com/v1", auth=ApiKey("my-key"))
        >>> llm
        ChatLLM(model='gpt-x', base_url='https://llm.example.com/v1')
    """

    _refused_a_schema = False

    def supports_json_schema(self) -> bool:
        return self._json_schema is not False and not self._refused_a_schema

    def supports_option(self, name: str) -> bool:
        return super().supports_option(name) if self._written else True  # the endpoint refuses what it does not know

    def _failed(self, request: Request, failure: BaseException) -> None:
        asked = request.json_schema is not None and self._json_schema is None
        if asked and isinstance(failure, BadRequestError) and refuses_schemas(failure):
            # From now on it is not asked that way, unless only this one schema was wrong: "Invalid schema for
            # response_format ..." are OpenAI's words. A race of two threads is harmless.
            self._refused_a_schema = self._refused_a_schema or "invalid schema" not in str(failure).lower()

    def encode(self, request: Request) -> bytes:
        return encode(
            self._completed(request),
            model=self.model,
            stream=request.deltas is not None,
            options=self._options(request),
        )

    def decode(self, response: HttpResponse) -> Reply:
        return decode(response.body, self.model, self.on_length)

    def _completed(self, request: Request) -> Request:
        """Return the request with this LLM's own settings where the request says nothing."""
        if not self._oarlock_stop and self.temperature is None and self.max_tokens is None:
            return request
        stop = tuple(dict.fromkeys((*self._oarlock_stop, *request.stop)))
        return request.replace(
            stop=stop,
            temperature=self.temperature if request.temperature is None else request.temperature,
            max_tokens=self.max_tokens if request.max_tokens is None else request.max_tokens,
        )

    def _options(self, request: Request) -> Mapping[str, Any]:
        return {**self.options, **request.options} if request.options else self.options

    def _url(self) -> str:
        return self.base_url if self.base_url.endswith(_PATH) else self.base_url + _PATH

    def _exchange(self, runtime: Runtime, request: Request, sent: list[HttpRequest]) -> Coroutine[Any, Any, Reply]:
        exchange = super()._exchange if request.deltas is None else self._streamed
        return exchange(runtime, request, sent)

    async def _streamed(self, runtime: Runtime, request: Request, sent: list[HttpRequest]) -> Reply:
        until = self._until(runtime, request)
        answer = OpenAnswer(self, runtime, until, sent)
        try:
            response = await self._authorized(answer, self._http_request(request, until - runtime.now()))
            self._refuse_failure(runtime, response)
            headers, came = response.headers, runtime.now()
            if headers.get("content-type", "").strip().lower().startswith("text/event-stream"):
                reply = await self._read_events(answer, request)
            else:
                answer.at_once()  # the endpoint does not stream
                reply = self._decoded(HttpResponse(status=200, headers=headers, body=await answer.read_all()))
            return with_limits(reply, headers, runtime.time(), age=runtime.now() - came)
        except GeneratorExit:  # dropped without being closed: nothing may be awaited any more
            answer.drop()
            raise
        finally:
            await answer.close()

    async def _read_events(self, answer: OpenAnswer, request: Request) -> Reply:
        assert request.deltas is not None
        parser, assembler = SSEParser(), StreamAssembler(self.model, self.on_length)
        while not assembler.done:
            try:
                chunk = await answer.read()
            except ConnectionFailedError as error:
                message = f"{self.model}'s stream broke off after {len(assembler.text)} characters: {error}"
                raise TruncatedStream(message, text=assembler.text) from error
            heard = assembler.pieces
            for event in parser.feed(chunk) if chunk else parser.end():
                for delta in assembler.feed(event.data, event.event):
                    await request.deltas.put(delta)
            if not chunk:
                return assembler.finish()
            if assembler.pieces > heard:
                answer.heard()
        await answer.read_out()
        return assembler.finish()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, base_url={self.base_url!r})"
