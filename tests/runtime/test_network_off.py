"""The tests' own guard: nothing but loopback can be reached from a test."""

from __future__ import annotations

import socket

import httpx
import pytest

from oarlock.contract.classify import classify
from oarlock.contract.errors import ConnectionFailedError


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80), ("::ffff:192.0.2.1", 80)])
def test_connecting_is_refused(address: tuple[str, int], network_attempts: list[str]) -> None:
    with pytest.raises(OSError, match="loopback only"):
        socket.create_connection(address, timeout=1).close()
    assert network_attempts
    network_attempts.clear()


@pytest.mark.parametrize("host", ["example.com", b"example.com", "127.0.0.1.example.com"])
def test_resolving_is_refused(host: str, network_attempts: list[str]) -> None:
    with pytest.raises(OSError, match="loopback only"):
        socket.getaddrinfo(host, 80)
    assert network_attempts
    network_attempts.clear()


def test_an_attempt_that_the_code_swallows_is_seen_too(network_attempts: list[str]) -> None:
    with pytest.raises(Exception, match="loopback only"):
        httpx.get("http://example.com", trust_env=False)
    assert len(network_attempts) == 1
    network_attempts.clear()


def test_invalid_names_do_not_resolve() -> None:
    with pytest.raises(socket.gaierror) as caught:
        socket.getaddrinfo("nowhere.invalid", 80)
    assert type(classify(caught.value)) is ConnectionFailedError


def test_loopback_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    assert socket.getaddrinfo("2130706433", 80)
