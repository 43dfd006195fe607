"""The clouds' own credentials: the real libraries, against servers on loopback."""

from __future__ import annotations

import copy
import datetime as dt
import logging
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from auth_helpers import sign
from azure.core.credentials import AccessToken
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt as google_jwt
from google.oauth2 import service_account
from small_server import Give, Got, SmallServer, hello

from oarlock import ChatLLM
from oarlock.auth import AzureCredential, GoogleCredentials
from oarlock.contract.errors import AuthenticationError, ConfigurationError, ConnectionFailedError
from oarlock.testing import LoopbackEndpoint, VirtualRuntime, require_bearer

CANARY = "Zq7canary4vX9Lm20"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def service(token_uri: str) -> Any:
    info = {
        "type": "service_account",
        "client_email": "robot@ours",
        "private_key": PEM.decode(),
        "token_uri": token_uri,
    }
    return service_account.Credentials.from_service_account_info(info)


class Google:
    """A token endpoint that checks the JWT, and a model that wants the newest token."""

    def __init__(self) -> None:
        self.claims: list[dict[str, Any]] = []

    def __call__(self, got: Got) -> Give:
        if got.path == "/token":
            self.claims.append(dict(google_jwt.decode(got.form["assertion"], certs=PUBLIC, verify=True, audience=None)))
            return Give(body={"access_token": f"{CANARY}{len(self.claims)}", "expires_in": 3600})
        right = got.headers["authorization"] == f"Bearer {CANARY}{max(2, len(self.claims))}"
        return hello() if right else Give(status=401)


@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_a_google_service_account(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    """Fetched once, and once more when it is refused."""
    caplog.set_level(logging.DEBUG)
    google = Google()
    with SmallServer(google) as server:
        auth = GoogleCredentials(service(f"{server.url}/token"), scopes=["ours"])
        llm = ChatLLM("m", server.url, auth=auth, policies=(), timeout=30)
        for _ in range(2):
            assert (llm.call("Hi") if colour == "call" else await llm.acall("Hi")) == "Hello."
        assert server.paths() == [*("/token", "/chat/completions") * 2, "/chat/completions"]
        assert google.claims[0]["scope"] == "ours"
        assert google.claims[0]["iss"] == "robot@ours"
    assert repr(auth) == "GoogleCredentials(Credentials)"
    assert CANARY not in f"{vars(auth)!r} {caplog.text}"
    assert "PRIVATE KEY" not in f"{vars(auth)!r} {caplog.text}"


def test_google_refuses() -> None:
    answer = Give(status=400, body={"error": "invalid_grant", "error_description": "no such account"})
    with (
        SmallServer(lambda got: answer) as server,
        pytest.raises(AuthenticationError, match=r"invalid_grant.*check GOOGLE_APPLICATION_CREDENTIALS"),
    ):
        ChatLLM("m", server.url, auth=GoogleCredentials(service(f"{server.url}/token")), policies=()).call("Hi")


def test_google_cannot_be_reached() -> None:
    with SmallServer(lambda got: Give()) as server:
        url = server.url
    credentials = SimpleNamespace(token=None, expiry=None, refresh=lambda request: request(url))
    with pytest.raises((AuthenticationError, ConnectionFailedError)):
        ChatLLM("m", url, auth=GoogleCredentials(credentials), policies=(), timeout=5).call("Hi")


def test_google_credentials_without_an_expiry_and_without_a_token() -> None:
    credentials = SimpleNamespace(token="t", expiry=None, refresh=lambda request: None)
    assert sign(GoogleCredentials(credentials)).tokens == ["t"]
    credentials.token = None
    with pytest.raises(AuthenticationError, match=r"No token could be had: .*of the type NoneType"):
        sign(GoogleCredentials(credentials))


def test_googles_own_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
    with pytest.raises(AuthenticationError, match=r"nowhere\.json.*check GOOGLE_APPLICATION_CREDENTIALS"):
        sign(GoogleCredentials())
    assert repr(GoogleCredentials()) == "GoogleCredentials(<default>)"


def test_googles_expiry_is_utc() -> None:
    runtime = VirtualRuntime()
    refreshed = []
    credentials = SimpleNamespace(token="t", expiry=None)

    def refresh(request: Any) -> None:
        refreshed.append(runtime.time())
        credentials.expiry = dt.datetime.fromtimestamp(runtime.time() + 1000, dt.UTC).replace(tzinfo=None)

    credentials.refresh = refresh
    auth = GoogleCredentials(credentials, margin=0)
    for _ in range(3):
        sign(auth, runtime=runtime)
        runtime.advance(600)
    assert [moment - refreshed[0] for moment in refreshed] == [0, 1200]


class Credential:
    """As azure-identity's: an object with `get_token`."""

    def __init__(self, lasts: float = 3600) -> None:
        self.asked: list[tuple[str, ...]] = []

    def get_token(self, *scopes: str) -> AccessToken:
        self.asked.append(scopes)
        return AccessToken(f"{CANARY}{len(self.asked)}", 4_000_000_000)


class AsyncCredential(Credential):
    async def get_token(self, *scopes: str) -> AccessToken:  # type: ignore[override]
        return super().get_token(*scopes)


class Wrapped(Credential):
    def get_token(self, *scopes: str) -> Any:
        return AsyncCredential.get_token(self, *scopes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Credential, AsyncCredential])
@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_azure_credentials_of_either_colour(kind: type[Credential], colour: str) -> None:
    credential = kind()
    good = [f"{CANARY}1"]

    def check(headers: Any) -> Any:
        return require_bearer(good[0])(headers)

    with LoopbackEndpoint("Hello.", auth=check) as endpoint:
        auth = AzureCredential(credential, scope="api://ours/.default")
        llm = ChatLLM("m", endpoint.url, auth=auth, policies=(), timeout=30)
        for _ in range(2):
            assert (llm.call("Hi") if colour == "call" else await llm.acall("Hi")) == "Hello."
        good[0] = f"{CANARY}2"
        assert (llm.call("Hi") if colour == "call" else await llm.acall("Hi")) == "Hello."
    assert credential.asked == [("api://ours/.default",)] * 2
    assert repr(auth) == f"AzureCredential({kind.__name__})"
    assert CANARY not in f"{vars(auth)!r}"


def test_an_azure_credential_that_hides_its_colour() -> None:
    assert sign(
        AzureCredential(SimpleNamespace(get_token=lambda scope: AsyncCredential().get_token(scope)))
    ).tokens == [f"{CANARY}1"]


class Failing:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get_token(self, scope: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (RuntimeError("please run az login"), "No token could be had: .*please run az login.*check the credential"),
        (None, "No token could be had"),
        (SimpleNamespace(token="", expires_on=1), "the credential is empty"),
        (SimpleNamespace(token="t", expires_on=None), "No token could be had"),
    ],
)
def test_azure_gives_no_token(answer: Any, words: str) -> None:
    with pytest.raises(AuthenticationError, match=words):
        sign(AzureCredential(Failing(answer)))


def test_azures_connection_that_fails_may_heal() -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        sign(AzureCredential(Failing(ConnectionResetError("gone"))))
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: GoogleCredentials("key.json"), "credentials must be of google-auth, not of the type str"),
        (lambda: GoogleCredentials(scopes="a"), "scopes must be a list of texts"),
        (lambda: GoogleCredentials(scopes=[""]), "scopes must be a list of texts"),
        (lambda: GoogleCredentials(margin=-1), "margin must be"),
        (lambda: AzureCredential("secret"), r"must have get_token\(scope\), and a str has none"),
        (lambda: AzureCredential(Credential(), scope=""), "scope must be a text such as"),
        (lambda: AzureCredential(Credential(), scope=["a"]), "scope must be a text such as"),  # type: ignore[arg-type]
    ],
)
def test_bad_settings(build: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build()


def test_without_one_azures_default_is_made_when_it_is_needed() -> None:
    assert repr(AzureCredential()) == "AzureCredential(<default>)"
    assert repr(pickle.loads(pickle.dumps(AzureCredential()))) == "AzureCredential(<default>)"


def test_credentials_that_were_given_are_not_pickled() -> None:
    """Google's pickle with their private key in the clear."""
    for auth in (GoogleCredentials(service("http://127.0.0.1:9/token")), AzureCredential(Credential())):
        with pytest.raises(TypeError, match="cannot be pickled, since it may hold a secret"):
            pickle.dumps(auth)
        assert copy.deepcopy(auth) is auth
