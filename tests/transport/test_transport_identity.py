"""Client certificates that change while requests are on their way."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest
import trustme

from oarlock.auth import ClientCertificate

LONG = 30.0


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def demanding(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def certificate(caller, authority, tmp_path, monkeypatch):
    """Configure the caller with a certificate in one file; the test replaces it with `issue`."""
    monkeypatch.setattr("oarlock.transport.identity._BETWEEN_LOOKS", 0.0)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issue(authority, tmp_path, "first")
    caller.configure(verify=str(tmp_path / "ca.pem"), client_certificate=ClientCertificate(tmp_path / "client.pem"))
    return tmp_path


def issue(authority: trustme.CA, folder: Path, name: str) -> None:
    made = authority.issue_cert(f"{name}@example.com", common_name=name)
    (folder / "spare").write_bytes(made.private_key_and_cert_chain_pem.bytes())
    (folder / "spare").replace(folder / "client.pem")


def close(caller) -> None:
    caller._do(caller.transport.close, caller.transport.aclose)


def shown(peer) -> bytes:
    subject = dict(pair for (pair,) in peer.sock.getpeercert()["subject"])
    return subject["commonName"].encode()


def test_answers_on_their_way_are_finished(caller, serve, demanding, authority, certificate):
    """Twice replaced, so that the transport has forgotten what the stream came over."""
    go_on = threading.Event()

    def script(peer):
        if b"/stream" not in peer.head:
            return peer.answer(shown(peer), b"connection: close")
        peer.begin(b"connection: close")
        peer.chunk(shown(peer))
        go_on.wait(LONG)
        peer.chunk(b", still here")
        peer.send(b"0\r\n\r\n")
        return peer.cut()

    server = serve(script, demanding)
    stream = caller.open(server.request("/stream"))
    assert caller.read(stream) == b"first"
    for name in ("second", "third"):
        issue(authority, certificate, name)
        assert caller.send(server.request()).body == name.encode()
        assert caller.read_all(caller.open(server.request())) == name.encode()
    go_on.set()
    assert caller.read_all(stream) == b", still here"
    assert caller.read_all(caller.open(server.request("/stream"))) == b"third, still here"


def test_many_changes_leave_no_connection_behind(caller, serve, demanding, authority, certificate):
    server = serve(lambda peer: peer.answer(shown(peer)), demanding)
    for number in range(10):
        issue(authority, certificate, f"number-{number}")
        caller.send(server.request())
    close(caller)
    for _ in range(server.connections):
        assert server.gone.acquire(timeout=LONG)


def test_closed_and_used_again(caller, serve, demanding, authority, certificate):
    server = serve(lambda peer: peer.answer(shown(peer)), demanding)
    assert caller.send(server.request()).body == b"first"
    close(caller)
    issue(authority, certificate, "second")
    assert caller.send(server.request()).body == b"second"


def test_in_threads(caller, serve, demanding, authority, certificate):
    """Certificates change under load: no request fails, and the last certificate wins."""
    used = caller.transport
    server = serve(lambda peer: peer.answer(shown(peer), b"connection: close"), demanding)
    seen: list[bytes] = []
    failures: list[Exception] = []

    def work():
        try:
            seen.extend(used.send(server.request()).body for _ in range(10))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(5):
        issue(authority, certificate, f"number-{number}")
    for thread in threads:
        thread.join(LONG)
    assert not failures
    assert len(seen) == 80
    assert used.send(server.request()).body == b"number-4"
