"""Sign-ins from mappings and from the environment."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from auth_helpers import header, sign
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from small_server import Give, Got, SmallServer, hello

from oarlock import ChatLLM, auth
from oarlock.auth import from_config, from_env
from oarlock.auth.configured import KINDS
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.testing import VirtualRuntime

CANARY = "Zq7canary4vX9Lm20"
TOKEN_URL = "https://login.example.com/token"


def _p12() -> bytes:
    """Return a certificate and its key, encrypted with the canary."""
    issued = trustme.CA().issue_cert("client.example.com")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    (cert,) = x509.load_pem_x509_certificates(issued.cert_chain_pems[0].bytes())
    encryption = serialization.BestAvailableEncryption(CANARY.encode())
    return pkcs12.serialize_key_and_certificates(b"client", key, cert, None, encryption)  # type: ignore[arg-type]


P12 = _p12()


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_SECRET", CANARY)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "client.p12").write_bytes(P12)


GOOD: dict[str, dict[str, Any]] = {
    "api_key": {"key": "env:MY_SECRET", "header": "x-api-key"},
    "aws_sig_v4": {
        "service": "bedrock",
        "region": "eu-central-1",
        "access_key_id": "env:MY_SECRET",
        "secret_access_key": "file:secret",
        "session_token": "env:MY_SECRET",
    },
    "azure_credential": {"scope": "api://ours/.default"},
    "bearer_token": {"token": "file:secret", "margin": 5},
    "chain": {"auths": [{"type": "api_key", "key": "env:MY_SECRET"}, {"type": "azure_credential"}]},
    "client_certificate": {"cert": "file:client.p12", "password": "env:MY_SECRET"},
    "client_credentials": {
        "token_url": TOKEN_URL,
        "client_id": "env:MY_SECRET",
        "client_secret": "env:MY_SECRET",
        "scope": ["a", "b"],
        "extra": {"tenant": "t"},
    },
    "command_token": {"command": ["gcloud", "token"], "env": {"A": "text:a", "B": "env:MY_SECRET"}, "timeout": 3},
    "device_code": {"device_url": TOKEN_URL, "token_url": TOKEN_URL, "client_id": "c", "refresh_token": "file:secret"},
    "google_credentials": {"scopes": ["a"]},
    "headers": {"headers": {"x-team": "text:blue", "x-token": {"env": "MY_SECRET"}}},
    "hmac_signer": {"key": {"file": "secret"}, "key_id": "blue", "algorithm": "sha512"},
    "jwt_bearer": {"token_url": TOKEN_URL, "issuer": "me", "key": "file:key.pem", "claims": {"a": 1}},
    "negotiate": {"username": "me", "password": "env:MY_SECRET", "protocol": "ntlm"},
    "refresh_token": {"token_url": TOKEN_URL, "client_id": "c", "refresh_token": "env:MY_SECRET"},
    "session_login": {
        "login_url": "https://llm.example.com/login",
        "fields": {"user": "text:me", "password": "env:MY_SECRET"},
    },
    "token_exchange": {"token_url": TOKEN_URL, "subject_token": "file:secret", "subject_token_type": "jwt"},
}


def test_there_is_an_example_of_each() -> None:
    assert sorted(GOOD) == sorted(KINDS)


@pytest.mark.parametrize("name", GOOD)
def test_each_can_be_configured(name: str) -> None:
    made = from_config({"type": name, **GOOD[name]})
    assert type(made).__name__ == KINDS[name].name.partition(":")[2]
    assert CANARY not in f"{made!r} {vars(made)!r}"


@pytest.mark.parametrize("name", KINDS)
def test_the_table_fits_the_classes(name: str) -> None:
    """Whatever is called a secret, a source or code is an argument of the class; the class is public."""
    kind = KINDS[name]
    assert getattr(auth, kind.name.partition(":")[2]) is kind.load()
    arguments = set(inspect.signature(kind.load()).parameters)
    assert kind.secrets | kind.sources | kind.mappings | kind.code - {"stored"} <= arguments
    suspicious = {one for one in arguments if one.endswith(("secret", "password", "_token", "key", "credentials"))}
    assert suspicious <= kind.secrets | kind.sources | kind.code


def test_what_each_kind_of_reference_gives() -> None:
    command = [sys.executable, "-S", "-c", f"print({CANARY!r})"]
    for reference in (
        *("env:MY_SECRET", "file:secret", f"command:{json.dumps(command)}"),
        *({"env": "MY_SECRET"}, {"file": "secret"}, {"command": command}),
    ):
        for config in ({"type": "api_key", "key": reference}, {"type": "bearer_token", "token": reference}):
            assert sign(from_config(config)).tokens == [CANARY], reference


def test_a_bearer_token_in_a_file_is_read_again_when_it_is_refused() -> None:
    made = from_config({"type": "bearer_token", "token": "file:secret"})
    sign(made)
    Path("secret").write_text("newer\n")
    assert sign(made).tokens == [CANARY]
    assert sign(made, statuses=[401]).tokens == [CANARY, "newer"]
    Path("secret").unlink()
    with pytest.raises(AuthenticationError, match=r"auth\.token: the file secret cannot be read: No such file"):
        _refused(made)


def _refused(made: Any) -> None:
    runtime = VirtualRuntime()
    runtime.advance(100)
    sign(made, runtime=runtime, statuses=[401])


def test_fields_of_a_login_are_read_for_each() -> None:
    logins: list[dict[str, str]] = []

    def answer(got: Got) -> Give:
        if got.path == "/login":
            logins.append(got.form)
            return Give(headers=[("Set-Cookie", f"sid={len(logins)}; Path=/")])
        return hello() if len(logins) == 2 else Give(status=401)

    with SmallServer(answer) as server:
        fields = {"user": "text:me", "password": "file:secret"}
        made = from_config({"type": "session_login", "login_url": f"{server.url}/login", "fields": fields})
        assert ChatLLM("m", server.url, auth=made).call("Hi") == "Hello."
    assert logins == 2 * [{"user": "me", "password": CANARY}]


def test_a_field_of_a_login_that_a_program_prints() -> None:
    command = [sys.executable, "-S", "-c", f"print({CANARY!r})"]
    with SmallServer(
        lambda got: Give(headers=[("Set-Cookie", "s=1; Path=/")]) if got.path == "/login" else hello()
    ) as server:
        made = from_config(
            {"type": "session_login", "login_url": f"{server.url}/login", "fields": {"p": {"command": command}}}
        )
        ChatLLM("m", server.url, auth=made).call("Hi")
    assert server.got[0].form == {"p": CANARY}


def test_further_fields_may_be_references() -> None:
    with SmallServer(lambda got: Give(body={"access_token": "t"}) if got.path == "/token" else hello()) as server:
        made = from_config(
            {
                "type": "client_credentials",
                "token_url": f"{server.url}/token",
                "client_id": "c",
                "client_secret": "env:MY_SECRET",
                "client_auth": "client_secret_post",
                "extra": {"tenant": "t", "password": "env:MY_SECRET", "x": "file:secret"},
            }
        )
        ChatLLM("m", server.url, auth=made).call("Hi")
        form = server.got[0].form
    assert (form["tenant"], form["password"], form["x"], form["client_secret"]) == ("t", CANARY, CANARY, CANARY)


def test_an_oauth_client_with_a_key() -> None:
    config = {
        "type": "client_credentials",
        "token_url": TOKEN_URL,
        "client_id": "c",
        "client_auth": {"private_key_jwt": {"key": "file:key.pem", "key_id": "1"}},
    }
    assert repr(from_config(config)) == "ClientCredentials('https://login.example.com')"
    config["client_auth"] = {"private_key_jwt": {"key": "-----BEGIN"}}
    with pytest.raises(ConfigurationError, match=r"auth\.client_auth\.private_key_jwt\.key is a secret and must say"):
        from_config(config)
    config["client_auth"] = {"jwt": {}}
    with pytest.raises(ConfigurationError, match=r"auth\.client_auth must be a text, or \{private_key_jwt"):
        from_config(config)


WRONG: list[tuple[Any, str]] = [
    (None, "auth must be a mapping with the type of sign-in"),
    ({5: "x"}, "auth must be a mapping"),
    ({}, r"auth\.type: the type of sign-in is missing. There are: api_key, "),
    ({"type": "api_keys"}, r"auth\.type: 'api_keys' is no sign-in. Did you mean 'api_key'\?"),
    ({"type": ["x"]}, "is no sign-in. There are"),
    ({"type": "on_behalf_of"}, "on_behalf_of needs a function of the user"),
    ({"type": "api_key"}, "auth needs key"),
    ({"type": "client_credentials"}, "auth needs token_url and client_id"),
    ({"type": "api_key", "kee": "env:MY_SECRET"}, "auth has no argument 'kee'. Did you mean 'key'"),
    ({"type": "hmac_signer", "sign": "x"}, "auth has no argument 'sign'"),
    ({"type": "api_key", "key": CANARY}, r"auth\.key is a secret and must say where it is, as env:NAME or file:PATH"),
    ({"type": "api_key", "key": f"text:{CANARY}"}, r"auth\.key is a secret and must say"),
    ({"type": "api_key", "key": 5}, r"auth\.key is a secret and must say"),
    ({"type": "api_key", "key": {"env": "A", "file": "b"}}, r"auth\.key is a secret and must say"),
    ({"type": "api_key", "key": {}}, r"auth\.key is a secret and must say"),
    ({"type": "api_key", "key": "env:NOPE"}, r"auth\.key: the environment variable NOPE is not set"),
    ({"type": "api_key", "key": "env:"}, "say which, as env:NAME"),
    ({"type": "api_key", "key": {"file": 5}}, "say which, as file:PATH"),
    ({"type": "api_key", "key": "file:nope"}, r"auth\.key: the file nope cannot be read: No such file"),
    ({"type": "bearer_token", "token": "file:nope"}, r"auth\.token: the file nope cannot be read: No such file"),
    ({"type": "api_key", "key": "file:."}, "cannot be read: Is a directory"),
    ({"type": "api_key", "key": "file:binary"}, "it is no text in UTF-8"),
    ({"type": "api_key", "key": "file:empty"}, r"auth\.key: file:empty is empty"),
    ({"type": "api_key", "key": "env:EMPTY"}, r"auth\.key: env:EMPTY is empty"),
    ({"type": "api_key", "key": "command:pass show llm"}, "a command is a list, as in"),
    ({"type": "api_key", "key": {"command": "pass show llm"}}, "a command is a list, as in"),
    ({"type": "api_key", "key": {"command": []}}, "a command is a list, as in"),
    ({"type": "api_key", "key": 'command:["no-such-program"]'}, r"auth\.key: 'no-such-program' cannot be run"),
    ({"type": "api_key", "key": f'command:["{sys.executable}", "-c", ""]'}, "python' is empty"),
    ({"type": "api_key", "key": "env:MY_SECRET", "header": "x y"}, "auth: ApiKey: 'x y' is no valid name"),
    ({"type": "google_credentials", "scopes": 5}, "auth: an argument of GoogleCredentials has a value of the wrong"),
    ({"type": "headers", "headers": {"x": CANARY}}, r"auth\.headers\.x must say where its value is"),
    ({"type": "headers", "headers": {"x": "text:"}}, r"auth\.headers\.x must say where its value is"),
    ({"type": "headers", "headers": [CANARY]}, r"auth\.headers must be a mapping"),
    ({"type": "session_login", "login_url": TOKEN_URL, "fields": {"p": CANARY}}, r"auth\.fields\.p must say where"),
    ({**GOOD["client_credentials"], "type": "client_credentials", "extra": [CANARY]}, "extra must be a mapping"),
    (
        {**GOOD["client_credentials"], "type": "client_credentials", "extra": {"password": CANARY}},
        r"auth\.extra\.password is a secret",
    ),
    ({"type": "client_certificate", "cert": "nowhere.p12"}, r"cert in .*nowhere\.p12. cannot be read"),
    ({"type": "client_certificate", "cert": "file:nope.pem"}, r"auth: ClientCertificate: .*nope\.pem"),
    ({"type": "chain"}, r"auth\.auths must be a list of sign-ins"),
    ({"type": "chain", "auths": []}, r"auth\.auths must be a list of sign-ins"),
    ({"type": "chain", "auths": [{"type": "api_key"}]}, r"auth\.auths\[0\] needs key"),
    ({"type": "chain", "auth": []}, "auth has no argument 'auth'. Did you mean 'auths'"),
]


@pytest.mark.parametrize(("config", "words"), WRONG)
def test_what_is_wrong_is_said(config: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    Path("empty").touch()
    Path("binary").write_bytes(b"\xff\xfe")
    if isinstance(config, dict) and config.get("type") == "chain" and "auth" in config:
        config = {**config, "auths": [{}]}
    with pytest.raises(ConfigurationError, match=words) as caught:
        from_config(config)
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in str(error)
        error = error.__cause__ or error.__context__


# The environment.


def environment(monkeypatch: pytest.MonkeyPatch, prefix: str = "OARLOCK_", **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(prefix + name, value)


def test_secrets_may_stand_in_the_environment_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, AUTH="bearer_token", TOKEN=CANARY, MODEL="not ours", DEBUG="1")
    assert sign(from_env()).tokens == [CANARY]
    environment(monkeypatch, TOKEN="file:secret")
    assert sign(from_env()).tokens == [CANARY]


def test_texts_are_read_as_what_they_have_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"x-team": "blue", "x-token": "env:MY_SECRET", "x-more": "text:more"}
    environment(monkeypatch, "LLM_", AUTH="headers", HEADERS=json.dumps(given))
    (sent,) = sign(from_env("LLM_")).sent
    assert [header(sent, name) for name in given] == ["blue", CANARY, "more"]
    environment(
        monkeypatch,
        AUTH="client_credentials",
        TOKEN_URL="http://login.example.com",
        CLIENT_ID="c",
        CLIENT_SECRET=CANARY,
        ALLOW_HTTP="true",
        TIMEOUT="2.5",
        SCOPE="a b",
    )
    assert CANARY not in f"{vars(from_env())!r}"
    environment(
        monkeypatch,
        AUTH="chain",
        AUTHS='[{"type": "api_key", "key": "k1", "header": "x"}, {"type": "command_token", "command": ["a"]}]',
    )
    assert repr(from_env()) == "Chain(ApiKey(header='x'), CommandToken('a'))"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "OARLOCK_AUTH is not set: it names the sign-in, one of api_key"),
        ({"AUTH": "api-key"}, r"OARLOCK_AUTH: 'api-key' is no sign-in. Did you mean 'api_key'\?"),
        ({"AUTH": "api_key"}, r"OARLOCK_\* needs OARLOCK_KEY"),
        ({"AUTH": "api_key", "KEY": " "}, "OARLOCK_KEY is empty"),
        ({"AUTH": "api_key", "KEY": "env:NOPE"}, "OARLOCK_KEY: the environment variable NOPE is not set"),
        ({"AUTH": "api_key", "KEY": CANARY, "HEADER": "x y"}, r"OARLOCK_\*: ApiKey: 'x y' is no valid name"),
        (
            {"AUTH": "client_credentials", "TOKEN_URL": TOKEN_URL, "CLIENT_ID": "c", "CLIENT_SECRT": CANARY},
            r"OARLOCK_CLIENT_SECRT is no setting of client_credentials. Did you mean OARLOCK_CLIENT_SECRET\?",
        ),
        ({"AUTH": "command_token", "COMMAND": "gcloud token"}, "OARLOCK_COMMAND must be JSON"),
        ({"AUTH": "command_token", "COMMAND": '"gcloud token"'}, "command must be a list such as"),
        ({"AUTH": "chain", "AUTHS": '[{"type": "api_key"}]'}, r"OARLOCK_AUTHS\[0\] needs OARLOCK_AUTHS\[0\].key"),
    ],
)
def test_what_is_wrong_in_the_environment(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, **variables)
    with pytest.raises(ConfigurationError, match=words) as caught:
        from_env()
    assert CANARY not in str(caught.value)
