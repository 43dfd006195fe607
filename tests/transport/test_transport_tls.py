from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading

import pytest
import trustme

from oarlock.contract.errors import ConfigurationError, ConnectionFailedError, LLMTimeoutError
from oarlock.contract.http import HttpRequest
from oarlock.transport import Httpx2Transport, TransportOptions, httpx2_clients


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def bundle(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def context(authority):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    return made


def test_an_unknown_authority_is_not_trusted(caller, serve, context):
    server = serve(context=context)
    advice = re.escape('transport_options={"verify": "path/to/ca.pem"}')  # as every LLM takes it
    for use in (caller.send, caller.open):
        with pytest.raises(ConnectionFailedError, match=f"is not trusted.*{advice}") as caught:
            use(server.request())
        assert not caught.value.retryable
    assert server.heads == []


def test_an_authority_of_ones_own(caller, serve, context, bundle):
    server = serve(context=context)
    caller.configure(verify=bundle)
    assert caller.send(server.request()).body == b"ok"
    assert caller.read_all(caller.open(server.request())) == b"ok"


def test_a_certificate_for_another_host(caller, serve, authority, bundle):
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("models.example").configure_cert(other)
    server = serve(context=other)
    caller.configure(verify=bundle)
    with pytest.raises(ConnectionFailedError, match="certificate") as caught:
        caller.send(server.request())
    assert not caught.value.retryable


def test_no_verification_on_demand(caller, serve, context):
    caller.configure(verify=False)
    assert caller.send(serve(context=context).request()).body == b"ok"


def test_a_client_certificate(caller, serve, authority, context, bundle, tmp_path):
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = serve(context=context)
    identity = authority.issue_cert("client@models.example")
    chain, key = tmp_path / "client.pem", tmp_path / "client.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in identity.cert_chain_pems))
    identity.private_key_pem.write_to_path(key)
    caller.configure(verify=bundle)
    with pytest.raises(ConnectionFailedError):
        caller.send(server.request())
    caller.configure(verify=bundle, client_certificate=(str(chain), str(key)))
    assert caller.send(server.request()).body == b"ok"


def test_a_stalled_handshake_ends(caller, serve):
    server = serve()  # plain: it waits for a request that never comes
    request = server.request(timeout=0.3)
    request = type(request)(method="POST", url=request.url.replace("http:", "https:"), timeout=0.3)
    with pytest.raises(LLMTimeoutError, match=r"0\.3 s"):
        caller.send(request)


def test_a_handshake_that_drips_ends(caller):
    over = threading.Event()

    def drip(listener):
        with contextlib.suppress(OSError):
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")  # a long ServerHello, which never ends
                while not over.wait(0.02):
                    sock.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises((LLMTimeoutError, ConnectionFailedError)):
            caller.send(HttpRequest(method="POST", url=url, timeout=0.5))
        over.set()
        thread.join(30)


def test_time_that_ends_before_the_handshake_closes_the_connection(monkeypatch):
    """Of httpx2, blocking: the socket is connected by then, and nobody but the transport could close it."""
    connected = []
    connect = socket.create_connection

    def connect_and_be_late(*args, **kwargs):
        connected.append(connect(*args, **kwargs))
        return connected[-1]

    monkeypatch.setattr(socket, "create_connection", connect_and_be_late)
    monkeypatch.setattr(httpx2_clients, "monotonic", lambda: 1000.0 * len(connected))
    transport = Httpx2Transport(TransportOptions())
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.closing(transport):
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(LLMTimeoutError, match="connect"):
            transport.send(HttpRequest(method="POST", url=url, timeout=30.0))
        assert [sock.fileno() for sock in connected] == [-1]


@pytest.mark.parametrize("option", ["verify", "client_certificate"])
def test_certificate_files_that_cannot_be_used(caller, serve, option, tmp_path):
    (tmp_path / "empty.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    for path in (str(tmp_path / "missing.pem"), str(tmp_path / "empty.pem")):
        caller.configure(**{option: path if option == "verify" else (path, path)})
        with pytest.raises(ConfigurationError, match=option):
            caller.send(serve().request())
