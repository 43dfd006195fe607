"""CPU microseconds that each sign-in adds to a call when its credential is at hand: the warm path."""

from __future__ import annotations

import argparse
import base64
import json
import time
from collections.abc import Callable
from typing import Any

from _measure import medians, print_costs

from oarlock.auth import (
    ApiKey,
    AwsSigV4,
    BearerToken,
    Chain,
    ClientCredentials,
    CommandToken,
    Headers,
    HmacSigner,
    OnBehalfOf,
    RefreshToken,
    SessionLogin,
    Token,
    TokenAuth,
    TokenExchange,
)
from oarlock.contract.auth import Auth, authorize
from oarlock.contract.context import scope
from oarlock.contract.http import Headers as HttpHeaders
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import Secret
from oarlock.runtime.blocking import BLOCKING

URL = "https://llm.example.com/v1/chat/completions"
REQUEST = HttpRequest(
    method="POST",
    url=URL,
    headers=(("content-type", "application/json"), ("accept", "application/json")),
    body=json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode(),
    timeout=60.0,
)
TOKEN_URL = "https://login.example.com/token"
TARGET = 15.0  # microseconds


async def send(request: HttpRequest) -> HttpResponse:
    if request.url == TOKEN_URL:
        return HttpResponse(status=200, body=b'{"access_token": "t0ken", "expires_in": 86400}')
    if request.url.endswith("/login"):
        return HttpResponse(status=200, headers=HttpHeaders([("Set-Cookie", "session=abc; Path=/")]))
    return _GOOD


_GOOD = HttpResponse(status=200)


class Own(TokenAuth):
    async def fetch(self, runtime: Any, send: Any, deadline: Any, old: Any) -> Token:
        return Token(secret=Secret("t0ken"), expires_at=runtime.time() + 86400)


def jwt() -> str:
    parts = ({"alg": "none"}, {"exp": time.time() + 86400})
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts) + ".c2ln"


AUTHS: dict[str, Callable[[], Auth]] = {
    "ApiKey": lambda: ApiKey("k"),
    "ApiKey in the query": lambda: ApiKey("k", query="key"),
    "Headers": lambda: Headers({"x-team": "a", "x-token": "b"}),
    "BearerToken, fixed": lambda: BearerToken("t0ken"),
    "BearerToken, function": lambda: BearerToken(jwt),
    "TokenAuth of one's own": Own,
    "ClientCredentials": lambda: ClientCredentials(TOKEN_URL, "app", "s3cret"),
    "RefreshToken": lambda: RefreshToken(TOKEN_URL, "app", "refresh"),
    "TokenExchange": lambda: TokenExchange(TOKEN_URL, "subject"),
    "CommandToken": lambda: CommandToken(["echo", "t0ken"]),
    "SessionLogin": lambda: SessionLogin("https://llm.example.com/login", {"user": "me"}),
    "OnBehalfOf(ClientCredentials)": lambda: OnBehalfOf(lambda user: ClientCredentials(TOKEN_URL, "app", "s3cret")),
    "Chain(ApiKey, ClientCredentials)": lambda: Chain(
        ApiKey("k", header="x-team"), ClientCredentials(TOKEN_URL, "app", "s3cret")
    ),
    "HmacSigner (signs)": lambda: HmacSigner("s3cret", key_id="team"),
    "AwsSigV4 (signs)": lambda: AwsSigV4("bedrock", "us-east-1", access_key_id="a" * 16, secret_access_key="s" * 32),
}


def case(auth: Auth, calls: int) -> Callable[[], int]:
    def run() -> int:
        for _ in range(calls):
            BLOCKING.run(authorize(BLOCKING, auth, REQUEST, send))
        return calls

    return run


def bare(calls: int) -> Callable[[], int]:
    def run() -> int:
        for _ in range(calls):
            BLOCKING.run(send(REQUEST))  # type: ignore[arg-type]
        return calls

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    cases = {"no sign-in": bare(options.calls)}
    for name, make in AUTHS.items():
        try:
            cases[name] = case(make(), options.calls)
        except (TypeError, ImportError) as error:
            print(f"{name}: left out ({error})")
    with scope(user="ada"):
        costs = medians(cases, repeats=options.repeats)
    floor = costs.pop("no sign-in")
    above = {name: cost - floor for name, cost in costs.items()}
    print_costs(f"The warm path (target: {TARGET:g} µs, signing aside)", above, unit="µs a call", factor=1e6)


if __name__ == "__main__":
    main()
