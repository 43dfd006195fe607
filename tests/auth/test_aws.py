"""AWS signatures: the published vectors, botocore's own signer over what arrived, keys that expire."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.session
import pytest
from auth_helpers import header, sign
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from small_server import Give, Got, SmallServer, hello

from oarlock import ChatLLM, HttpLLM
from oarlock.auth import AwsSigV4
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.http import HttpRequest

CANARY = "Zq7canary4vX9Lm20"
ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TRANSPORTS = pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
# From AWS's Signature Version 4 test suite: region us-east-1, service "service", 2015-08-30 12:36:00 UTC.
VECTORS = {
    "get-vanilla": ("GET", "/", (), b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-vanilla-query-order-key-case": (
        *("GET", "/?Param2=value2&Param1=value1", (), b""),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "post-vanilla": ("POST", "/", (), b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "post-x-www-form-urlencoded": (
        *("POST", "/", (("Content-Type", "application/x-www-form-urlencoded"),), b"Param1=value1"),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}


def fixed(**settings: Any) -> AwsSigV4:
    return AwsSigV4("bedrock", "eu-central-1", access_key_id=ID, secret_access_key=SECRET, **settings)


@pytest.mark.parametrize("name", VECTORS)
def test_the_published_vectors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, path, headers, body, signature = VECTORS[name]
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: datetime(2015, 8, 30, 12, 36))  # noqa: DTZ001
    auth = AwsSigV4("service", "us-east-1", access_key_id=ID, secret_access_key=SECRET)
    request = HttpRequest(method=method, url=f"https://example.amazonaws.com{path}", headers=headers, body=body)
    (sent,) = sign(auth, request=request).sent
    assert header(sent, "x-amz-date") == "20150830T123600Z"
    assert header(sent).endswith(f"Signature={signature}")


def checks(got: Got, secret: str = SECRET, token: str | None = None) -> Give:
    """Sign what arrived with botocore, as of the time that it says, and compare."""
    given = got.headers["authorization"]
    names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    headers = {name: got.headers[name] for name in names if name not in ("host", "x-amz-date", "x-amz-security-token")}
    request = AWSRequest(got.method, f"http://{got.headers['host']}{got.path}", headers, got.body)
    signer = botocore.auth.SigV4Auth(Credentials(ID, secret, token), "bedrock", "eu-central-1")
    request.context["timestamp"] = got.headers["x-amz-date"]
    request.headers["X-Amz-Date"] = got.headers["x-amz-date"]
    if token is not None:
        assert got.headers["x-amz-security-token"] == token
        request.headers["X-Amz-Security-Token"] = token
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    return hello() if given.endswith(signature) else Give(status=403, body={"message": "does not match"})


class Bedrock(HttpLLM):
    def encode(self, request: Any) -> dict[str, Any]:
        return {"messages": "Hällo"}

    def decode(self, response: Any) -> str:
        return str(response.status)


PATHS = [
    "/model/anthropic.claude-3:0/invoke",
    "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/invoke",
    "/a b/ü~!$&'()*+,;=@",
    "/x//y/../z/.",
    "/q?b=2&a=1&c",
    "/q?x=a b&y='ü'&z=%7E~",
]


@TRANSPORTS
@pytest.mark.parametrize("token", [None, "session-token"])
@pytest.mark.parametrize("path", PATHS)
async def test_what_arrives_is_what_was_signed(path: str, token: str | None, transport: str) -> None:
    with SmallServer(lambda got: checks(got, token=token)) as server:
        auth = fixed(session_token=token)
        llm = Bedrock("m", server.url + path, auth=auth, transport=transport, policies=())
        assert (llm.call("Hi"), await llm.acall("Hi")) == ("200", "200")


@TRANSPORTS
def test_streams(transport: str) -> None:
    with SmallServer(checks) as server:
        llm = ChatLLM("m", server.url, auth=fixed(), transport=transport, policies=())
        assert "".join(str(delta) for delta in llm.stream("Hi")) == "Hello."


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing of AWS but what the test puts there; the metadata service is out of reach."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "config").write_text("[profile blue]\nregion = eu-central-1\n")
    write(tmp_path, SECRET)
    return tmp_path


def write(home: Path, secret: str) -> None:
    (home / "credentials").write_text(f"[blue]\naws_access_key_id = {ID}\naws_secret_access_key = {secret}\n")


EXPIRED = Give(status=403, body={"__type": "ExpiredTokenException", "message": "The security token has expired"})


def test_a_profile_has_keys_and_region(home: Path) -> None:
    with SmallServer(checks) as server:
        llm = ChatLLM("m", server.url, auth=AwsSigV4("bedrock", profile="blue"), policies=())
        assert llm.call("Hi") == "Hello."


@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_keys_that_have_expired_are_looked_for_once_more(home: Path, colour: str) -> None:
    good = [SECRET]

    def answer(got: Got) -> Give:
        given = checks(got, good[0])
        return given if given.status == 200 else EXPIRED

    with SmallServer(answer) as server:
        llm = ChatLLM("m", server.url, auth=AwsSigV4("bedrock", profile="blue"), policies=())
        llm.call("Hi")
        good[0] = "another-secret"
        write(home, "another-secret")  # the person has logged in again
        assert (llm.call("Hi") if colour == "call" else await llm.acall("Hi")) == "Hello."
        assert len(server.got) == 3


def test_the_same_expired_keys_are_not_sent_again(home: Path) -> None:
    with SmallServer(lambda got: EXPIRED) as server:
        llm = ChatLLM("m", server.url, auth=AwsSigV4("bedrock", profile="blue"), policies=())
        with pytest.raises(AuthenticationError, match="there are no others: log in again"):
            llm.call("Hi")
        assert len(server.got) == 1


def test_wrong_fixed_keys_cost_one_request() -> None:
    with SmallServer(lambda got: EXPIRED) as server:
        llm = ChatLLM("m", server.url, auth=fixed(), policies=())
        with pytest.raises(Exception, match="HTTP 403"):
            llm.call("Hi")
        assert len(server.got) == 1


def test_a_refusal_says_what_to_look_at() -> None:
    with SmallServer(lambda got: Give(status=401)) as server:
        llm = ChatLLM("m", server.url, auth=fixed(), policies=())
        with pytest.raises(AuthenticationError, match="check the keys, service, region, and the clock"):
            llm.call("Hi")


def test_a_session_of_ones_own() -> None:
    session = botocore.session.Session()
    session.set_credentials(ID, SECRET, "session-token")
    session.set_config_variable("region", "eu-central-1")
    with SmallServer(lambda got: checks(got, token="session-token")) as server:
        llm = ChatLLM("m", server.url, auth=AwsSigV4("bedrock", session=session), policies=())
        assert llm.call("Hi") == "Hello."


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"profile": "red"}, "no AWS credentials could be had: .*red"),
        ({}, "no region is given or configured"),
        ({"region": "eu-central-1"}, "no AWS credentials were found: log in, or pass keys"),
    ],
)
def test_what_is_not_there(home: Path, settings: Any, words: str) -> None:
    with pytest.raises(AuthenticationError, match=words) as caught:
        sign(AwsSigV4("bedrock", **settings))
    assert str(caught.value).count("AwsSigV4") == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"service": ""}, "service must be a text"),
        ({"service": None}, "service must be a text"),
        ({"region": 5}, "region must be a text"),
        ({"profile": ""}, "profile must be a text"),
        ({"access_key_id": "a"}, "belong together"),
        ({"secret_access_key": "a"}, "belong together"),
        ({"session_token": "a"}, "session_token belongs to"),
        ({"access_key_id": "a", "secret_access_key": "b"}, "give the region"),
        ({"access_key_id": "", "secret_access_key": "b", "region": "r"}, "access_key_id: the credential is empty"),
        ({"access_key_id": "a", "secret_access_key": 5, "region": "r"}, "secret_access_key: .*of the type int"),
        ({"access_key_id": "a", "secret_access_key": "b", "profile": "c"}, "not more than one"),
        ({"session": "blue"}, "session must be of botocore"),
    ],
)
def test_bad_settings(settings: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        AwsSigV4(**{"service": "bedrock", **settings})


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_it_shows_nothing(logs: pytest.LogCaptureFixture) -> None:
    auth = AwsSigV4("s", "r", access_key_id=CANARY, secret_access_key=CANARY, session_token=CANARY)
    sign(auth)
    assert repr(auth) == "AwsSigV4('s', 'r')"
    assert CANARY not in f"{vars(auth)!r} {vars(auth._keys)!r}"
    assert CANARY not in logs.text
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(auth)
    assert pickle.loads(pickle.dumps(AwsSigV4("s", "r"))).service == "s"


def test_a_session_is_not_pickled() -> None:
    session = botocore.session.Session()
    session.set_credentials(ID, CANARY)
    auth = AwsSigV4("s", "r", session=session)
    with pytest.raises(TypeError, match="cannot be pickled, since it may hold a secret"):
        pickle.dumps(auth)
    assert copy.deepcopy(auth) is auth
