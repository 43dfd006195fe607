"""One canary secret through each sign-in and whatever can go wrong there: it shows nowhere."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from small_server import Give, Got, SmallServer

from oarlock import ChatLLM
from oarlock.auth import (
    ApiKey,
    AwsSigV4,
    AzureCredential,
    BearerToken,
    Chain,
    CommandToken,
    GoogleCredentials,
    Headers,
    HmacSigner,
    Negotiate,
    OnBehalfOf,
    SessionLogin,
    from_config,
)
from oarlock.contract.context import scope
from oarlock.contract.errors import OarlockError
from oarlock.contract.secret import Secret

CANARY = "Zq7canary4vX9Lm20"
PRINTS = [sys.executable, "-S", "-c", "import os, sys; print(os.environ['PW'])"]
FAILS = [sys.executable, "-S", "-c", "import os, sys; sys.exit('no ' + os.environ['PW'])"]


def raises(*_: Any) -> Any:
    raise OSError("the vault is closed")


class Vault:
    """Credentials of some library's."""

    def __init__(self, refresh: Any = None) -> None:
        self.token, self.expiry, self.expires_on = CANARY, None, 4e9
        self._refresh = refresh

    def refresh(self, request: Any) -> None:
        if self._refresh:
            self._refresh()

    def get_token(self, scope: str) -> Vault:
        self.refresh(scope)
        return self


def headers(request: Any) -> dict[str, str | Secret]:
    return {"x-token": Secret(CANARY)}


AUTHS: dict[str, Callable[[str], Any]] = {
    "key": lambda url: ApiKey(CANARY, query="k"),
    "headers": lambda url: Headers({"x-token": CANARY}),
    "headers by function": lambda url: Headers(headers),
    "command": lambda url: CommandToken(PRINTS, env={"PW": CANARY}),
    "command that fails": lambda url: CommandToken(FAILS, env={"PW": CANARY}),
    "session": lambda url: SessionLogin(f"{url}/login", {"user": "me", "password": CANARY}),
    "session by JSON": lambda url: SessionLogin(
        f"{url}/login", {"password": CANARY}, encoding="json", token="token", token_header="x-session"
    ),
    "session that is refused": lambda url: SessionLogin(f"{url}/echo", {"password": CANARY}, encoding="json"),
    "hmac": lambda url: HmacSigner(CANARY, key_id="blue"),
    "aws": lambda url: AwsSigV4("s", "r", access_key_id="AKID", secret_access_key=CANARY, session_token=CANARY),
    "google": lambda url: GoogleCredentials(Vault()),
    "google that fails": lambda url: GoogleCredentials(Vault(raises)),
    "azure": lambda url: AzureCredential(Vault()),
    "azure that fails": lambda url: AzureCredential(Vault(raises)),
    "ntlm": lambda url: Negotiate("me", CANARY, protocol="ntlm"),
    "chain": lambda url: Chain(ApiKey(CANARY, header="x-key"), BearerToken(lambda: CANARY)),
    "user": lambda url: OnBehalfOf(BearerToken),
    "configured": lambda url: from_config({"type": "command_token", "command": PRINTS, "env": {"PW": "env:CANARY"}}),
}


def answer(got: Got) -> Give:
    if got.path == "/login":
        cookies = [("Set-Cookie", f"sid={CANARY}; Path=/")]
        return Give(headers=cookies, body={"token": CANARY})
    return Give(status=400, body=json.dumps([got.path, got.headers.pairs(), got.body.decode(), CANARY]))


def shown(error: BaseException) -> Iterator[str]:
    """Everything that a log or a tracker of errors may show; frames of this file hold the canary by right."""
    yield "".join(traceback.format_exception(error))
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield f"{one} {one!r} {one.args!r} {vars(one)!r}"
        waiting += [one.__cause__, one.__context__]
        frames = traceback.walk_tb(one.__traceback__)
        yield repr([frame.f_locals for frame, _ in frames if frame.f_code.co_filename != __file__])
    yield repr(pickle.loads(pickle.dumps(error)))


@pytest.mark.parametrize("colour", ["call", "acall"])
@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
@pytest.mark.parametrize("name", AUTHS)
def test_no_sign_in_shows_its_secret(
    name: str, transport: str, colour: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(1)
    monkeypatch.setenv("CANARY", CANARY)
    with SmallServer(answer) as server, scope(user=CANARY):
        auth = AUTHS[name](server.url)
        llm = ChatLLM("m", server.url, auth=auth, transport=transport, policies=(), timeout=30)
        with pytest.raises(OarlockError) as caught:
            llm.call("Hi") if colour == "call" else asyncio.run(llm.acall("Hi"))
    leaks = [text for text in shown(caught.value) if CANARY in text]
    assert leaks == [], str(caught.value)
    assert CANARY not in f"{llm!r} {auth!r} {vars(llm)!r} {vars(auth)!r} {copy.deepcopy(llm)!r} {llm.explain()}"
    assert CANARY not in caplog.text
    try:
        assert CANARY not in pickle.dumps(auth).decode("latin-1")
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        assert CANARY not in f"{error!r}"  # noqa: PT017  that there is no pickle is fine; that it tells is not
