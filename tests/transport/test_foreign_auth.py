from __future__ import annotations

import asyncio

import httpx
import httpx2
import pytest

from oarlock.auth.foreign import ForeignAuth, is_foreign_auth
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import Headers, HttpRequest, HttpResponse
from oarlock.transport import ReqwestTransport

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def drive(flow, send):
    request = next(flow)
    while True:
        response = send(request)
        try:
            request = flow.send(response)
        except StopIteration:
            return response


def refreshing(library, token_url):
    """A sign-in that fetches a token in the middle, and looks at bodies."""

    class Refreshing(library.Auth):
        requires_request_body = True
        requires_response_body = True

        def __init__(self):
            self.token = "old-canary"
            self.seen = []

        def auth_flow(self, request):
            request.headers["Authorization"] = f"Bearer {self.token}"
            request.headers["X-Length"] = str(len(request.content))
            response = yield request
            if response.status_code == 401:
                self.seen.append(response.text)
                answer = yield library.Request("POST", token_url, data={"grant_type": "x"})
                self.token = answer.json()["access_token"]
                request.headers["Authorization"] = f"Bearer {self.token}"
                yield request

    return Refreshing()


@LIBRARIES
def test_a_token_refresh_in_the_middle(library, serve):
    def script(peer):
        if b"/token" in peer.head:
            return peer.answer(b'{"access_token": "new"}')
        return peer.answer(b"in") if b"Bearer new" in peer.head else peer.answer(b"out", status=b"401 No")

    server = serve(script)
    auth = refreshing(library, server.url + "/token")
    transport = ReqwestTransport()
    request = server.request(headers=(("X-A", "1"), ("x-a", "2")), body=b"payload")
    assert drive(ForeignAuth(auth).flow(request), transport.send).body == b"in"
    assert auth.seen == ["out"]
    assert server.bodies == [b"payload", b"grant_type=x", b"payload"]
    assert b"content-type: application/x-www-form-urlencoded" in server.heads[1].lower()
    for head in (server.heads[0], server.heads[2]):
        lines = head.lower().split(b"\r\n")
        assert b"x-length: 7" in lines
        assert [line for line in lines if line.startswith(b"x-a:")] == [b"x-a: 1", b"x-a: 2"]
        assert sum(line.startswith(b"host:") for line in lines) == 1
        assert sum(line.startswith(b"content-length:") for line in lines) == 1

    async def again():
        flow = ForeignAuth(auth).flow(request)
        return await transport.asend(next(flow))

    assert asyncio.run(again()).body == b"in"
    transport.close()


@LIBRARIES
def test_digest(library):
    flow = ForeignAuth(library.DigestAuth("user", "password")).flow(
        HttpRequest(method="GET", url="http://models.example/a?b=%20c", timeout=3)
    )
    first = next(flow)
    assert (first.url, first.timeout, "authorization" in dict(first.headers)) == (
        "http://models.example/a?b=%20c",
        3,
        False,
    )
    challenge = Headers([("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"'), ("content-encoding", "gzip")])
    second = flow.send(HttpResponse(status=401, headers=challenge, body=b"decoded already"))
    assert dict(second.headers)["authorization"].startswith('Digest username="user", realm="r"')
    with pytest.raises(StopIteration):
        flow.send(HttpResponse(status=200))


@LIBRARIES
def test_basic_and_function_auth(library):
    request = HttpRequest(method="POST", url="http://models.example/", body=b"x")
    signed = next(ForeignAuth(library.BasicAuth("user", "password")).flow(request))
    assert dict(signed.headers)["authorization"].startswith("Basic ")
    assert signed.body == b"x"


@LIBRARIES
def test_a_flow_that_is_given_up_is_closed(library):
    ended = []

    class Careful(library.Auth):
        def auth_flow(self, request):
            try:
                yield request
            finally:
                ended.append(True)

    flow = ForeignAuth(Careful()).flow(HttpRequest(method="GET", url="http://models.example/"))
    next(flow)
    flow.close()
    assert ended == [True]


@LIBRARIES
def test_its_own_errors_come_through(library):
    class Failing(library.Auth):
        def auth_flow(self, request):
            yield request
            raise LookupError("no key")

    flow = ForeignAuth(Failing()).flow(HttpRequest(method="GET", url="http://models.example/"))
    next(flow)
    with pytest.raises(LookupError, match="no key"):
        flow.send(HttpResponse(status=200))


@LIBRARIES
def test_what_is_one(library):
    auth = refreshing(library, "http://models.example/token")
    assert is_foreign_auth(auth)
    assert repr(ForeignAuth(auth)) == "ForeignAuth(Refreshing)"


@pytest.mark.parametrize("obj", [None, "key", object(), httpx.Client, ("user", "password")])
def test_what_is_none(obj):
    assert not is_foreign_auth(obj)
    with pytest.raises(ConfigurationError, match=r"is no httpx2\.Auth"):
        ForeignAuth(obj)
