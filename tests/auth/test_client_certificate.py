"""Mutual TLS against real servers on loopback: which certificate is shown, when it changes, and what goes wrong."""

from __future__ import annotations

import contextlib
import copy
import gc
import logging
import os
import pickle
import re
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from auth_helpers import Endpoint, authorize_by
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509 import load_pem_x509_certificates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_server import Give, Got, hello
from tls_server import TlsServer, issue, replace

from oarlock import ChatLLM
from oarlock.auth import BearerToken, Chain, ClientCertificate, ClientCredentials, OnBehalfOf
from oarlock.contract.context import scope
from oarlock.contract.errors import AuthenticationError, ConfigurationError, ConnectionFailedError, LLMError
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret
from oarlock.policies import Retry
from oarlock.testing import VirtualRuntime
from oarlock.transport import TransportOptions, make_transport

PASSWORD = "Zq7canary4vX9Lm20"
COLOURS = pytest.mark.parametrize("colour", ["call", "acall", "stream"])
TRANSPORTS = pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def pair(authority: trustme.CA) -> tuple[bytes, bytes]:
    return issue(authority, "crew-1")


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transports look at certificates for every request, not once a second."""
    monkeypatch.setattr("oarlock.transport.identity._BETWEEN_LOOKS", 0.0)


def written(folder: Path, pair: tuple[bytes, bytes]) -> tuple[Path, Path]:
    cert, key = folder / "client.pem", folder / "client.key"
    for path, data in zip((cert, key), pair, strict=True):
        replace(path, data)
    return cert, key


def encrypted(key: bytes, form: PrivateFormat = PrivateFormat.PKCS8, password: str = PASSWORD) -> bytes:
    encryption = BestAvailableEncryption(password.encode())
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, form, encryption)


def as_pkcs12(pair: tuple[bytes, bytes], password: str | None = PASSWORD) -> bytes:
    cert, *others = load_pem_x509_certificates(pair[0])
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password.encode())
    key: Any = load_pem_private_key(pair[1], None)
    return pkcs12.serialize_key_and_certificates(b"crew", key, cert, others, encryption)


def closing(got: Got) -> Give:
    return Give(headers=[("Connection", "close")], body=hello().body)


def llm_for(server: TlsServer, auth: Any, bundle: str, transport: Any = None, **more: Any) -> ChatLLM:
    settings = {"timeout": 30, "policies": (), "transport_options": {"verify": bundle}, **more}
    return ChatLLM("m", server.url, auth=auth, transport=transport, **settings)


async def ask(llm: ChatLLM, colour: str) -> str:
    if colour == "stream":
        return "".join(str(delta) for delta in llm.stream("Hi"))
    return str(llm.call("Hi") if colour == "call" else await llm.acall("Hi"))


# Shown


@TRANSPORTS
@COLOURS
async def test_it_is_shown(
    transport: str, colour: str, authority: trustme.CA, pair: tuple[bytes, bytes], bundle: str, tmp_path: Path
) -> None:
    with TlsServer(lambda got: hello(), authority, clients=authority) as server:
        llm = llm_for(server, ClientCertificate(*written(tmp_path, pair)), bundle, transport)
        assert await ask(llm, colour) == "Hello."
        assert server.shown == ["crew-1"]


@TRANSPORTS
def test_without_it_the_error_says_what_is_wanted(transport: str, authority: trustme.CA, bundle: str) -> None:
    with TlsServer(lambda got: hello(), authority, clients=authority) as server:
        with pytest.raises(
            ConnectionFailedError, match=r"wants a client certificate.*auth=ClientCertificate"
        ) as caught:
            llm_for(server, None, bundle, transport).call("Hi")
        assert not caught.value.retryable


@TRANSPORTS
@pytest.mark.parametrize(
    "form", ["one file", "bytes", "text", "encrypted", "traditional", "p12", "p12 open", "crlf", "rsa"]
)
def test_every_form(
    transport: str, form: str, authority: trustme.CA, pair: tuple[bytes, bytes], bundle: str, tmp_path: Path
) -> None:
    cert, key = pair
    (tmp_path / "both.pem").write_bytes(b"Bag attributes: none\n" + key + cert)
    (tmp_path / "encrypted.pem").write_bytes(encrypted(key))
    (tmp_path / "client.p12").write_bytes(as_pkcs12(pair))
    forms: dict[str, Any] = {
        "one file": lambda: ClientCertificate(str(tmp_path / "both.pem")),
        "bytes": lambda: ClientCertificate(cert, key),
        "text": lambda: ClientCertificate(cert.decode(), Secret(key.decode())),
        "encrypted": lambda: ClientCertificate(cert, tmp_path / "encrypted.pem", password=PASSWORD),
        "traditional": lambda: ClientCertificate(
            cert, encrypted(key, PrivateFormat.TraditionalOpenSSL), password=Secret(PASSWORD)
        ),
        "p12": lambda: ClientCertificate(tmp_path / "client.p12", password=lambda: PASSWORD),
        "p12 open": lambda: ClientCertificate(as_pkcs12(pair, None)),
        "rsa": lambda: ClientCertificate(*issue(authority, "crew-1", key_type=trustme.KeyType.RSA)),
        "crlf": lambda: ClientCertificate((key + cert).replace(b"\n", b"\r\n")),
    }
    with TlsServer(lambda got: hello(), authority, clients=authority) as server:
        assert llm_for(server, forms[form](), bundle, transport).call("Hi") == "Hello."
        assert server.shown == ["crew-1"]


def test_the_chain_comes_along(authority: trustme.CA, bundle: str, tmp_path: Path) -> None:
    between = authority.create_child_ca()
    pair = issue(between, "deep")
    with TlsServer(lambda got: hello(), authority, clients=authority) as server:
        for auth in (ClientCertificate(*pair), ClientCertificate(as_pkcs12(pair), password=PASSWORD)):
            for transport in ("pyreqwest", "httpx2"):
                assert llm_for(server, auth, bundle, transport).call("Hi") == "Hello."
    assert server.shown == ["deep"] * 4


@TRANSPORTS
async def test_with_a_token_in_a_chain(
    transport: str, authority: trustme.CA, pair: tuple[bytes, bytes], bundle: str
) -> None:
    """RFC 8705: the certificate is the client's proof at the token endpoint, and shown to the model's as well."""

    def tokens(got: Got) -> Give:
        assert got.form["client_id"] == "crew"
        return Give(body={"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600})

    def model(got: Got) -> Give:
        return hello(got.headers["authorization"])

    with (
        TlsServer(tokens, authority, clients=authority) as issuer,
        TlsServer(model, authority, clients=authority) as server,
    ):
        token = ClientCredentials(f"{issuer.url}/token", client_id="crew", client_auth="tls_client_auth")
        llm = llm_for(server, Chain(token, ClientCertificate(*pair)), bundle, transport)
        assert (llm.call("Hi"), await llm.acall("Hi")) == ("Bearer t0ken", "Bearer t0ken")
        assert (set(issuer.shown), len(issuer.got)) == ({"crew-1"}, 1)
        assert set(server.shown) == {"crew-1"}


@TRANSPORTS
def test_in_the_transports_options(
    transport: str, authority: trustme.CA, pair: tuple[bytes, bytes], bundle: str
) -> None:
    options = {"verify": bundle, "client_certificate": ClientCertificate(*pair)}
    with TlsServer(lambda got: hello(), authority, clients=authority) as server:
        assert (
            llm_for(server, BearerToken("t0ken"), bundle, transport, transport_options=options).call("Hi") == "Hello."
        )


@TRANSPORTS
def test_identities_are_not_mixed(transport: str, authority: trustme.CA, bundle: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = written(tmp_path, issue(authority, "first"))
    second = written(tmp_path / "other", issue(authority, "second"))
    with TlsServer(lambda got: hello(), authority) as server:
        server.context.verify_mode = server.context.verify_mode.CERT_OPTIONAL
        authority.configure_trust(server.context)
        llms = [
            llm_for(server, auth, bundle, transport)
            for auth in (ClientCertificate(*first), ClientCertificate(*second), None, ClientCertificate(*first))
        ]
        for llm in (*llms, *llms):
            llm.call("Hi")
        assert server.shown == ["first", "second", None]  # the fourth shares the first one's connection
    assert len({id(llm._transport) for llm in llms}) == 3


# Rotation


@TRANSPORTS
@COLOURS
async def test_a_new_certificate_is_shown_by_the_next_connection(
    transport: str, colour: str, authority: trustme.CA, bundle: str, tmp_path: Path, look_always: None
) -> None:
    with TlsServer(closing, authority, clients=authority) as server:
        llm = llm_for(server, ClientCertificate(*written(tmp_path, issue(authority, "old"))), bundle, transport)
        await ask(llm, colour)
        written(tmp_path, issue(authority, "new"))
        await ask(llm, colour)
        await ask(llm, colour)
        assert server.shown == ["old", "new", "new"]
        assert "CN=new" in repr(llm.auth)


def test_it_looks_once_a_second_at_most(
    authority: trustme.CA, tmp_path: Path, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("oarlock.transport.identity.time.monotonic", lambda: now)
    auth = ClientCertificate(*written(tmp_path, issue(authority, "old")))
    with TlsServer(closing, authority, clients=authority) as server:
        llm = llm_for(server, auth, bundle)
        llm.call("Hi")
        written(tmp_path, issue(authority, "new"))
        now = 1000.9
        llm.call("Hi")
        now = 1001.0
        llm.call("Hi")
        assert server.shown == ["old", "old", "new"]


@TRANSPORTS
def test_a_half_written_file_keeps_the_old_one(
    transport: str,
    authority: trustme.CA,
    bundle: str,
    tmp_path: Path,
    look_always: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cert, key = written(tmp_path, issue(authority, "old"))
    new_cert, new_key = issue(authority, "new")
    with TlsServer(closing, authority, clients=authority) as server:
        llm = llm_for(server, ClientCertificate(cert, key), bundle, transport)
        llm.call("Hi")
        cert.write_bytes(new_cert[:200])
        llm.call("Hi")
        llm.call("Hi")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "has no whole certificate" in caplog.text
        assert "CN=old" in caplog.text
        caplog.clear()
        cert.write_bytes(new_cert)  # the key is still the old one's
        llm.call("Hi")
        assert "the key does not belong to the first certificate in cert, that of CN=new" in caplog.text
        caplog.clear()
        key.unlink()
        llm.call("Hi")
        assert "client.key' cannot be read: No such file" in caplog.text
        caplog.clear()
        key.write_bytes(new_key)
        llm.call("Hi")
        assert server.shown == ["old"] * 5 + ["new"]
        assert not caplog.records


def test_a_password_that_could_not_be_had_is_asked_for_again(
    authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [PASSWORD, OSError("vault is sealed"), PASSWORD]

    def password() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    path = tmp_path / "client.p12"
    path.write_bytes(as_pkcs12(issue(authority, "old")))
    auth = ClientCertificate(path, password=password)
    replace(path, as_pkcs12(issue(authority, "new")))
    assert "old" in auth.latest().name
    assert "password cannot be had" in caplog.text
    assert "new" in auth.latest().name
    assert auth.latest() is auth.present


def test_a_link_that_points_elsewhere_is_a_change(authority: trustme.CA, tmp_path: Path) -> None:
    """As Kubernetes replaces mounted secrets."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, issue(authority, name))
    (tmp_path / "data").symlink_to("old")
    auth = ClientCertificate(tmp_path / "data" / "client.pem", tmp_path / "data" / "client.key")
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(tmp_path / "data")
    assert "CN=new" in auth.latest().name


# Refused


@TRANSPORTS
@COLOURS
async def test_a_refused_certificate_is_named_and_not_tried_for_ever(
    transport: str, colour: str, authority: trustme.CA, bundle: str
) -> None:
    stranger = issue(trustme.CA(), "stranger")
    with TlsServer(lambda got: hello(), authority, clients=authority) as server:
        llm = llm_for(server, ClientCertificate(*stranger), bundle, transport, policies=[Retry(base_delay=0.001)])
        with pytest.raises(ConnectionFailedError, match=r"client certificate of CN=stranger,.*good until 3000-01-01"):
            await ask(llm, colour)
        assert server.connections <= 3
        assert server.got == []


@TRANSPORTS
def test_an_expired_certificate_is_warned_of_and_named(
    transport: str, authority: trustme.CA, bundle: str, caplog: pytest.LogCaptureFixture
) -> None:
    times = {"not_before": datetime(2019, 1, 1, tzinfo=UTC), "not_after": datetime(2020, 2, 3, 4, 5, tzinfo=UTC)}
    auth = ClientCertificate(*issue(authority, "old", **times))
    with TlsServer(lambda got: hello(), authority, clients=authority) as server:
        llm = llm_for(server, auth, bundle, transport)
        for _ in range(2):
            with pytest.raises(ConnectionFailedError, match=r"CN=old,.*which expired on 2020-02-03 04:05 UTC\."):
                llm.call("Hi")
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "oarlock.auth")
    assert "which expired on 2020-02-03 04:05 UTC: servers will refuse it" in record.getMessage()


@TRANSPORTS
async def test_refused_and_replaced_meanwhile_it_is_tried_again(
    transport: str, authority: trustme.CA, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transport has just looked, and would not look for an hour: the refusal makes it look."""
    monkeypatch.setattr("oarlock.transport.identity._BETWEEN_LOOKS", 3600.0)
    auth = ClientCertificate(*written(tmp_path, issue(trustme.CA(), "stranger")))
    with TlsServer(closing, authority, clients=authority) as server:
        llm = llm_for(server, auth, bundle, transport)
        with pytest.raises(ConnectionFailedError, match="CN=stranger"):
            llm.call("Hi")
        written(tmp_path, issue(authority, "good"))
        with pytest.raises(ConnectionFailedError, match="A new one has taken its place meanwhile") as caught:
            llm.call("Hi")
        assert caught.value.retryable
        assert llm.call("Hi") == "Hello."
        written(tmp_path, issue(authority, "better"))
        assert await llm.acall("Hi") == "Hello."
        assert server.shown == ["good", "good"]


def test_a_401_names_the_certificate(authority: trustme.CA, pair: tuple[bytes, bytes], bundle: str) -> None:
    with TlsServer(lambda got: Give(status=401), authority, clients=authority) as server:
        for auth in (ClientCertificate(*pair), Chain(ClientCertificate(*pair), BearerToken("t0ken"))):
            with pytest.raises(ValueError, match=r"HTTP 401.*It was shown the client certificate of CN=crew-1"):
                llm_for(server, auth, bundle).call("Hi")


@TRANSPORTS
def test_other_failures_do_not_speak_of_the_certificate(
    transport: str, authority: trustme.CA, pair: tuple[bytes, bytes], bundle: str
) -> None:
    with TlsServer(lambda got: hello(), trustme.CA(), clients=authority) as server:  # whom we do not trust
        with pytest.raises(ConnectionFailedError, match="is not trusted") as caught:
            llm_for(server, ClientCertificate(*pair), bundle, transport).call("Hi")
        assert "crew-1" not in str(caught.value)


@TRANSPORTS
def test_a_token_endpoint_that_refuses_it(transport: str, authority: trustme.CA, bundle: str) -> None:
    stranger = ClientCertificate(*issue(trustme.CA(), "stranger"))
    with TlsServer(lambda got: Give(), authority, clients=authority) as server:
        token = ClientCredentials(f"{server.url}/token", client_id="crew", client_auth="tls_client_auth")
        with pytest.raises(LLMError, match=r"ClientCredentials.*the client certificate of CN=stranger"):
            llm_for(server, Chain(stranger, token), bundle, transport).call("Hi")
        assert server.got == []


# Settings that cannot work


def reported(error: BaseException) -> str:
    """Return what a tool that shows the variables of our own frames would report."""
    report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return "".join(part for part in report.split("  File ") if "src/oarlock" in part.partition("\n")[0])


def wrong(*values: Any, **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        ClientCertificate(*values, **more)
    shown = reported(caught.value)
    assert "client_certificate.py" in shown
    assert PASSWORD not in shown
    assert not re.search(r"[A-Za-z0-9+/]{50}", shown)  # a line of PEM
    return str(caught.value)


def test_what_cannot_be_used_is_said_at_once(
    authority: trustme.CA, pair: tuple[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cert, key = pair
    locked, store = encrypted(key), as_pkcs12(pair)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "long").write_bytes(b"x" * (1024 * 1024 + 1))
    (tmp_path / "der").write_bytes(b"\x30\x82\x01\x00abc")
    (tmp_path / "locked.key").write_bytes(locked)
    mangled = b"-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"
    assert "cert must be the path of a file, or its PEM text or bytes, not of the type int" in wrong(3)
    assert "cert must be the path of a file, or its PEM text or bytes, not empty" in wrong("")
    assert "key must be the path" in wrong(cert, 3)
    assert f"cert in '{tmp_path}/missing.pem' cannot be read: No such file or directory." in wrong("missing.pem")
    assert "key in" in wrong(cert, "missing.pem")
    assert "empty' is empty" in wrong("empty")
    assert "long' is longer than 1048576 bytes" in wrong("long")
    assert "cert is neither PEM (-----BEGIN CERTIFICATE-----) nor PKCS#12" in wrong(b"nonsense")
    assert "der' cannot be read as PKCS#12 (ValueError): give password= if it has one; a single" in wrong("der")
    assert "cert cannot be read as PKCS#12 (ValueError): check password" in wrong(store, password=PASSWORD + "!")
    assert "A PKCS#12 file has its key inside: leave key out" in wrong(store, key, password=PASSWORD)
    assert "has no whole private key (-----BEGIN PRIVATE KEY-----): give key=" in wrong(cert)
    assert "key has no whole private key (-----BEGIN PRIVATE KEY-----): give the file with" in wrong(cert, cert)
    assert "cert has no whole certificate (-----BEGIN CERTIFICATE-----)" in wrong(key)
    assert "cert has no certificate that can be read (ValueError)" in wrong(mangled, key)
    assert "the key of key in" in wrong(cert, "locked.key")
    assert "is encrypted: give password=" in wrong(cert, locked)
    assert "the key of key cannot be decrypted (ValueError): check password" in wrong(cert, locked, password="wrong")
    other = issue(authority, "crew-2")[1]
    assert "the key does not belong to the first certificate in cert, that of CN=crew-1" in wrong(cert, other)
    assert "the first certificate in the file" in wrong(cert + other)
    bad_key = b"-----BEGIN PRIVATE KEY-----\nbm9uc2Vuc2U=\n-----END PRIVATE KEY-----\n"
    assert "and its key cannot be used by TLS" in wrong(cert, bad_key)
    alone = pkcs12.serialize_key_and_certificates(
        b"crew", None, load_pem_x509_certificates(cert)[0], None, NoEncryption()
    )
    assert "PKCS#12 file without a certificate and its private key" in wrong(alone)


def test_passwords_that_cannot_be_had(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    async def later() -> str:
        return PASSWORD

    cert, key = pair[0], encrypted(pair[1])
    assert "password must be a text, a Path or a function, not an async function" in wrong(cert, key, password=later)
    assert "password must be a text, a Path or a function, not of the type int" in wrong(cert, key, password=3)
    missing = tmp_path / "missing"
    assert f"password in '{missing}' cannot be had: No such file or directory." in wrong(cert, key, password=missing)
    assert "password cannot be had: the function returned nothing" in wrong(cert, key, password=lambda: None)
    assert "password cannot be had: The function failed" in wrong(cert, key, password=lambda: {}["x"])
    (tmp_path / "password").write_text(PASSWORD + "\n")
    ClientCertificate(cert, key, password=tmp_path / "password")


def sign(auth: Any, *, url: str = "https://llm.example.com", user: Any = None) -> None:
    """Send a request through a sign-in that no LLM knows of."""
    with scope(user=user):
        VirtualRuntime().run(authorize_by(VirtualRuntime(), auth, Endpoint(), HttpRequest(method="POST", url=url)))


def test_places_where_it_would_never_be_shown(pair: tuple[bytes, bytes], authority: trustme.CA) -> None:
    auth = ClientCertificate(*pair)
    with pytest.raises(ConfigurationError, match="shown over https:// only: check base_url"):
        ChatLLM("m", "http://llm.example.com", auth=auth)
    with pytest.raises(ConfigurationError, match="in auth or in transport_options, not in both"):
        ChatLLM("m", "https://llm.example.com", auth=auth, transport_options={"client_certificate": ("a", "b")})
    with pytest.raises(ConfigurationError, match="not by a Client of your own"), httpx2.Client() as client:
        ChatLLM("m", "https://llm.example.com", auth=auth, transport=client)
    with pytest.raises(ConfigurationError, match="not by a ReqwestTransport of your own"):
        ChatLLM("m", "https://llm.example.com", auth=auth, transport=make_transport())
    with pytest.raises(ConfigurationError, match="one client certificate only, and two are given"):
        Chain(auth, Chain(BearerToken("t"), ClientCertificate(*issue(authority, "other"))))
    with pytest.raises(AuthenticationError, match="shown by the LLM's connections, which all users share"):
        sign(OnBehalfOf(lambda user: Chain(auth, BearerToken("t")), key=str), user="ada")
    with pytest.raises(ConfigurationError, match="over https:// only"):
        sign(auth, url="http://llm.example.com")
    with pytest.raises(ConfigurationError, match=r"or an oarlock\.auth\.ClientCertificate, not <class"):
        TransportOptions(client_certificate=ClientCertificate)  # type: ignore[arg-type]


def test_packages_that_are_missing(pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Plain PEM works without the extra; its subject is then not known."""
    store = as_pkcs12(pair)
    locked = encrypted(pair[1])
    for name in ("x509", "hazmat.primitives.serialization", "hazmat.primitives.serialization.pkcs12"):
        monkeypatch.setitem(__import__("sys").modules, f"cryptography.{name}", None)
    cert, key = written(tmp_path, pair)
    assert repr(ClientCertificate(cert, key)) == f"ClientCertificate({str(cert)!r})"
    assert repr(ClientCertificate(*pair)) == "ClientCertificate('the given text')"
    assert ClientCertificate(*pair).explain_refusal(0) == "It was shown the client certificate of the given text."
    assert "a PKCS#12 file needs the package cryptography: pip install 'oarlock[oauth]'" in wrong(store, password="x")
    assert "an encrypted key needs the package cryptography" in wrong(pair[0], locked, password="x")


# Secrets and copies


def test_the_key_and_the_password_show_nowhere(
    pair: tuple[bytes, bytes], authority: trustme.CA, bundle: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "client.p12").write_bytes(as_pkcs12(pair))
    auth = ClientCertificate(tmp_path / "client.p12", password=lambda: PASSWORD)
    key = load_pem_private_key(pair[1], None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    secrets = [PASSWORD, *(line for text in (key, pair[1]) for line in text.decode().splitlines() if len(line) > 40)]
    with TlsServer(lambda got: hello(), trustme.CA(), clients=authority) as server:
        for transport in ("pyreqwest", "httpx2"):
            llm = llm_for(server, auth, bundle, transport)
            with pytest.raises(ConnectionFailedError) as caught:
                llm.call("Hi")
            options = llm._transport.options  # type: ignore[attr-defined]
            texts = [reported(caught.value), repr(llm), repr(auth), repr(vars(auth)), repr(options), caplog.text]
            texts += [repr(auth.present), repr(vars(llm)), pickle.dumps(caught.value).decode("latin-1")]
            for text in texts:
                assert not any(secret in text for secret in secrets)
            assert any("CN=crew-1" in text for text in texts)
    assert [path.name for path in tmp_path.iterdir() if path.name not in {"ca.pem", "client.p12"}] == []


def test_pickles_hold_paths_only(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    cert, key = written(tmp_path, pair)
    llm = ChatLLM("m", "https://llm.example.com", auth=ClientCertificate(cert, key))
    dumped = pickle.dumps(llm)
    assert b"PRIVATE KEY" not in dumped
    there = pickle.loads(dumped)
    assert there.auth == llm.auth
    assert there._transport is llm._transport
    key.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        pickle.loads(dumped)
    for auth in (ClientCertificate(*pair), ClientCertificate(cert, encrypted(pair[1]), password=PASSWORD)):
        with pytest.raises(TypeError, match="Secret cannot be pickled"):
            pickle.dumps(auth)


def test_copies_and_equals(pair: tuple[bytes, bytes], authority: trustme.CA, tmp_path: Path) -> None:
    cert, key = written(tmp_path, pair)
    auth = ClientCertificate(cert, key)
    assert copy.deepcopy(auth) is auth
    assert auth == ClientCertificate(str(cert), str(key))
    assert hash(auth) == hash(ClientCertificate(str(cert), str(key)))
    assert auth != ClientCertificate(*pair)
    assert ClientCertificate(*pair) == ClientCertificate(*pair)
    assert ClientCertificate(*pair) != ClientCertificate(*issue(authority, "crew-1"))
    assert auth != "client.pem"


@pytest.mark.parametrize("memory", [True, False])
def test_no_key_is_left_on_the_disk(
    memory: bool, pair: tuple[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `ssl` reads is in memory; where there is no such file, it is the user's alone, and gone at once."""
    if memory and not hasattr(os, "memfd_create"):
        pytest.skip("this system has no files in memory")
    if not memory:
        monkeypatch.delattr("os.memfd_create", raising=False)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    seen: list[tuple[str, int]] = []

    class Context:
        def load_cert_chain(self, path: str, password: str) -> None:
            seen.append((Path(path).read_text(), Path(path).stat().st_mode & 0o777))
            seen.extend((found.name, found.stat().st_mode & 0o777) for found in folder.iterdir())

    identity = ClientCertificate(*pair).present
    identity.show_in(Context())  # type: ignore[arg-type]
    assert seen[0][0] == identity.pem.reveal()
    assert [mode for _, mode in seen] == ([0o777] if memory else [0o600, 0o700])
    assert list(folder.iterdir()) == []


def test_nothing_stays_open(pair: tuple[bytes, bytes]) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not show open files")
    auth = ClientCertificate(*pair)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        ClientCertificate(*pair)
        auth.latest()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_our_error_only(data: st.DataObject, pair: tuple[bytes, bytes]) -> None:
    original = data.draw(st.sampled_from([pair[0] + pair[1], as_pkcs12(pair, None), encrypted(pair[1]) + pair[0]]))
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(len(original), start + 200)))
    damaged = original[:start] + data.draw(st.binary(max_size=60)) + original[end:]
    with contextlib.suppress(ConfigurationError):
        ClientCertificate(damaged, password=PASSWORD)
