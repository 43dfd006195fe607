"""llama.cpp's own HTTP server, which checks an API key: a real endpoint by somebody else, with a real model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from oarlock import AuthenticationError, ChatLLM, LocalLLM
from oarlock.auth import ApiKey, BearerToken

pytestmark = [pytest.mark.model, pytest.mark.timeout(240)]

KEY = "a-key-that-llama-cpp-knows"

SERVER = """
import sys
import xllamacpp

path, key = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path = path
params.n_ctx, params.n_parallel, params.verbosity = 512, 1, -1
params.cpuparams.n_threads, params.cpuparams.poll = 2, 0
params.warmup = params.ui = False
params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
server = xllamacpp.Server(params)
server.handle_metrics()
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [sys.executable, "-c", SERVER, str(LocalLLM().path), KEY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"{server.stdout.readline().strip()}/v1"
        finally:
            server.kill()


def test_the_key_opens_it_in_every_way_of_asking(url: str) -> None:
    llm = ChatLLM("m", url, auth=ApiKey(KEY), max_tokens=4, on_length="return", timeout=60)
    assert llm.call("Say hello.")
    assert asyncio.run(llm.acall("Say hello."))
    assert "".join(str(delta) for delta in llm.stream("Say hello."))
    assert ChatLLM("m", url, auth=BearerToken(KEY), max_tokens=4, on_length="return", timeout=60).call("Say hello.")


def test_another_key_does_not_nor_none(url: str) -> None:
    with pytest.raises(AuthenticationError, match="401") as caught:
        ChatLLM("m", url, auth=ApiKey("a-wrong-key")).call("Hi")
    assert caught.value.attempts == 1
    assert "a-wrong-key" not in str(caught.value)
    with pytest.raises(AuthenticationError, match="No sign-in was given"):
        ChatLLM("m", url).call("Hi")


def test_a_token_that_it_refuses_is_fetched_anew(url: str) -> None:
    tokens = iter(["an-old-one", KEY])
    llm = ChatLLM("m", url, auth=BearerToken(lambda: next(tokens)), max_tokens=4, on_length="return", timeout=60)
    assert llm.call("Say hello.")
