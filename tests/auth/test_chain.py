"""Several sign-ins at once: order, renewals, sign-ins of other libraries."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest
from auth_helpers import header, jwt, sign
from small_server import Give, Got, SmallServer, hello

from oarlock import ChatLLM
from oarlock.auth import ApiKey, BearerToken, Chain, Headers, HmacSigner, SessionLogin
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.http import HttpRequest

CANARY = "Zq7canary4vX9Lm20"


def test_the_last_one_signs_what_all_others_have_added() -> None:
    seen: list[HttpRequest] = []

    def mine(request: HttpRequest, now: float) -> dict[str, str]:
        seen.append(request)
        return {"x-signature": "s"}

    auth = Chain(ApiKey("k", header="x-key"), Chain(ApiKey("q", query="q"), BearerToken("t")), HmacSigner(sign=mine))
    (sent,) = sign(auth).sent
    assert [header(sent, name) for name in ("x-key", "authorization", "x-signature")] == ["k", "Bearer t", "s"]
    assert sent.url.endswith("?q=q")
    assert (header(seen[0], "x-key"), seen[0].url) == ("k", sent.url)


class Two:
    """Wants the newest of both credentials."""

    def __init__(self) -> None:
        self.good = {"x-a": "a1", "authorization": "Bearer b1"}
        self.asked = {"a": 0, "b": 0}

    def source(self, name: str) -> str:
        self.asked[name] += 1
        return f"{name}{self.asked[name]}"

    def __call__(self, got: Got) -> Give:
        return hello() if all(got.headers[name] == value for name, value in self.good.items()) else Give(status=401)


class HeaderToken(BearerToken):
    def sign(self, request: Any, token: Any) -> Any:
        return request.with_headers(("x-a", token.secret.reveal()))


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
@pytest.mark.parametrize("expired", ["x-a", "authorization"])
async def test_each_renews_its_own(expired: str, transport: str) -> None:
    gateway = Two()
    auth = Chain(HeaderToken(lambda: gateway.source("a")), BearerToken(lambda: gateway.source("b")))
    with SmallServer(gateway) as server:
        llm = ChatLLM("m", server.url, auth=auth, transport=transport, policies=())
        assert (llm.call("Hi"), await llm.acall("Hi"), len(server.got)) == ("Hello.", "Hello.", 2)
        if expired == "authorization":
            gateway.good[expired] = "Bearer b2"
        else:
            gateway.good = {"x-a": "a2", "authorization": "Bearer b2"}  # the inner one renews first
        assert await llm.acall("Hi") == "Hello."
        assert gateway.asked == ({"a": 1, "b": 2} if expired == "authorization" else {"a": 2, "b": 2})


def test_a_refusal_by_all_ends() -> None:
    auth = Chain(*(BearerToken(lambda: "t") for _ in range(3)))
    assert len(sign(auth, statuses=[401] * 100).sent) <= 8


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_sign_ins_of_other_libraries(library: Any) -> None:
    (sent,) = sign(Chain(ApiKey("k", header="x-key"), library.BasicAuth("me", "pw"))).sent
    assert (header(sent, "x-key"), header(sent)) == ("k", "Basic bWU6cHc=")

    class Refreshing(library.Auth):  # type: ignore[misc,name-defined]
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            answer = yield library.Request("POST", f"{request.url.scheme}://{request.url.netloc.decode()}/token")
            request.headers["authorization"] = f"Bearer {answer.json()['token']}"
            yield request

    with SmallServer(lambda got: Give(body={"token": "t"}) if got.path == "/token" else hello()) as server:
        auth = Chain(ApiKey("k", header="x-key"), Refreshing(), Headers({"x-last": "l"}))
        assert ChatLLM("m", server.url, auth=auth, policies=()).call("Hi") == "Hello."
        token, call = server.got
    assert not {"x-key", "x-last"} & set(token.headers)  # a request of its own gets no other's credential
    assert (call.headers["x-key"], call.headers["authorization"], call.headers["x-last"]) == ("k", "Bearer t", "l")


def test_a_session_and_a_key() -> None:
    def answer(got: Got) -> Give:
        if got.path == "/login":
            return Give(headers=[("Set-Cookie", "sid=1; Path=/")])
        return hello(f"{got.headers['cookie']} {got.headers['x-key']}")

    with SmallServer(answer) as server:
        auth = Chain(SessionLogin(f"{server.url}/login", {"p": "w"}), ApiKey("k", header="x-key"))
        assert ChatLLM("m", server.url, auth=auth).call("Hi") == "sid=1 k"
        assert "x-key" not in server.got[0].headers


def test_a_refusal_is_explained_by_who_knows() -> None:
    with SmallServer(lambda got: Give(status=401)) as server:
        auth = Chain(ApiKey("k", header="x-key"), BearerToken(jwt(exp=1)))
        with pytest.raises(AuthenticationError, match="The token expired at 1970-01-01"):
            ChatLLM("m", server.url, auth=auth, policies=()).call("Hi")
        with pytest.raises(AuthenticationError, match=r"The sign-in was Chain\(ApiKey"):
            ChatLLM("m", server.url, auth=Chain(ApiKey("k")), policies=()).call("Hi")


@pytest.mark.parametrize("wrong", [(), (None,), (ApiKey,), ("key",), (ApiKey("k"), object())])
def test_bad_settings(wrong: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"Chain: (give at least one|what was given is .* which is no sign-in)"
    ):
        Chain(*wrong)


def test_it_shows_nothing() -> None:
    auth = Chain(ApiKey(CANARY, header="x"), BearerToken(CANARY), httpx2.BasicAuth("me", CANARY))
    assert repr(auth) == "Chain(ApiKey(header='x'), BearerToken('…'), ForeignAuth(BasicAuth))"
    assert CANARY not in f"{vars(auth)!r}"
