"""The ASGI application: who is let in, and what is told when something goes wrong."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM
from oarlock.runtime.ambient import current_async
from oarlock.serve.callers import ApiKey, KeyRing, TokenCheck
from oarlock.serve.chat.endpoint import ChatApi
from oarlock.serve.chat.fitting import Unsupported
from oarlock.serve.connection import ClientGone, Inlet, read_out
from oarlock.serve.errors import ApiError
from oarlock.serve.hosts import LOOPBACK_HOSTS, refuse_foreign_origin, refuse_other_hosts
from oarlock.serve.json import JsonAnswer
from oarlock.serve.record import RECORD, Record
from oarlock.serve.settings import Limits

__all__ = ["App", "create_app"]

_REQUEST_ID: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_MODEL_NAME: Final = re.compile(r"[\w.:@/+-]{1,200}", re.ASCII)
_HEADERS: Final = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_OPEN: Final = frozenset({"/health"})


def create_app(
    models: Mapping[str, BaseLLM],
    *,
    keys: Sequence[ApiKey] = (),
    tokens: TokenCheck | None = None,
    hosts: Sequence[str] = LOOPBACK_HOSTS,
    limits: Limits | None = None,
    unsupported: Unsupported = "refuse",
) -> App:
    """Return an ASGI application that speaks OpenAI's chat format in front of any LLM.

    Args:
        models: the LLMs by the names that clients give.
        keys: who is let in; none, and no `tokens`: everybody.
        tokens: reads tokens that are none of the keys, such as `JwtCheck(...)`.
        hosts: the names in `Host` that are answered, `"*"` for any. By default those of this machine only, so that no
            page of another site can reach it by a name of its own (DNS rebinding).
        limits: caps on sizes and times.
        unsupported: settings that an LLM does not take are an error, or with `"ignore"` left out and named in the header
            `x-oarlock-ignored` of the answer.

    Raises:
        ConfigurationError: there is no model, or a setting that cannot work.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> app = create_app({"mine": ScriptedLLM(["Hello"])})  # uvicorn my_module:app
    """
    limits = limits or Limits()
    _check_models(models)
    if unsupported not in ("refuse", "ignore"):
        raise ConfigurationError(f'create_app: unsupported must be "refuse" or "ignore", not {unsupported!r}.')
    if isinstance(hosts, str) or not hosts:
        raise ConfigurationError('create_app: hosts must be a list of names, such as ["llm.example.com"], or ["*"].')
    chat = ChatApi(models, limits, unsupported)
    routes = [
        Route("/v1/chat/completions", chat.complete, methods=["POST"]),
        Route("/v1/models", chat.list_models),
        Route("/v1/models/{model:path}", chat.one_model),
        Route("/health", _health),
    ]
    return App(Router(routes, redirect_slashes=False), KeyRing(keys, tokens), hosts, limits)


async def _health(_: Request) -> Response:
    return JsonAnswer({"status": "ok"})


def _check_models(models: Mapping[str, BaseLLM]) -> None:
    if not models:
        raise ConfigurationError("create_app: there is nothing to serve: give at least one model.")
    for name, llm in models.items():
        if not isinstance(name, str) or not _MODEL_NAME.fullmatch(name):
            raise ConfigurationError(f"A model's name has letters, digits and . : @ / + - _ only, unlike {name!r}.")
        if not isinstance(llm, BaseLLM):
            raise ConfigurationError(f"create_app: the model {name!r} is no LLM but a {type(llm).__name__}.")


class App:
    """An ASGI application around routes: lets in, counts, logs, and turns every error into an answer."""

    def __init__(self, router: Router, ring: KeyRing, hosts: Sequence[str], limits: Limits) -> None:
        self._router = router
        self._ring = ring
        self._hosts = frozenset(host.lower() for host in hosts)
        self._limits = limits
        self._running = 0
        self.draining = asyncio.Event()

    @property
    def asks_for_keys(self) -> bool:
        """Whether a client needs a key or token."""
        return self._ring.asked_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, Inlet(receive), send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._router(scope, receive, send)

    async def _answer(self, scope: Scope, inlet: Inlet, send: Send) -> None:
        request = Request({**scope, "app": self}, inlet)  # with an app, a router raises its 404 and 405
        record = request.scope[RECORD] = Record(request_id=_id_of(request))
        outlet = _Outlet(send, record)
        began = time.monotonic()
        self._running += 1
        try:
            await self._let_through(request, record, inlet, outlet)
        except ClientGone:
            pass
        except asyncio.CancelledError:  # by the server, which ends and has waited long enough
            if not outlet.began:
                await outlet.error(
                    ApiError(503, "The server is ending.", type="server_error", code="ending", close=True)
                )
        finally:
            self._running -= 1
            record.log(request.method, request.url.path, time.monotonic() - began)

    async def _let_through(self, request: Request, record: Record, inlet: Inlet, outlet: _Outlet) -> None:
        try:
            self._refuse(request)
            if request.url.path not in _OPEN:
                record.caller = self._ring.caller(request.headers.get("authorization"))
            await self._router(request.scope, inlet, outlet)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001  the last stop: whatever it is, the client gets an answer
            told = record.failed(_routing(error, request))
            if not outlet.began:
                told.close = told.close or not await read_out(request, inlet, self._limits)
                await outlet.error(told)

    def _refuse(self, request: Request) -> None:
        """Refuse what must not come in, whoever sends it."""
        refuse_other_hosts(request, self._hosts)
        refuse_foreign_origin(request)
        if self.draining.is_set():
            raise ApiError(503, "The server is ending.", type="server_error", code="ending", retry_after=1, close=True)
        if self._running > self._limits.requests_at_once:
            message = f"The server is at its limit of {self._limits.requests_at_once} requests at once."
            raise ApiError(503, message, type="server_error", code="busy", retry_after=1)


class _Outlet:
    """Sends an answer, with the headers that every answer has."""

    def __init__(self, send: Send, record: Record) -> None:
        self._send = send
        self._record = record
        self.began = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.began = True
            self._record.status = message["status"]
            own = [*_HEADERS, (b"x-request-id", self._record.request_id.encode())]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await self._send(message)

    async def error(self, told: ApiError) -> None:
        """Send an error."""
        await JsonAnswer(told.body(), told.status, told.headers())({"type": "http"}, _nothing, self)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _routing(error: Exception, request: Request) -> Exception:
    """Return a router's error as one of ours."""
    if not isinstance(error, HTTPException):
        return error
    if error.status_code == 405:
        message = f"{request.method} is not what this URL is for."
        return ApiError(405, message, code="method_not_allowed", headers=error.headers)
    return ApiError(error.status_code, "There is nothing at this URL.", code="unknown_url")


def _id_of(request: Request) -> str:
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else current_async().new_id()
