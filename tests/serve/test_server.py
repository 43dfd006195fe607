"""An application under servers, ours and others."""

import asyncio
import socket
import subprocess
import sys
from typing import Any

import httpx2
import pytest
from serve_helpers import KEY, body, key
from starlette.applications import Starlette
from starlette.routing import Mount

from oarlock import Agent, BaseLLM, ConfigurationError, Crew, Task
from oarlock.serve import create_app, serve, serving
from oarlock.serve import server as module
from oarlock.testing import ScriptedLLM


class Waits(BaseLLM):
    async def acall(self, messages):
        await asyncio.Event().wait()


async def spoken(app: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an application says to a server that says this."""
    left, said = list(messages), []

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await app(scope, receive, send)
    return said


async def test_the_life_that_other_servers_tell_of():
    app = create_app({"mine": ScriptedLLM([])})
    said = await spoken(app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [message["type"] for message in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert app.draining.is_set()


async def test_it_can_be_mounted_below_a_path_of_another():
    agent = Agent(role="Poet", goal="Rhyme", backstory="Old", llm=ScriptedLLM(["Row."]))
    crew = Crew(agents=[agent], tasks=[Task(description="A line", agent=agent)])
    app = create_app({"mine": ScriptedLLM(["Hello"])}, crews={"poem": crew}, keys=[key()])
    outer = Starlette(routes=[Mount("/ai", app=app)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=outer), base_url="http://localhost") as client:
        assert (await client.get("/ai/health")).is_success
        assert (await client.get("/ai/")).headers["content-type"].startswith("text/html")
        assert (await client.get("/ai/v1/models")).status_code == 401
        client.headers["authorization"] = f"Bearer {KEY}"
        assert (await client.post("/ai/v1/chat/completions", json=body())).is_success
        begun = await client.post("/ai/crews/poem/runs", json={})
        done = await client.get(begun.headers["location"], params={"wait": 30})
        assert done.json()["result"]["answer"] == "Row."


async def test_there_are_no_websockets():
    said = await spoken(create_app({"mine": ScriptedLLM([])}), {"type": "websocket", "path": "/"})
    assert said == [{"type": "websocket.close", "code": 1000}]


async def test_a_request_that_the_server_gives_up_is_told_so():
    begun = asyncio.Event()

    class Begins(Waits):
        async def acall(self, messages):
            begun.set()
            await super().acall(messages)

    app = create_app({"mine": Begins()})
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        asking = asyncio.ensure_future(client.post("/v1/chat/completions", json=body()))
        await begun.wait()
        asking.cancel()
        response = await asking
    assert (response.status_code, response.json()["error"]["code"]) == (503, "ending")


def test_after_the_signal_a_connection_that_is_open_hears_so():
    app = create_app({"mine": ScriptedLLM(["Hello"])})
    with serving(app) as url, httpx2.Client(base_url=url) as client:
        assert client.get("/health").is_success
        app.drain()
        refused = client.get("/v1/models")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["connection"] == "close"


def test_what_hangs_is_cut_when_its_time_is_up():
    with serving(create_app({"mine": Waits()}), drain_seconds=1) as url, pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{url}/v1/chat/completions", json=body(), timeout=0.2)


def test_a_server_that_does_not_begin_says_why(monkeypatch: pytest.MonkeyPatch):
    def broken(self: Any, sockets: Any) -> None:
        raise RuntimeError("no event loop")

    monkeypatch.setattr(module._Server, "run", broken)
    with pytest.raises(RuntimeError, match="no event loop"), serving(create_app({"mine": ScriptedLLM([])})):
        pass


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"host": "0.0.0.0"}, "give API keys"),
        ({"port": 99_999}, "from 0 to 65535"),
        ({"drain_seconds": -1}, "drain_seconds must be"),
    ],
)
def test_settings_that_cannot_work(settings: Any, says: str):
    with pytest.raises(ConfigurationError, match=says):
        serve(create_app({"mine": ScriptedLLM([])}), **settings)


def test_answers_are_sent_at_once(monkeypatch: pytest.MonkeyPatch):
    """Without Nagle's algorithm, that is: it would hold back each answer's body for 40 ms."""
    seen: list[int] = []

    class Looks(module.PatientProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            listening = transport.get_extra_info("socket")
            seen.append(listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(module, "PatientProtocol", Looks)
    with serving(create_app({"mine": ScriptedLLM([])})) as url:
        assert httpx2.get(f"{url}/health").is_success
    assert seen
    assert all(seen)


@pytest.mark.parametrize(("missing", "name"), [("starlette", "create_app"), ("uvicorn", "serve")])
def test_a_missing_extra_is_named(missing: str, name: str):
    program = f"""
import sys
sys.modules[{missing!r}] = None
import oarlock.serve
try:
    oarlock.serve.{name}
except Exception as error:
    print(type(error).__name__, error)
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("ConfigurationError oarlock.serve needs")
    assert "pip install 'oarlock[serve]'" in shown.stdout


def test_with_keys_others_may_reach_it(monkeypatch: pytest.MonkeyPatch):
    addresses: list[Any] = []
    monkeypatch.setattr(module._Server, "run", lambda self, sockets: addresses.append(sockets[0].getsockname()))
    serve(create_app({"mine": ScriptedLLM([])}, keys=[key()]), "0.0.0.0", 0)
    assert addresses[0][0] == "0.0.0.0"
