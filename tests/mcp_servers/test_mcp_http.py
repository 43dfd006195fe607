"""MCP servers behind HTTP, with sign-ins."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mcp_helpers import HttpServer, checking, run_virtual

from oarlock import Agent, AuthenticationError, ConfigurationError, Crew, PermissionDeniedError, Task, ToolCall
from oarlock.auth import BearerToken, ClientCertificate, Headers, OnBehalfOf
from oarlock.contract.context import current_call
from oarlock.mcp import MCPServerError, MCPServerHTTP, MCPServerSSE
from oarlock.testing import JwtIssuer, ScriptedLLM
from oarlock.transport import make_transport

Run = Callable[..., Any]
PRICE = ToolCall(id="1", name="price", arguments='{"item": "tea"}')


def crew_of(server: Any, *replies: Any) -> tuple[Crew, ScriptedLLM]:
    llm = ScriptedLLM([*(replies or [PRICE]), "done"], supports_function_calling=True)
    agent = Agent(role="Buyer", goal="Buy", llm=llm, tools=[server])
    return Crew(agents=[agent], tasks=[Task(description="Buy tea", agent=agent)]), llm


def told(llm: ScriptedLLM) -> list[str]:
    return [str(message["content"]) for message in llm.requests[-1].messages if message["role"] == "tool"]


def test_a_run_on_a_virtual_clock_uses_it(shop: HttpServer) -> None:
    with MCPServerHTTP(url=shop.url) as server:
        crew, llm = crew_of(server)
        assert run_virtual(crew).raw == "done"
    assert told(llm) == ["tea costs 3"]


def test_an_agent_uses_it(run: Run, shop: HttpServer) -> None:
    server = MCPServerHTTP(url=shop.url)
    crew, llm = crew_of(server)
    assert run(crew).raw == "done"
    assert told(llm) == ["tea costs 3"]
    server.close()
    assert shop.seen("user-agent") == {None} or all("httpx2" not in str(agent) for agent in shop.seen("user-agent"))


def test_the_older_kind(run: Run, old_shop: HttpServer, issuer: JwtIssuer) -> None:
    old_shop.instead = checking(issuer)
    server = MCPServerSSE(url=f"{old_shop.origin}/sse", auth=BearerToken(lambda: issuer.issue("ada")))
    crew, llm = crew_of(server)
    run(crew)
    assert told(llm) == ["tea costs 3"]
    server.close()


def test_every_request_is_signed_and_the_token_renewed(run: Run, shop: HttpServer, issuer: JwtIssuer) -> None:
    shop.instead = checking(issuer)
    issuers, fetched = [issuer], list[str]()

    def fetch() -> str:
        fetched.append(issuers[-1].issue("ada"))
        return fetched[-1]

    server = MCPServerHTTP(url=shop.url, auth=BearerToken(fetch), headers={"x-team": "blue"})

    def expire_then(request: Any) -> Any:
        issuers.append(JwtIssuer(secret="other"))  # no token so far is good any more; a 401 says so
        shop.instead = checking(issuers[-1])
        return PRICE

    crew, llm = crew_of(server, PRICE, expire_then)
    run(crew)
    assert told(llm) == ["tea costs 3", "tea costs 3"]
    assert len(fetched) == 2
    assert shop.seen("x-team") == {"blue"}
    server.close()


def test_a_refused_sign_in_ends_the_run_before_any_model_is_asked(
    run: Run, shop: HttpServer, issuer: JwtIssuer
) -> None:
    shop.instead = checking(issuer)
    for auth, words in ((BearerToken("wrong"), "The sign-in was BearerToken"), (None, "No sign-in was given")):
        server = MCPServerHTTP(url=shop.url, auth=auth)
        crew, llm = crew_of(server)
        with pytest.raises(AuthenticationError, match=r"'127.0.0.1' answered HTTP 401: no good token") as caught:
            run(crew)
        assert words in str(caught.value)
        assert not llm.requests
        server.close()


def test_a_sign_in_refused_in_the_middle_ends_the_run(run: Run, shop: HttpServer) -> None:
    server = MCPServerHTTP(url=shop.url, auth=BearerToken("t"))

    def refuse_then(request: Any) -> Any:
        shop.instead = lambda method, headers: (403, {}, b"not you")
        return PRICE

    crew, _ = crew_of(server, refuse_then)
    with pytest.raises(PermissionDeniedError, match="answered HTTP 403: not you"):
        run(crew)
    shop.instead = None
    server.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["elsewhere", "same origin"])
def test_redirects_are_not_followed(shop: HttpServer, old_shop: HttpServer, status: int, where: str) -> None:
    target = f"{old_shop.origin}/mcp" if where == "elsewhere" else f"{shop.origin}/other"
    shop.instead = lambda method, headers: (status, {"location": target}, b"")
    server = MCPServerHTTP(url=shop.url, auth=BearerToken("t"))
    with pytest.raises(MCPServerError, match=f"HTTP {status}.* Redirects are not followed"):
        server.tools
    server.close()
    assert not old_shop.requests
    assert {path for _, path, _ in shop.requests} == {"/mcp"}


def test_a_session_that_the_server_has_forgotten_is_made_anew(run: Run, shop: HttpServer) -> None:
    server = MCPServerHTTP(url=shop.url)

    def forget_then(request: Any) -> Any:
        known = {headers.get("mcp-session-id") for _, _, headers in shop.requests} - {None}
        shop.instead = lambda method, headers: (404, {}, b"") if headers.get("mcp-session-id") in known else None
        return PRICE

    crew, llm = crew_of(server, forget_then, PRICE)
    run(crew)
    assert told(llm) == ["tea costs 3", "tea costs 3"]
    server.close()


def test_a_server_that_is_not_there(run: Run) -> None:
    server = MCPServerHTTP(url="http://127.0.0.1:1/mcp", connect_timeout=20)
    crew, llm = crew_of(server)
    with pytest.raises(MCPServerError, match=r"'127.0.0.1' could not be asked"):
        run(crew)
    assert not llm.requests
    server.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, {}, b"oops"), "answered HTTP 500: oops"),
        ((404, {}, b""), "answered HTTP 404. Is the URL right?"),
        ((405, {}, b""), "MCPServerSSE"),
        ((200, {"content-type": "text/html"}, b"<html>"), "Unexpected content type: text/html"),
        ((200, {"content-type": "application/json"}, b"{"), "Failed to parse JSON response"),
        ((200, {"content-type": "application/json"}, b'{"jsonrpc": "2.0", "id": 99, "result": {}}'), "failed"),
        ((202, {}, b""), "202 Accepted"),
        ((200, {"content-type": "text/event-stream"}, b"data: no json\n\n"), "Failed to parse"),
        ((200, {"content-type": "text/event-stream"}, b""), "ended"),
    ],
)
def test_what_is_no_mcp_server_is_told(shop: HttpServer, answer: Any, words: str) -> None:
    shop.instead = lambda method, headers: answer
    server = MCPServerHTTP(url=shop.url, connect_timeout=1 if words == "failed" else 20)
    with pytest.raises(MCPServerError) as caught:
        server.tools
    if words != "failed":
        assert words in str(caught.value)
    server.close()


def test_a_server_that_fails_in_the_middle_is_told_to_the_model(run: Run, shop: HttpServer) -> None:
    server = MCPServerHTTP(url=shop.url)

    def break_then(request: Any) -> Any:
        shop.instead = lambda method, headers: (500, {}, b"oops")
        return PRICE

    def mend_then(request: Any) -> Any:
        shop.instead = None
        return PRICE

    crew, llm = crew_of(server, break_then, mend_then)
    run(crew)
    assert told(llm) == ["Error: The MCP server '127.0.0.1' answered HTTP 500: oops.", "tea costs 3"]
    server.close()


def test_the_end_user_of_each_run_signs_in(shop: HttpServer, issuer: JwtIssuer) -> None:
    """One connection, and each call in the name of the user of its run."""
    shop.instead = checking(issuer)

    class Person:
        def __init__(self, name: str) -> None:
            self.token = issuer.issue(name)

    server = MCPServerHTTP(url=shop.url, auth=OnBehalfOf(lambda user: BearerToken(user.token)))
    ada, bob = Person("ada"), Person("bob")

    async def both() -> None:
        await asyncio.gather(*(crew_of(server)[0].akickoff(user=user) for user in (ada, bob)))

    crew_of(server)[0].kickoff(user=ada)
    asyncio.run(both())
    calls = [headers["authorization"] for method, _, headers in shop.requests if headers.get("mcp-name") == "price"]
    if not calls:  # the older protocol names no tool in its headers
        calls = [headers["authorization"] for _, _, headers in shop.requests]
    assert {f"Bearer {ada.token}", f"Bearer {bob.token}"} <= set(calls)
    server.close()


def test_no_secret_shows(shop: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    canary = "canary-5f2e8d"
    server = MCPServerHTTP(
        url=f"{shop.url}?api_key={canary}", auth=BearerToken(f"{canary}.token"), headers={"x-key": f"{canary}-header"}
    )
    with caplog.at_level(logging.DEBUG):
        assert server.tools[0].run(item="tea") == "tea costs 3"
        shop.instead = lambda method, headers: (401, {}, json.dumps(headers).encode())
        with pytest.raises(AuthenticationError) as caught:
            server.tools[0].run(item="tea")
    shop.instead = None
    server.close()
    assert any(f"api_key={canary}" in path for _, path, _ in shop.requests)
    assert f"{canary}-header" in shop.seen("x-key")
    assert caught.tb.tb_next is not None
    ours = caught.tb.tb_next  # without this test's own frame
    shown = [
        repr(server),
        repr(vars(server)),
        repr(server.tools[0]) if server._known else "",
        str(caught.value),
        "".join(traceback.TracebackException(type(caught.value), caught.value, ours, capture_locals=True).format()),
        caplog.text,
    ]
    assert [text for text in shown if canary in text] == []
    with pytest.raises(TypeError):
        pickle.dumps(server)


def test_copies_share_the_connection_and_pickles_make_their_own(shop: HttpServer) -> None:
    server = MCPServerHTTP(url=shop.url)
    assert copy.deepcopy(server) is server
    assert [tool.name for tool in server.tools] == ["price"]
    loaded = pickle.loads(pickle.dumps(server))
    assert [tool.name for tool in loaded.tools] == ["price"]
    server.close()
    loaded.close()


def test_closing_ends_the_session_and_a_later_use_makes_another(shop: HttpServer) -> None:
    server = MCPServerHTTP(url=shop.url)
    with server:
        server.tools[0].run(item="tea")
    before = len(shop.requests)
    server.close()
    assert len(shop.requests) == before
    assert server.tools[0].run(item="tea") == "tea costs 3"
    server.close()


async def test_in_coroutines(shop: HttpServer) -> None:
    async with MCPServerHTTP(url=shop.url) as server:
        assert await server.tools[0].arun(item="tea") == "tea costs 3"
        results = await asyncio.gather(*(server.tools[0].arun(item=str(n)) for n in range(50)))
        assert results == [f"{n} costs 3" for n in range(50)]


def test_one_connection_serves_threads_and_loops(shop: HttpServer) -> None:
    server = MCPServerHTTP(url=shop.url)
    crew, _ = crew_of(server)

    def answer(request: Any) -> Any:
        return "done" if request.messages[-1]["role"] == "tool" else PRICE

    from oarlock.testing import FunctionLLM

    crew.agents[0].llm = FunctionLLM(answer, supports_function_calling=True)

    async def many() -> None:
        await asyncio.gather(*(crew.akickoff() for _ in range(20)))

    asyncio.run(many())
    crew.kickoff()
    asyncio.run(many())
    names = [headers.get("mcp-method") for _, _, headers in shop.requests]
    posts = [method for method, _, _ in shop.requests if method == "POST"]
    assert len(posts) < 41 + 20, names  # 41 calls, and the rest is shared
    server.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "mcp.example.com"}, "must begin with http"),
        ({"url": 5}, "must begin with http"),
        ({"url": "http://[::1"}, "no valid URL"),
        ({"url": "https://user:pw@example.com"}, "through auth="),
        ({"url": "https://e.com", "auth": "token"}, "is no sign-in"),
        ({"url": "http://e.com", "auth": BearerToken("t")}, "allow_http=True"),
        ({"url": "http://e.com", "headers": {"a": "b"}}, "allow_http=True"),
        ({"url": "https://e.com", "headers": {"a b": "c"}}, "no name of a header"),
        ({"url": "https://e.com", "timeout": 0}, "timeout must be"),
        ({"url": "https://e.com", "timeout": 60_000}, "in seconds"),
        ({"url": "https://e.com", "connect_timeout": -1}, "connect_timeout must be"),
        ({"url": "https://e.com", "allowed_tools": "one"}, "allowed_tools must be a list"),
        ({"url": "https://e.com", "blocked_tools": [1]}, "blocked_tools must be a list"),
        ({"url": "https://e.com", "dangerous": "delete"}, "dangerous must be a list"),
        ({"url": "https://e.com", "tool_filter": 1}, "tool_filter must be a function"),
        ({"url": "https://e.com", "prefix": "a b"}, "prefix must be made of"),
        ({"url": "https://e.com", "cache_tools_list": "yes"}, "cache_tools_list must be"),
        ({"url": "https://e.com", "transport_options": {"verfy": True}}, "verify"),
        ({"url": "https://e.com", "streamable": False}, "streamable=False"),
        ({"url": "https://e.com", "header": {}}, "Did you mean 'headers'"),
        ({}, "needs the argument url"),
    ],
)
def test_settings_that_cannot_work_are_told(settings: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MCPServerHTTP(**settings)
    assert words in str(caught.value)


def test_building_one_connects_to_nothing() -> None:
    server = MCPServerHTTP(url="http://127.0.0.1:1/mcp", headers={}, auth=Headers({"a": "b"}))
    agent = Agent(role="R", goal="G", tools=[server])
    assert agent.tools == [server]
    server.close()


def test_a_certificate_is_for_https(tmp_path: Any) -> None:
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("me@example.com")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "c.pem"))
    certificate = ClientCertificate(str(tmp_path / "c.pem"))
    assert MCPServerHTTP(url="https://e.com", auth=certificate)._transport.options.client_certificate is not None  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError):
        MCPServerHTTP(url="http://127.0.0.1/mcp", auth=certificate)


def test_a_run_leaves_nothing_in_the_connection(shop: HttpServer) -> None:
    import gc
    import weakref

    class User:
        pass

    server = MCPServerHTTP(url=shop.url)
    crew, _ = crew_of(server)

    class Listener:
        def __call__(self, event: Any) -> None:
            pass

    listener = Listener()
    gone = weakref.ref(listener)
    crew.kickoff(on_event=listener)
    del listener
    server.tools[0].run(item="tea")  # the SDK holds on to where the latest message came from
    gc.collect()
    assert gone() is None
    assert current_call().user is None
    server.close()


def forms_of_elsewhere(port: int) -> list[str]:
    """Return ways to write other places than the server's own origin, http://127.0.0.1:port."""
    return [
        *(
            f"http://{host}:{port}/steal"
            for host in ("localhost", "0.0.0.0", "127.1", "127.0.1", "127.0.0.2", "2130706433")
        ),
        *(
            f"http://{host}:{port}/steal"
            for host in ("0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.0.0.1.")
        ),
        *(
            f"http://{host}:{port}/steal"
            for host in ("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "①②⑦.0.0.1")
        ),
        *(
            f"http://{host}/steal"
            for host in ("169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "2852039166")
        ),
        *(
            f"http://{host}/steal"
            for host in ("0xa9fea9fe", "[::ffff:169.254.169.254]", "10.0.0.1", "192.168.0.1", "e.com")
        ),
        f"http://127.0.0.1:{port + 1}/steal",
        f"https://127.0.0.1:{port}/steal",
        f"//localhost:{port}/steal",
        f"http://127.0.0.1:{port}@localhost:{port}/steal",
        f"http://user:pw@127.0.0.1:{port}/steal",
        f"http://127.0.0.1:{port}.e.com/steal",
        f"http://127.0.0.1:{port}\\@e.com/steal",
        "file:///etc/passwd",
        "gopher://127.0.0.1/steal",
    ]


class Recording:
    """A transport that notes where everything goes."""

    def __init__(self) -> None:
        self._inner: Any = make_transport()
        self.urls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(request: Any = None) -> Any:
            self.urls += [request.url] if request is not None else []
            return getattr(self._inner, name)(*([request] if request is not None else []))

        if name not in ("send", "asend", "open", "aopen", "close", "aclose"):
            raise AttributeError(name)
        return call


def test_a_server_cannot_send_messages_elsewhere(shop: HttpServer) -> None:
    """Where messages go is up to a server of the older kind: its own origin, or nowhere.

    All at once: the SDK goes on waiting for a better address, until the time for connecting is over.
    """
    forms = forms_of_elsewhere(int(shop.origin.rpartition(":")[2]))

    def name_a_place(method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        told = f"event: endpoint\ndata: {forms[int(headers['x-form'])]}\n\n".encode()
        return (200, {"content-type": "text/event-stream"}, told) if method == "GET" else (500, {}, b"")

    def reached(index: int) -> set[str]:
        sent = Recording()
        server = MCPServerSSE(
            url=f"{shop.origin}/sse",
            headers={"x-form": str(index)},
            auth=BearerToken("t0ken"),
            connect_timeout=5,
            transport=sent,
        )
        with pytest.raises(MCPServerError):
            server.tools
        server.close()
        return set(sent.urls)

    shop.instead = name_a_place
    with ThreadPoolExecutor(len(forms)) as pool:
        went = dict(zip(forms, pool.map(reached, range(len(forms))), strict=True))
    assert [form for form in forms if went[form] != {f"{shop.origin}/sse"}] == []
    asked = [(method, path, headers["x-form"]) for method, path, headers in shop.requests]
    assert sorted(asked) == sorted(("GET", "/sse", str(index)) for index in range(len(forms)))
