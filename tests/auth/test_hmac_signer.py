"""Signed requests, checked by a server that computes the signature itself from what arrived."""

from __future__ import annotations

import base64
import hashlib
import hmac
import pickle
from typing import Any

import pytest
from auth_helpers import header, sign
from hypothesis import given
from hypothesis import strategies as st
from small_server import Give, Got, SmallServer, hello

from oarlock import ChatLLM, HttpLLM
from oarlock.auth import HmacSigner
from oarlock.auth.wire_url import wire_url
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret
from oarlock.policies import Retry
from oarlock.testing import VirtualRuntime

CANARY = "Zq7canary4vX9Lm20"
KEY = "s3cret-ü"
TRANSPORTS = pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])


def checks(got: Got) -> Give:
    """Refuse what is not signed by KEY, over exactly what came."""
    digest = hashlib.sha256(got.body).hexdigest()
    text = f"{got.method}\n{got.path}\n{got.headers['date']}\n{digest}"
    signature = base64.b64encode(hmac.digest(KEY.encode(), text.encode(), "sha256")).decode()
    expected = f"HMAC-SHA256 KeyId=blue,Signature={signature}"
    right = got.headers["authorization"] == expected and got.headers["x-content-sha256"] == digest
    return hello() if right else Give(status=401, body="wrong signature")


class Raw(HttpLLM):
    """Posts to any path."""

    def encode(self, request: Any) -> bytes:
        return "ümläut \x00 body".encode()

    def decode(self, response: Any) -> str:
        return str(response.status)


PATHS = [
    "/v1",
    "/model/a.b-3:0/invoke",
    "/a b/ü",
    "/a/../b/./c",
    "/x//y",
    "/q?b=2&a=1&c",
    "/q?x=a b&y='ü'",
    '/[x]|^`{}"<>\\',
]


@TRANSPORTS
@pytest.mark.parametrize("path", PATHS)
async def test_what_arrives_is_what_was_signed(path: str, transport: str) -> None:
    with SmallServer(checks) as server:
        llm = Raw("m", server.url + path, auth=HmacSigner(KEY, key_id="blue"), transport=transport, policies=())
        assert llm.call("Hi") == "200"
        assert await llm.acall("Hi") == "200"


@TRANSPORTS
async def test_chat_and_streams(transport: str) -> None:
    with SmallServer(checks) as server:
        llm = ChatLLM("m", server.url, auth=HmacSigner(KEY, key_id="blue"), transport=transport, policies=())
        assert (llm.call("Hi"), await llm.acall("Hi")) == ("Hello.", "Hello.")
        assert "".join(str(delta) for delta in llm.stream("Hi")) == "Hello."


def test_each_attempt_is_signed_anew() -> None:
    statuses = [503, 200]
    with SmallServer(lambda got: hello() if statuses.pop(0) == 200 else Give(status=503)) as server:
        with VirtualRuntime() as runtime:
            runtime.advance(10)
            ChatLLM("m", server.url, auth=HmacSigner(KEY), policies=[Retry(retry_on=lambda error: 7.0)]).call("Hi")
        first, second = (got.headers["date"] for got in server.got)
    assert (first, second) == ("Thu, 01 Jan 2026 00:00:10 GMT", "Thu, 01 Jan 2026 00:00:17 GMT")


def test_a_refusal_says_what_to_look_at() -> None:
    with SmallServer(checks) as server:
        llm = ChatLLM("m", server.url, auth=HmacSigner("wrong", key_id="blue"), policies=())
        with pytest.raises(
            AuthenticationError, match=r"signed by HmacSigner\(key_id='blue'\) at 20.* UTC: check key, key_id"
        ):
            llm.call("Hi")
        assert len(server.got) == 1


RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "sha256", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        "Jefe",
        "what do ya want for nothing?",
        "sha256",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 131,
        "Test Using Larger Than Block-Size Key - Hash Key First",
        "sha256",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\x0b" * 20,
        "Hi There",
        "sha512",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    ),
]


@pytest.mark.parametrize(("key", "data", "algorithm", "signature"), RFC_4231)
def test_the_vectors_of_rfc_4231(key: Any, data: Any, algorithm: str, signature: str) -> None:
    auth = HmacSigner(
        key,
        algorithm=algorithm,
        encoding="hex",
        header="x-signature",
        template="{algorithm} {signature}",
        canonical=lambda request, date, digest: data,
        date_header=None,
        digest_header=None,
    )
    (sent,) = sign(auth).sent
    assert header(sent, "x-signature") == f"{algorithm.upper()} {signature}"
    assert {name for name, _ in sent.headers} == {"accept", "x-signature"}


def test_the_digests_header_has_the_algorithms_name() -> None:
    (sent,) = sign(HmacSigner("k", algorithm="sha512")).sent
    assert header(sent, "x-content-sha512") == hashlib.sha512(b"{}").hexdigest()
    assert header(sent, "date") == "Thu, 01 Jan 2026 00:00:00 GMT"


def test_a_function_of_ones_own() -> None:
    def mine(request: HttpRequest, now: float) -> dict[str, str | Secret]:
        return {"x-time": f"{now:.0f}", "x-sign": Secret(f"{request.method} {request.url} {len(request.body)}")}

    (sent,) = sign(HmacSigner(sign=mine)).sent
    assert header(sent, "x-time") == "1767225600"
    assert header(sent, "x-sign") == "POST https://llm.invalid/v1/chat 2"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda request, now: {}["nothing"], "The function of HmacSigner failed: .*KeyError"),
        (lambda request, now: None, "The function of HmacSigner failed"),
        (lambda request, now: {"x y": "z"}, "is no valid name of a header"),
        (lambda request, now: {"x": f"{CANARY}\r\n"[:-1] + "\ny"}, "cannot carry"),
        (lambda request: {}, "The function of HmacSigner failed"),
    ],
)
def test_a_function_that_fails(function: Any, words: str) -> None:
    with pytest.raises(AuthenticationError, match=words) as caught:
        sign(HmacSigner(sign=function))
    assert CANARY not in str(caught.value)


def test_a_canonical_function_that_fails() -> None:
    with pytest.raises(AuthenticationError, match="The function of HmacSigner failed"):
        sign(HmacSigner("k", canonical=lambda request: ""))  # type: ignore[arg-type,misc]


async def _async_sign(request: HttpRequest, now: float) -> dict[str, str]:
    return {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "give the key, or a sign function"),
        ({"key": "k", "sign": lambda request, now: {}}, "not both"),
        ({"key": ""}, "the key is empty"),
        ({"key": b""}, "the key is empty"),
        ({"key": 5}, "of the type int"),
        ({"key": "k", "key_id": 5}, "key_id must be a text"),
        ({"key": "k", "key_id": "a\nb"}, "key_id must be a text"),
        ({"key": "k", "algorithm": "md5"}, "algorithm must be one of sha256, sha384, sha512"),
        ({"key": "k", "encoding": "utf-8"}, 'encoding must be "base64" or "hex"'),
        ({"key": "k", "template": "{key}"}, "template must hold {signature}"),
        ({"key": "k", "template": "HMAC"}, "template must hold {signature}"),
        ({"key": "k", "template": "{signature}\r\nx-evil: 1"}, "template must hold {signature}"),
        ({"key": "k", "template": None}, "template must hold {signature}"),
        ({"key": "k", "header": "x:"}, "is no valid name of a header"),
        ({"key": "k", "date_header": "x y"}, "is no valid name of a header"),
        ({"key": "k", "digest_header": ""}, "is no valid name of a header"),
        ({"key": "k", "canonical": "x"}, "canonical must be an ordinary function, not str"),
        ({"sign": _async_sign}, "sign must be an ordinary function, not an async one"),
    ],
)
def test_bad_settings(settings: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        HmacSigner(**settings)


def test_it_shows_nothing() -> None:
    for auth in (HmacSigner(CANARY, key_id="blue"), HmacSigner(CANARY.encode(), key_id="blue")):
        assert repr(auth) == "HmacSigner(key_id='blue')"
        assert CANARY not in f"{vars(auth)!r}"
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(auth)


@given(st.text(max_size=30))
def test_a_url_that_is_encoded_once_stays_so(text: str) -> None:
    url = wire_url(f"https://llm.example.com/{text.replace('#', '')}")
    assert wire_url(url) == url
    assert url.isascii()
    assert " " not in url
