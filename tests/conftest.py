"""For every test: no network but loopback. (Python's sockets; the Rust client has loopback addresses only, by review.)"""

from __future__ import annotations

import functools
import ipaddress
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# No timing assertions: the machine may be busy.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# A shell starts background jobs with Ctrl-C ignored, and their children inherit it: the tests send it to theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

_attempts: list[str] = []


class NetworkIsOff(OSError):
    """A test tried to reach something else than this machine. An `OSError`, so that clients close their sockets."""


def _guarded(call: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    @functools.wraps(call)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        return call(*args, **kwargs)

    return guarded


def _check_address(sock: socket.socket, *args: Any) -> None:
    """Of `connect(address)`, `sendto(data, address)` and `sendto(data, flags, address)`: the address stands last."""
    address = args[-1]
    if isinstance(address, tuple) and sock.family in (socket.AF_INET, socket.AF_INET6) and not _here(address[0]):
        _refuse(f"connection to {address}")


def _check_name(host: Any, *_rest: Any, **_named: Any) -> None:
    name = host.decode("latin-1") if isinstance(host, bytes) else host
    if isinstance(name, str) and name.rstrip(".").endswith(".invalid"):  # never exists (RFC 6761): no need to ask
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if isinstance(name, str) and not (_here(name) or _is_number(name)) and _can_be_asked_for(name):
        _refuse(f"look-up of {name!r}")


def _can_be_asked_for(host: str) -> bool:
    """Whether a name server could be asked: Python itself refuses labels that are too long."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _here(host: str) -> bool:
    if host in ("localhost", "", "0.0.0.0", "::"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_number(host: str) -> bool:
    """Whether no name server is asked, in any of the ways to write an address: 127.0.0.1, 2130706433, 0x7f.1, ::1."""
    try:
        socket.inet_aton(host)
    except OSError:
        return ":" in host
    return True


def _refuse(what: str) -> None:
    _attempts.append(what)
    raise NetworkIsOff(f"{what}: tests reach loopback only")


# Not an audit hook: CPython 3.11 runs hooks while it sets a thread's trace function, and a thread that starts just then fails
# under coverage ("Cannot install a trace function while another trace function is being installed").
for _name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, _name, _guarded(getattr(socket.socket, _name), _check_address))
for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
    setattr(socket, _name, _guarded(getattr(socket, _name), _check_name))


@pytest.fixture(autouse=True)
def network_off() -> Iterator[None]:
    """Fail a test that tried, even if the code under test swallowed the refusal."""
    del _attempts[:]
    yield
    attempts, _attempts[:] = list(_attempts), []
    assert not attempts, f"reached out: {attempts}"


@pytest.fixture
def network_attempts() -> list[str]:
    """What was refused so far; a test that means to try clears it."""
    return _attempts


@pytest.fixture(autouse=True)
def faults_of_ones_own_are_forgotten() -> Iterator[None]:
    """Let no example that makes a fault known change what other tests find."""
    yield
    catalog = sys.modules.get("oarlock.testing.faults.catalog")
    if catalog is not None:
        for name in [name for name, fault in catalog._known.items() if fault.group == "own"]:
            del catalog._known[name]
