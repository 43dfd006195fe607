"""What the doctor says of TLS: every wrong certificate by its own name."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from doctor_gateway import Gateway, serving
from hypothesis import given
from hypothesis import strategies as st
from test_doctor import look, only_failure

from oarlock.auth import ClientCertificate
from oarlock.cli.doctor.certificate import read_certificate
from oarlock.cli.doctor.report import Examination
from oarlock.testing import faults


class Authority:
    """A company's own authority, with its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA(organization_name="Example Corp")
        self.pem = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.pem)

    def server(self, *names: str, days: int = 90, clients: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        end = datetime.now(UTC) + timedelta(days=days, hours=1)
        begin = min(datetime.now(UTC), end) - timedelta(days=30)
        self.ca.issue_cert(*names, not_before=begin, not_after=end).configure_cert(context)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        return context

    def client(self, ca: trustme.CA | None = None) -> tuple[str, str]:
        leaf = (ca or self.ca).issue_cert("me@example.com")
        certificate, key = self.folder / "me.pem", self.folder / "me.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def at(gateway: Gateway, verify: str | bool, **options: object) -> Examination:
    return look(gateway.url, transport_options={"verify": verify, **options})


class TestGood:
    def test_the_certificate_is_described(self, authority: Authority) -> None:
        with serving(Gateway(), authority.server("127.0.0.1", "localhost")) as gateway:
            found = at(gateway, authority.pem)
        assert found.ok, found.failures
        saw = found["tls"].saw
        assert "TLS 1.3; certificate for 127.0.0.1, localhost by Example Corp, good until" in saw
        assert "(90 days)" in saw
        assert f"checked against {authority.pem} and the system's store" in saw

    def test_one_that_expires_soon(self, authority: Authority) -> None:
        with serving(Gateway(), authority.server("127.0.0.1", days=5)) as gateway:
            found = at(gateway, authority.pem)
        assert (found["tls"].outcome, found.ok) == ("warning", True)
        assert "(5 days)" in found["tls"].saw
        assert "have it renewed" in found["tls"].advice

    def test_unchecked(self, authority: Authority) -> None:
        with serving(Gateway(), authority.server("127.0.0.1")) as gateway:
            found = at(gateway, False)
        assert (found["tls"].outcome, found.ok) == ("warning", True)
        assert "certificates are not checked" in found["tls"].saw

    def test_a_client_certificate_that_is_wanted_and_given(self, authority: Authority) -> None:
        with serving(Gateway(), authority.server("127.0.0.1", clients=True)) as gateway:
            found = at(gateway, authority.pem, client_certificate=authority.client())
        assert found.ok, found.failures
        assert f"It is shown the client certificate of {authority.folder}/me.pem" in found["tls"].saw


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("tls_self_signed", "is self-signed: nobody vouches for it"),
        ("tls_expired", "expired on 20"),
        ("tls_not_yet_valid", "is not valid before 20"),
        ("tls_wrong_host", "is not for the host name 127.0.0.1: it is for models.example"),
        ("tls_unknown_authority", "is from an unknown authority (CA)"),
        ("tls_no_intermediate", "the server may leave out the intermediate certificate"),
        ("tls_client_certificate", "demands a client certificate, and none was given"),
        ("plain_http_on_tls_port", "does not speak TLS"),
        ("tls_1_0_only", "too old a TLS"),
        ("tls_1_1_only", "too old a TLS"),
        ("tls_ssl_3_only", "too old a TLS"),
        ("tls_handshake_hang", "did not finish the TLS handshake within 0.5 s"),
        ("tls_reset_in_handshake", "reset the connection"),
        ("tls_close_in_handshake", "ended the handshake"),
        ("tls_alert", "internal error"),
        ("tls_garbage", "ended the handshake"),
    ],
)
def test_what_is_wrong_is_named(fault: str, said: str) -> None:
    with faults.serve(fault) as server:
        found = look(server.url, timeout=0.5 if "hang" in fault else 10, transport_options={"verify": server.ca_pem})
        assert server.requests == []
    assert said in only_failure(found, "tls")
    assert found["chat"].saw == "Not tried, since tls failed."


class TestClientCertificates:
    def test_one_that_the_server_does_not_know(self, authority: Authority) -> None:
        with serving(Gateway(), authority.server("127.0.0.1", clients=True)) as gateway:
            found = at(gateway, authority.pem, client_certificate=authority.client(trustme.CA()))
        assert "does not accept the client certificate" in only_failure(found, "tls")

    def test_one_that_is_the_sign_in(self, authority: Authority) -> None:
        with serving(Gateway(), authority.server("127.0.0.1", clients=True)) as gateway:
            auth = ClientCertificate(*map(Path, authority.client()))
            found = look(gateway.url, auth=auth, transport_options={"verify": authority.pem})
        assert found.ok, found.failures
        assert "It is shown the client certificate of" in found["tls"].saw
        assert "a cookie or certificate may do" in found["sign_in"].saw

    def test_tls_1_2_demands_it_in_the_handshake(self, authority: Authority) -> None:
        context = authority.server("127.0.0.1", clients=True)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with serving(Gateway(), context) as gateway:
            found = at(gateway, authority.pem)
        assert "demands a client certificate" in only_failure(found, "tls")

    def test_files_that_do_not_go_together(self, authority: Authority, tmp_path: Path) -> None:
        certificate, _ = authority.client()
        other = tmp_path / "other.key"
        trustme.CA().issue_cert("x").private_key_pem.write_to_path(str(other))
        with serving(Gateway(), authority.server("127.0.0.1")) as gateway:
            found = at(gateway, authority.pem, client_certificate=(certificate, str(other)))
        assert "The client certificate cannot be used: key values mismatch" in only_failure(found, "tls")

    def test_a_file_that_is_not_there(self, authority: Authority) -> None:
        with serving(Gateway(), authority.server("127.0.0.1")) as gateway:
            found = at(gateway, authority.pem, client_certificate=("nope.pem", "nope.key"))
        assert "cannot be used: client_certificate: cannot read 'nope.pem'" in only_failure(found, "tls")


def test_a_ca_bundle_that_is_none(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing")
    with serving(Gateway(), authority.server("127.0.0.1")) as gateway:
        found = at(gateway, str(path))
    assert "The CA bundle cannot be used" in only_failure(found, "tls")


def test_through_a_proxy_of_https(authority: Authority) -> None:
    with faults.serve("answer") as proxy:
        url = proxy.url.removesuffix("/v1").replace("http://", "https://")
        found = look("https://127.0.0.1:1/v1", timeout=1, transport_options={"proxy": url})
    assert found["tls"].outcome == "skipped"
    assert "within the TLS of an https:// proxy" in found["tls"].saw


class _Tunnel(socketserver.StreamRequestHandler):
    """A proxy's one way: `CONNECT`, with a password."""

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.rfile.readline()
        if b"Proxy-Authorization: Basic bWU6cGE1NXdvcmQ=" not in head.replace(
            b"proxy-authorization", b"Proxy-Authorization"
        ):
            self.wfile.write(b"HTTP/1.1 407 Who are you\r\n\r\n")
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        self.wfile.write(b"HTTP/1.1 200 Go on\r\n\r\n")
        with socket.create_connection((host, int(port))) as there:
            back = threading.Thread(target=_copy, args=(there, self.connection), daemon=True)
            back.start()
            _copy(self.connection, there)
            back.join(5)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def test_through_a_proxys_tunnel(authority: Authority) -> None:
    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Proxy(("127.0.0.1", 0), _Tunnel) as proxy, serving(Gateway(), authority.server("127.0.0.1")) as gateway:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        where = f"127.0.0.1:{proxy.server_address[1]}"
        try:
            found = at(gateway, authority.pem, proxy=f"http://me:pa55word@{where}")
            refused = at(gateway, authority.pem, proxy=f"http://{where}")
        finally:
            proxy.shutdown()
    assert found.ok, found.failures
    assert found["tls"].outcome == "ok"
    assert "put user and password into the proxy's URL" in only_failure(refused, "connection")


class TestReadingCertificates:
    def test_it_says_the_same_as_cryptography(self) -> None:
        from cryptography import x509

        begin, end = datetime(2045, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2055, 6, 7, tzinfo=UTC)
        leaf = trustme.CA(organization_name="Example Corp").issue_cert(
            "llm.example.com", "10.0.0.1", "::1", not_before=begin, not_after=end
        )
        theirs = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
        ours = read_certificate(ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode()))
        assert ours is not None
        assert set(ours.names) == {"llm.example.com", "10.0.0.1", "::1"}
        assert ours.issuer == "Example Corp"
        assert (ours.since, ours.until) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)

    @given(st.binary(max_size=200))
    def test_garbage_is_none(self, der: bytes) -> None:
        assert read_certificate(der) is None

    @given(st.data())
    def test_a_damaged_one_is_read_or_none(self, data: st.DataObject) -> None:
        der = bytearray(_DER)
        at = data.draw(st.integers(0, len(der) - 1))
        der[at] = data.draw(st.integers(0, 255))
        read_certificate(bytes(der[: data.draw(st.integers(1, len(der)))]))


def _leaf() -> Iterator[bytes]:
    yield ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert("a.example").cert_chain_pems[0].bytes().decode())


_DER = next(_leaf())
