"""`/v1/chat/completions` and `/v1/models`, in front of any LLM."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from oarlock.contract.context import scope
from oarlock.contract.errors import LLMError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Delta, Reply
from oarlock.contract.request import DeltaSink, Request
from oarlock.dialects.openai_chat.answering import Chunks, Envelope, completion, reply_of_error
from oarlock.runtime.ambient import current_async
from oarlock.serve.chat.asked import Asked, asked, parsed
from oarlock.serve.chat.fitting import Unsupported, fitted
from oarlock.serve.connection import read_json_body, unless_gone
from oarlock.serve.errors import ApiError
from oarlock.serve.events import EventAnswer, Put
from oarlock.serve.json import JsonAnswer, dumps
from oarlock.serve.pacing import within
from oarlock.serve.record import RECORD, Record
from oarlock.serve.settings import Limits

__all__ = ["ChatApi"]

_DONE: Final = b"data: [DONE]\n\n"


class ChatApi:
    """The endpoints of OpenAI's API that ask a model.

    Args:
        models: the LLMs by the names that clients give.
        limits: of the server.
        unsupported: what becomes of settings that an LLM does not take.
    """

    def __init__(self, models: Mapping[str, BaseLLM], limits: Limits, unsupported: Unsupported) -> None:
        self._models = dict(models)
        self._limits = limits
        self._unsupported = unsupported
        self._since = int(time.time())

    async def list_models(self, http: HttpRequest) -> Response:
        """Answer `GET /v1/models`."""
        return JsonAnswer({"object": "list", "data": [self._listed(name) for name in self._models]})

    async def one_model(self, http: HttpRequest) -> Response:
        """Answer `GET /v1/models/{model}`."""
        name = http.path_params["model"]
        self._llm(name)
        return JsonAnswer(self._listed(name))

    async def complete(self, http: HttpRequest) -> Response | ASGIApp:
        """Answer `POST /v1/chat/completions`."""
        wanted = asked(parsed(await read_json_body(http, self._limits)))
        llm = self._llm(wanted.model)
        http.scope[RECORD].model = wanted.model
        request, left_out = fitted(wanted, llm, self._unsupported)
        headers = {"x-oarlock-ignored": ", ".join(map(_shown, left_out))} if left_out else {}
        exchange = Exchange(http, llm, wanted, request, self._limits)
        if not wanted.stream:
            return JsonAnswer(await unless_gone(http.receive, exchange.whole()), headers=headers)
        return EventAnswer(exchange.streamed, self._limits.heartbeat_seconds, headers, exchange.broken_off)

    def _llm(self, name: str) -> BaseLLM:
        if name not in self._models:
            message = f"The model '{name[:64]}' does not exist. There are: {', '.join(self._models)}."
            raise ApiError(404, message, code="model_not_found", param="model")
        return self._models[name]

    def _listed(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._since, "owned_by": "oarlock"}


class Exchange:
    """One question of a client's, and its answer."""

    def __init__(self, http: HttpRequest, llm: BaseLLM, wanted: Asked, request: Request, limits: Limits) -> None:
        self._record: Record = http.scope[RECORD]
        self._llm = llm
        self._request = request
        self._limits = limits
        self._include_usage = wanted.include_usage
        self._envelope = Envelope(
            id=f"chatcmpl-{self._record.request_id}", created=int(time.time()), model=wanted.model
        )

    async def whole(self) -> dict[str, Any]:
        """Return the whole answer."""
        reply, refusal = await self._ask(self._request)
        return completion(self._envelope, reply, self._request, refusal)

    async def streamed(self, put: Put) -> None:
        """Send the answer piece by piece."""
        cuts = not self._llm.supports_stop_words()
        chunks = Chunks(envelope=self._envelope, request=self._request, include_usage=self._include_usage, cuts=cuts)
        sink = _Sink(put, chunks)
        reply, refusal = await self._ask(self._request.replace(deltas=sink))
        await sink.begin()
        for chunk in chunks.last(reply, refusal):
            await put(_event(chunk))
        await put(_DONE)

    def broken_off(self, error: Exception) -> bytes:
        """Return the event for an error that came after pieces of the answer."""
        return _event(self._record.failed(error).body())

    async def _ask(self, request: Request) -> tuple[Reply, str | None]:
        """Return the reply, and the model's words where it refused."""
        runtime = current_async()
        request = request.replace(deadline=runtime.now() + self._limits.answer_seconds)
        caller = self._record.caller
        with scope(run_id=self._record.request_id, user=caller.user):
            try:
                reply = await within(caller.policies, self._llm)(runtime, request)
                answer: tuple[Reply, str | None] = reply, None
            except LLMError as error:
                found = reply_of_error(error)
                if found is None:
                    raise
                answer = found
        self._record.usage = answer[0].usage
        return answer


class _Sink(DeltaSink):
    """Sends the pieces of an answer on as they come."""

    __slots__ = ("_begun", "_chunks", "_put")

    def __init__(self, put: Put, chunks: Chunks) -> None:
        super().__init__()
        self._put = put
        self._chunks = chunks
        self._begun = False

    async def put(self, delta: Delta) -> None:
        self.delivered += 1
        chunk = self._chunks.piece(delta)
        if chunk is not None:
            await self.begin()
            await self._put(_event(chunk))

    async def begin(self) -> None:
        """Send the first chunk, once."""
        if not self._begun:
            self._begun = True
            await self._put(_event(self._chunks.first()))


def _event(value: Any) -> bytes:
    return b"data: " + dumps(value) + b"\n\n"


def _shown(name: str) -> str:
    """Return a field's name as a header can carry it."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "?" for letter in name[:64])
