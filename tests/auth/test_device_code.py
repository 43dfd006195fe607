"""Signing in on another device (RFC 8628), on a virtual clock against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from auth_helpers import Endpoint
from hypothesis import given
from hypothesis import strategies as st
from oauth_server import SECRET, Canned, OAuthServer

from oarlock import ChatLLM
from oarlock.auth import DeviceCode, DevicePrompt
from oarlock.contract.auth import authorize
from oarlock.contract.errors import AuthenticationError, LLMError, LLMTimeoutError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import Secret
from oarlock.testing import LoopbackEndpoint, VirtualRuntime


@pytest.fixture(scope="module")
def running() -> Iterator[OAuthServer]:
    with OAuthServer() as server:
        yield server


@pytest.fixture
def server(running: OAuthServer) -> OAuthServer:
    running.forms.clear()
    running.script.clear()
    running.devices.clear()
    running.granted.clear()
    running.slow_down = 0
    return running


class Person(VirtualRuntime):
    """Signs in, or declines, after some seconds."""

    def __init__(self, server: OAuthServer, after: float, *, approved: bool = True) -> None:
        super().__init__()
        self._server, self._after, self._approved = server, after, approved

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if self.now() >= self._after:
            self._server.decide(approved=self._approved)


def device(server: OAuthServer, **settings: Any) -> DeviceCode:
    settings.setdefault("prompt", lambda prompt: None)
    return DeviceCode(server.device_url, server.token_url, "public", **settings)


@pytest.mark.parametrize("colour", ["call", "acall"])
async def test_it_asks_every_five_seconds_until_the_person_has_signed_in(server: OAuthServer, colour: str) -> None:
    prompts: list[DevicePrompt] = []
    with Person(server, 60) as runtime, LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=device(server, prompt=prompts.append), timeout=300)
        assert (await llm.acall("Hi") if colour == "acall" else llm.call("Hi")) == "Hello."
        assert runtime.slept == [5.0] * 12
    (prompt,) = prompts
    assert prompt.url == f"{server.origin}/activate"
    assert prompt.complete_url == f"{prompt.url}?user_code={prompt.code}"
    assert prompt.expires_in == 1800
    assert len(server.forms) == 12


def test_slow_down_lasts(server: OAuthServer) -> None:
    server.slow_down = 2
    with Person(server, 60) as runtime, LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        ChatLLM("m", endpoint.url, auth=device(server), timeout=300).call("Hi")
        assert runtime.slept == [5.0, 10.0, 15.0, 15.0, 15.0]


def test_the_next_call_goes_on_with_the_same_code(server: OAuthServer) -> None:
    prompts: list[DevicePrompt] = []
    server.slow_down = 1
    with Person(server, 100) as runtime, LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=device(server, prompt=prompts.append), timeout=60, policies=())
        with pytest.raises(LLMTimeoutError, match=r"Nobody has signed in yet\. To sign in, open .*/activate and enter"):
            llm.call("Hi")
        assert runtime.now() < 60
        assert llm.call("Hi") == "Hello."
        assert set(runtime.slept[1:]) == {10.0}
    assert len(prompts) == len(server.devices) == 1


def test_the_default_policies_wait_over_several_attempts(server: OAuthServer) -> None:
    with Person(server, 130) as runtime, LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        assert ChatLLM("m", endpoint.url, auth=device(server)).call("Hi") == "Hello."
        assert 130 <= runtime.now() < 180


def test_who_declines(server: OAuthServer) -> None:
    prompts: list[DevicePrompt] = []
    with Person(server, 7, approved=False), LoopbackEndpoint("Hello.") as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=device(server, prompt=prompts.append))
        with pytest.raises(AuthenticationError, match=r"access_denied.*declined") as caught:
            llm.call("Hi")
        assert caught.value.code == "access_denied"
        server.granted.clear()
        with pytest.raises(LLMError):
            llm.call("Hi")
    assert len(prompts) == 2
    assert endpoint.requests == []


def test_a_code_that_expired_is_asked_for_anew(server: OAuthServer) -> None:
    prompts: list[DevicePrompt] = []
    with Person(server, 1900) as runtime, LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        auth = device(server, prompt=prompts.append)
        llm = ChatLLM("m", endpoint.url, auth=auth, timeout=4000, policies=())
        with pytest.raises(AuthenticationError, match="nobody signed in while the code was good") as caught:
            llm.call("Hi")
        assert (caught.value.code, runtime.now()) == ("expired_token", 1800)
        assert llm.call("Hi") == "Hello."
    assert len(prompts) == 2


def test_the_server_says_that_it_expired(server: OAuthServer) -> None:
    with VirtualRuntime(), LoopbackEndpoint("Hello.") as endpoint:
        auth = device(server, prompt=lambda prompt: next(iter(server.devices.values())).update(expires_at=1))
        with pytest.raises(AuthenticationError, match=r"expired_token.*call again for a new one"):
            ChatLLM("m", endpoint.url, auth=auth).call("Hi")


def test_a_code_that_ran_out_between_two_calls(server: OAuthServer) -> None:
    prompts: list[DevicePrompt] = []
    with VirtualRuntime() as runtime, LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=device(server, prompt=prompts.append), policies=())
        with pytest.raises(LLMTimeoutError):
            llm.call("Hi")
        runtime.advance(2000)
        server.devices.clear()
        with pytest.raises(LLMTimeoutError):
            llm.call("Hi")
    assert len(prompts) == 2


def test_the_refresh_token_serves_from_then_on(server: OAuthServer) -> None:
    told: list[Secret] = []
    prompts: list[DevicePrompt] = []
    with Person(server, 5) as runtime, LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        auth = device(server, prompt=prompts.append, on_refresh_token=told.append, scope=["llm.use", "offline_access"])
        llm = ChatLLM("m", endpoint.url, auth=auth)
        for _ in range(3):
            assert llm.call("Hi") == "Hello."
            runtime.advance(3590)
        server.refresh.clear()  # withdrawn: the person is asked again
        assert llm.call("Hi") == "Hello."
    kinds = [form["grant_type"].rpartition(":")[2] for form in server.forms]
    assert kinds == ["device_code", "refresh_token", "refresh_token", "refresh_token", "device_code"]
    assert (len(prompts), len(told)) == (2, 4)


def test_a_refresh_token_of_an_earlier_sign_in(server: OAuthServer) -> None:
    first = server.issue_refresh_token("public")
    with VirtualRuntime(), LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        auth = device(server, prompt=lambda prompt: pytest.fail("nobody is asked"), refresh_token=first)
        assert ChatLLM("m", endpoint.url, auth=auth).call("Hi") == "Hello."


def test_another_failure_of_the_refresh_asks_nobody(server: OAuthServer) -> None:
    server.script[:] = [Canned(status=400, body='{"error": "invalid_scope"}')]
    with VirtualRuntime(), LoopbackEndpoint("Hello.") as endpoint:
        auth = device(server, prompt=lambda prompt: pytest.fail("nobody is asked"), refresh_token="r" * 20)
        with pytest.raises(AuthenticationError, match="check scope"):
            ChatLLM("m", endpoint.url, auth=auth).call("Hi")


def test_a_connection_lost_while_waiting(server: OAuthServer) -> None:
    with Person(server, 20), LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        auth = device(server, prompt=lambda prompt: server.script.extend([Canned(status=503)] * 2))
        assert ChatLLM("m", endpoint.url, auth=auth).call("Hi") == "Hello."
    assert len(server.devices) == 1


# Telling the person.


async def test_the_prompt_may_be_async(server: OAuthServer) -> None:
    prompts: list[DevicePrompt] = []

    async def prompt(text: DevicePrompt) -> None:
        prompts.append(text)

    with Person(server, 5), LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        assert await ChatLLM("m", endpoint.url, auth=device(server, prompt=prompt)).acall("Hi") == "Hello."
    assert len(prompts) == 1


def test_a_prompt_that_fails_is_tried_again(server: OAuthServer) -> None:
    prompts: list[DevicePrompt] = []

    def prompt(text: DevicePrompt) -> None:
        prompts.append(text)
        if len(prompts) == 1:
            raise RuntimeError("no display")

    with Person(server, 5), LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=device(server, prompt=prompt))
        with pytest.raises(AuthenticationError, match=r"No token could be had: .*no display"):
            llm.call("Hi")
        assert llm.call("Hi") == "Hello."
    assert len(prompts) == 2


def test_by_default_it_is_printed(server: OAuthServer, capsys: pytest.CaptureFixture[str]) -> None:
    with Person(server, 5), LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        ChatLLM("m", endpoint.url, auth=device(server, prompt=None)).call("Hi")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"To sign in, open {server.origin}/activate and enter the code ")
    assert err.count("\n") == 1


def begun(answer: Any) -> list[DevicePrompt]:
    """Return what the person is told when the server answers so."""
    prompts: list[DevicePrompt] = []

    async def send(request: HttpRequest) -> HttpResponse:
        if request.url.endswith("/device"):
            return answer
        return HttpResponse(status=200, body=b'{"access_token": "t"}')

    runtime = VirtualRuntime()
    auth = DeviceCode("https://x.invalid/device", "https://x.invalid/token", "app", prompt=prompts.append)
    request = HttpRequest(method="POST", url="https://llm.invalid/")
    runtime.run(authorize(runtime, auth, request, Endpoint(), send))
    return prompts


def answered(**facts: Any) -> HttpResponse:
    usual = {"device_code": "d" * 20, "user_code": "ABCD", "verification_uri": "https://x.invalid/go"}
    return HttpResponse(status=200, body=json.dumps({**usual, **facts}).encode())


@given(st.text(min_size=1), st.text())
def test_no_terminal_obeys_the_text(code: str, end: str) -> None:
    (prompt,) = begun(answered(user_code=code, verification_uri=f"https://x.invalid/{end}"[:1000]))
    assert str(prompt).isprintable()


@pytest.mark.parametrize(
    "facts",
    [
        {"device_code": None},
        {"device_code": 5},
        {"user_code": ""},
        {"verification_uri": None},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "\x1b]8;;https://evil.example\x07"},
        {"verification_uri": "https://x/" + "y" * 2000},
    ],
)
def test_answers_that_are_no_code(facts: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationError, match="check device_url"):
        begun(answered(**facts))


@pytest.mark.parametrize("value", [None, "5", -1, 0, True, float("inf"), 10**400])
def test_odd_times_count_as_none(value: Any) -> None:
    (prompt,) = begun(answered(expires_in=value, interval=value, verification_uri_complete=5))
    assert (prompt.expires_in, prompt.complete_url) == (600, None)


def test_nobody_has_all_day_when_there_is_no_deadline(server: OAuthServer) -> None:
    """Without any limit of the call's, the code's own life ends the waiting."""

    async def send(request: HttpRequest) -> HttpResponse:
        if request.url.endswith("/device"):
            return answered(expires_in=100, interval=30)
        return HttpResponse(status=400, body=b'{"error": "authorization_pending"}')

    runtime = VirtualRuntime()
    auth = DeviceCode("https://x.invalid/device", "https://x.invalid/token", "app", prompt=lambda prompt: None)
    with pytest.raises(AuthenticationError, match="nobody signed in"):
        runtime.run(auth.token(runtime, send))
    assert runtime.now() == 120


def test_a_confidential_client(server: OAuthServer) -> None:
    with Person(server, 5), LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        auth = DeviceCode(
            server.device_url, server.token_url, "basic", client_secret=SECRET, prompt=lambda prompt: None
        )
        assert ChatLLM("m", endpoint.url, auth=auth).call("Hi") == "Hello."
    assert repr(auth) == f"DeviceCode({server.origin!r})"
