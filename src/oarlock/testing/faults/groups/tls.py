"""Faults of TLS: wrong certificates, wrong protocols, handshakes that never end."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

from functools import partial

from oarlock.testing.faults import answers
from oarlock.testing.faults.catalog import fault as _fault
from oarlock.testing.faults.certificates import Kind
from oarlock.testing.faults.connection import Connection

fault = partial(_fault, group="tls", at="accept", tls=True)

LOST = "ConnectionFailedError"
LATE = "LLMTimeoutError"

_CERTIFICATES: dict[Kind, tuple[str, str]] = {
    "self_signed": ("tls_self_signed", "Shows a certificate that vouches for itself."),
    "expired": ("tls_expired", "Shows a certificate that expired yesterday."),
    "not_yet_valid": ("tls_not_yet_valid", "Shows a certificate that is valid from tomorrow on."),
    "wrong_host": ("tls_wrong_host", "Shows a certificate for another host."),
    "unknown_authority": ("tls_unknown_authority", "Shows a certificate of an authority that nobody knows."),
    "no_intermediate": ("tls_no_intermediate", "Shows a certificate without the intermediate one that vouches for it."),
    "client": ("tls_client_certificate", "Demands a certificate of the client."),
}


def _shows(kind: Kind) -> None:
    name, does = _CERTIFICATES[kind]

    @fault(does, name=name, expect=LOST, requests=1)  # no second try makes a certificate better
    def show(connection: Connection) -> None:
        connection.start_tls(kind)
        connection.read_request()
        connection.answer()


for _kind in _CERTIFICATES:
    _shows(_kind)


@fault("Speaks plain HTTP at an https:// address.", expect=(LOST, "ResponseFormatError"))
def plain_http_on_tls_port(connection: Connection) -> None:
    connection.read(5)
    connection.answer()


@fault("Speaks TLS at an http:// address.", expect=(LOST, "ResponseFormatError"), tls=False)
def tls_on_plain_port(connection: Connection) -> None:
    connection.read(5)
    connection.send(_alert(70))


@fault("Takes the greeting of the handshake and never answers it.", expect=LATE)
def tls_handshake_hang(connection: Connection) -> None:
    connection.hang()


@fault("Sends its part of the handshake byte by byte, for ever.", expect=LATE)
def tls_handshake_drip(connection: Connection) -> None:
    connection.read(5)
    connection.send(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb")  # a hello of 16 KB begins
    connection.drip(b"\x03\x03" + b"\0" * 16_000)


@fault("Resets the connection in the handshake.", expect=LOST)
def tls_reset_in_handshake(connection: Connection) -> None:
    connection.read(5)
    connection.reset()


@fault("Closes the connection in the handshake.", expect=LOST)
def tls_close_in_handshake(connection: Connection) -> None:
    connection.read(5)
    connection.half_close()
    connection.wait(0.05)


@fault("Ends the handshake with an alert: internal error.", expect=LOST)
def tls_alert(connection: Connection) -> None:
    connection.read(5)
    connection.send(_alert(80))
    connection.wait(0.05)


@fault("Answers the greeting of the handshake with garbage.", expect=(LOST, "ResponseFormatError"))
def tls_garbage(connection: Connection) -> None:
    connection.read(5)
    connection.send(b"\x16\x03\x03\x00\x20" + bytes(range(200, 232)))
    connection.wait(0.05)


@fault("Speaks no TLS newer than 1.0.", expect=LOST)
def tls_1_0_only(connection: Connection) -> None:
    _old_hello(connection, b"\x03\x01")


@fault("Speaks no TLS newer than 1.1.", expect=LOST)
def tls_1_1_only(connection: Connection) -> None:
    _old_hello(connection, b"\x03\x02")


@fault("Speaks SSL 3.0 only.", expect=LOST)
def tls_ssl_3_only(connection: Connection) -> None:
    _old_hello(connection, b"\x03\x00")


@fault("Shakes hands and then says nothing.", expect=LATE)
def tls_hang_after_handshake(connection: Connection) -> None:
    connection.start_tls()
    connection.hang()


@fault("Shakes hands and resets the connection once it has the request.", expect=LOST)
def tls_reset_after_request(connection: Connection) -> None:
    connection.start_tls()
    connection.read_request()
    connection.reset()


@fault("Ends a body without a length in its middle, and without TLS's goodbye.", expect=(LOST, "ResponseFormatError"))
def tls_cut_without_goodbye(connection: Connection) -> None:
    connection.start_tls()
    connection.read_request()
    connection.head(headers=[("Content-Type", "application/json"), ("Connection", "close")])
    connection.send(answers.encoded(answers.completion())[:60])


@fault("Sends an answer over TLS byte by byte, for ever.", expect=LATE)
def tls_slow_body(connection: Connection) -> None:
    connection.start_tls()
    connection.read_request()
    connection.begin()
    connection.repeat(b"1\r\n \r\n", pause=0.05)


def _alert(description: int) -> bytes:
    """Return a fatal alert (RFC 8446, section 6)."""
    return bytes([21, 3, 3, 0, 2, 2, description])


def _old_hello(connection: Connection, version: bytes) -> None:
    """Answer the greeting as a server does that knows this version at best; written by hand, since Python's own refuses."""
    connection.read(5)
    hello = version + bytes(32) + b"\0" + b"\x00\x2f" + b"\0"  # random, no session, AES128-SHA, no compression
    handshake = b"\x02" + len(hello).to_bytes(3, "big") + hello
    connection.send(b"\x16" + version + len(handshake).to_bytes(2, "big") + handshake)
    connection.hang()
