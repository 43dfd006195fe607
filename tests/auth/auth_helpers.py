"""A pretended endpoint for sign-in flows, and tokens to show it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

from oarlock.auth import Auth
from oarlock.contract.auth import authorize
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.runtime import Runtime
from oarlock.testing import VirtualRuntime

REQUEST = HttpRequest(method="POST", url="https://llm.invalid/v1/chat", headers=(("accept", "*/*"),), body=b"{}")


class Endpoint:
    """Keeps what is sent to it, and answers with these statuses, then with 200; or as a function says."""

    def __init__(self, statuses: Iterable[int] | Callable[[HttpRequest], int] = ()) -> None:
        self.sent: list[HttpRequest] = []
        self._statuses = statuses if callable(statuses) else self._in_turn(list(statuses))

    @staticmethod
    def _in_turn(statuses: list[int]) -> Callable[[HttpRequest], int]:
        return lambda request: statuses.pop(0) if statuses else 200

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.sent.append(request)
        return HttpResponse(status=self._statuses(request))

    @property
    def tokens(self) -> list[str]:
        """The bearer tokens that came, in order."""
        return [header(request).removeprefix("Bearer ") for request in self.sent]


def header(request: HttpRequest, name: str = "authorization") -> str:
    """Return the only value of a header."""
    (value,) = (value for key, value in request.headers if key.lower() == name.lower())
    return value


def sign(auth: Auth, *, runtime: Any = None, request: HttpRequest = REQUEST, statuses: Iterable[int] = ()) -> Endpoint:
    """Send one request through a sign-in; return the endpoint that got it."""
    endpoint = Endpoint(statuses)
    (runtime or VirtualRuntime()).run(authorize_by(runtime or VirtualRuntime(), auth, endpoint, request))
    return endpoint


async def authorize_by(runtime: Runtime, auth: Auth, endpoint: Endpoint, request: HttpRequest = REQUEST) -> None:
    await authorize(runtime, auth, request, endpoint)


def jwt(**claims: Any) -> str:
    """Return a token of the right shape, with a signature that nobody checks."""
    return f"{_segment({'alg': 'none'})}.{_segment(claims)}.c2lnbmVk"


def _segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
