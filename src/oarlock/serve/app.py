"""The ASGI application: who is let in, and what is told when something goes wrong."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from oarlock.agents.crew import Crew
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
from oarlock.serve.openapi import Operation, routes
from oarlock.serve.operations import all_operations
from oarlock.serve.record import RECORD, Record
from oarlock.serve.runs.endpoint import RunsApi
from oarlock.serve.runs.runs import Runs
from oarlock.serve.settings import Limits

if TYPE_CHECKING:
    from oarlock.telemetry import Prometheus

__all__ = ["App", "create_app"]

_REQUEST_ID: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_SERVED_NAME: Final = re.compile(r"[\w.:@/+-]{1,200}", re.ASCII)
_HEADERS: Final = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


def create_app(
    models: Mapping[str, BaseLLM] | None = None,
    *,
    crews: Mapping[str, Crew] | None = None,
    keys: Sequence[ApiKey] = (),
    tokens: TokenCheck | None = None,
    hosts: Sequence[str] = LOOPBACK_HOSTS,
    limits: Limits | None = None,
    unsupported: Unsupported = "refuse",
    database: str | None = None,
    metrics: Prometheus | None = None,
) -> App:
    """Return an ASGI application that speaks OpenAI's chat format in front of any LLM, and runs crews.

    Args:
        models: the LLMs by the names that clients give.
        crews: the crews, likewise.
        keys: who is let in; none, and no `tokens`: everybody.
        tokens: reads tokens that are none of the keys, such as `JwtCheck(...)`.
        hosts: the names in `Host` that are answered, `"*"` for any. By default those of this machine only, so that no
            page of another site can reach it by a name of its own (DNS rebinding).
        limits: caps on sizes and times.
        unsupported: settings that an LLM does not take are an error, or with `"ignore"` left out and named in the header
            `x-oarlock-ignored` of the answer.
        database: the address of a database in which the crews' runs are recorded, such as `"sqlite:///runs.db"`: a run that
            was cut off goes on when it is begun again with its `run_id`. Needs `oarlock[durable]`.
        metrics: an `oarlock.telemetry.Prometheus`, whose registry is shown at `/metrics`, to those with a key if keys are
            asked for. What it counts is for you to say, with `instrument(metrics)`.

    Raises:
        ConfigurationError: there is nothing to serve, or a setting that cannot work.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> app = create_app({"mine": ScriptedLLM(["Hello"])})  # uvicorn my_module:app
    """
    limits, models, crews = limits or Limits(), models or {}, crews or {}
    if not models and not crews:
        raise ConfigurationError("create_app: there is nothing to serve: give at least one model or crew.")
    _check("model", models, BaseLLM)
    _check("crew", crews, Crew)
    if unsupported not in ("refuse", "ignore"):
        raise ConfigurationError(f'create_app: unsupported must be "refuse" or "ignore", not {unsupported!r}.')
    if isinstance(hosts, str) or not hosts:
        raise ConfigurationError('create_app: hosts must be a list of names, such as ["llm.example.com"], or ["*"].')
    ring, runs = KeyRing(keys, tokens), Runs(crews, limits, database)
    operations = all_operations(ChatApi(models, limits, unsupported), RunsApi(runs, limits), ring.asked_for, metrics)
    return App(operations, ring, hosts, limits, runs)


def _check(kind: str, served: Mapping[str, object], of: type) -> None:
    for name, one in served.items():
        if not isinstance(name, str) or not _SERVED_NAME.fullmatch(name):
            raise ConfigurationError(f"A {kind}'s name has letters, digits and . : @ / + - _ only, unlike {name!r}.")
        if kind == "crew" and "/" in name:
            raise ConfigurationError(f"A crew's name stands in a URL and has no slash, unlike {name!r}.")
        if not isinstance(one, of):
            raise ConfigurationError(
                f"create_app: the {kind} {name!r} is no {of.__name__}, but of the type {type(one).__name__}."
            )


class App:
    """An ASGI application around routes: lets in, counts, logs, and turns every error into an answer."""

    def __init__(
        self, operations: Sequence[Operation], ring: KeyRing, hosts: Sequence[str], limits: Limits, runs: Runs
    ) -> None:
        self._router = Router(routes(operations), redirect_slashes=False, lifespan=self._life)
        self._open = frozenset(one.path for one in operations if one.open)
        self._ring = ring
        self._runs = runs
        self._hosts = frozenset(host.lower() for host in hosts)
        self._limits = limits
        self._running = 0
        self.draining = asyncio.Event()

    @property
    def asks_for_keys(self) -> bool:
        """Whether a client needs a key or token."""
        return self._ring.asked_for

    def drain(self) -> None:
        """Take no new requests, and let go of those who follow runs."""
        self.draining.set()
        self._runs.hang_up()

    async def close(self, patience: float = 0.0) -> None:
        """Wait so many seconds for runs that go on, then cancel them."""
        await self._runs.close(patience)

    @asynccontextmanager
    async def _life(self, _: object) -> AsyncIterator[None]:
        """What another server than ours tells of its beginning and end."""
        yield
        self.drain()
        await self.close()

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

    def _is_open(self, request: Request) -> bool:
        """Return whether what is asked needs no key; the application may be mounted below a path of another."""
        scope = request.scope
        return scope["path"].removeprefix(scope.get("root_path", "")) in self._open

    async def _let_through(self, request: Request, record: Record, inlet: Inlet, outlet: _Outlet) -> None:
        try:
            self._refuse(request)
            if not self._is_open(request):
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
        if not self._is_open(request):  # a link may lead to the page
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
