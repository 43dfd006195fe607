from __future__ import annotations

import asyncio
import builtins
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

import oarlock.transport
from oarlock.contract.errors import CallFailedError, ConfigurationError, LLMTimeoutError
from oarlock.transport import Httpx2Transport, ReqwestTransport, TransportOptions, make_transport


def test_names_and_sharing():
    first = make_transport()
    assert isinstance(first, ReqwestTransport)
    assert make_transport("pyreqwest") is first
    assert make_transport(connect_timeout=10.0) is first
    assert make_transport(connect_timeout=5) is not first
    second = make_transport("httpx2")
    assert isinstance(second, Httpx2Transport)
    assert make_transport("httpx2") is second


def test_a_thousand_users_share_one_and_the_last_takes_it_along():
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda _: make_transport(max_body=77), range(1000)))
    assert len(set(map(id, made))) == 1
    last = weakref.ref(made[0])
    del made
    gc.collect()
    assert last() is None


def test_an_object_with_the_verbs_is_taken_as_it_is():
    mine = ReqwestTransport()
    assert make_transport(mine) is mine
    with pytest.raises(ConfigurationError, match="options cannot be given"):
        make_transport(mine, connect_timeout=5)


@pytest.mark.parametrize("spec", ["requests", object(), ReqwestTransport, 3])
def test_a_wrong_choice_names_the_right_ones(spec):
    with pytest.raises(ConfigurationError, match="'pyreqwest', 'httpx2'"):
        make_transport(spec)


def test_wrong_options():
    with pytest.raises(ConfigurationError, match=r"no argument 'verfy'\. Did you mean 'verify'"):
        make_transport(verfy=True)
    for option in (
        {"connect_timeout": 0},
        {"connect_timeout": float("inf")},
        {"max_body": 0},
        {"idle_connections": -1},
    ):
        with pytest.raises(ConfigurationError, match=next(iter(option))):
            TransportOptions(**option)


def test_httpx2_that_is_not_installed(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "httpx2":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"install oarlock\[httpx2\]"):
        Httpx2Transport()


def test_lazy_names():
    assert all(hasattr(oarlock.transport, name) for name in oarlock.transport.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = oarlock.transport.nothing


def test_a_client_of_ones_own(serve):
    server = serve(lambda peer: peer.answer(b"x" * 100))
    hooks = []
    with httpx2.Client(headers={"x-mine": "1"}, event_hooks={"request": [hooks.append]}) as client:
        transport = make_transport(client, max_body=1000)
        assert transport.send(server.request()).body == b"x" * 100
        stream = transport.open(server.request())
        assert stream.read_chunk(30) == b"x" * 100
        stream.close()
        transport.close()
        assert not client.is_closed
        with pytest.raises(ConfigurationError, match=r"needs a httpx2\.AsyncClient"):
            asyncio.run(transport.asend(server.request()))
    assert len(hooks) == 2
    assert b"x-mine: 1" in server.heads[0].lower()
    assert b"accept-encoding: identity" in server.heads[0].lower()


async def test_an_async_client_of_ones_own(serve):
    server = serve(lambda peer: peer.answer(b"", b"location: http://other.invalid/", status=b"302 Found"))
    async with httpx2.AsyncClient(follow_redirects=True) as client:
        transport = make_transport(client)
        assert (await transport.asend(server.request())).status == 302
        assert (await transport.aopen(server.request())).status == 302
        await transport.aclose()
        assert not client.is_closed
        with pytest.raises(ConfigurationError, match=r"needs a httpx2\.Client"):
            transport.send(server.request())


def test_a_client_of_ones_own_ends_in_time(serve):
    with httpx2.Client() as client:
        transport = make_transport(client)
        for script in (
            lambda peer: peer.hang(),
            lambda peer: (peer.begin(), peer.hang()),
            lambda peer: (peer.begin(), peer.drip(b"1\r\nx\r\n")),
        ):
            with pytest.raises(LLMTimeoutError, match=r"0\.3 s"):
                transport.send(serve(script).request(timeout=0.3))
        stream = transport.open(serve(lambda peer: (peer.begin(), peer.hang())).request())
        with pytest.raises(LLMTimeoutError, match=r"0\.2 s"):
            stream.read_chunk(0.2)


def test_a_client_of_ones_own_that_fails_is_no_wrong_url(serve):
    def hook(request):
        raise LookupError("no tenant")

    with httpx2.Client(event_hooks={"request": [hook]}) as client, pytest.raises(CallFailedError) as caught:
        make_transport(client).send(serve().request())
    assert "the HTTP client failed on the way to 127.0.0.1" in str(caught.value)
    assert isinstance(caught.value.__cause__, LookupError)


def test_only_httpx2_clients_are_clients():
    with pytest.raises(ConfigurationError, match=r"must be a httpx2\.Client"):
        Httpx2Transport(client=object())
