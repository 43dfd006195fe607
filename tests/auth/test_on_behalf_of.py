"""The end user's own credential: never another's."""

from __future__ import annotations

import asyncio
import copy
import pickle
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from auth_helpers import sign
from small_server import Give, Got, SmallServer, hello

from oarlock import Agent, ChatLLM, Crew, Reply, Task, ToolCall, current_call, tool
from oarlock.auth import BearerToken, OnBehalfOf, TokenExchange
from oarlock.contract.context import scope
from oarlock.contract.errors import AuthenticationError, ConfigurationError, PermissionDeniedError
from oarlock.testing import LoopbackEndpoint, ScriptedLLM

CANARY = "Zq7canary4vX9Lm20"


@dataclass(frozen=True)
class User:
    id: str
    token: str


def exchanged(got: Got) -> Give:
    """A token endpoint and a model in one: the answer is who asked."""
    if got.path == "/token":
        return Give(body={"access_token": f"{got.form['subject_token']}-exchanged", "expires_in": 3600})
    return hello(got.headers["authorization"].removeprefix("Bearer "))


def crew_of(llm: Any, **more: Any) -> Crew:
    agent = Agent(role="Clerk", goal="Serve", backstory="", llm=llm, **more)
    return Crew(agents=[agent], tasks=[Task(description="Who?", expected_output="A name", agent=agent)])


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
async def test_many_users_at_once_never_mix(transport: str) -> None:
    with SmallServer(exchanged) as server:
        auth = OnBehalfOf(lambda user: TokenExchange(f"{server.url}/token", user.token))
        crew = crew_of(ChatLLM("m", server.url, auth=auth, transport=transport))
        users = [User(id=str(number), token=f"u{number}") for number in range(20)]
        outputs = await asyncio.gather(*(crew.akickoff(user=user) for user in users * 2))
        assert [output.raw for output in outputs] == [f"{user.token}-exchanged" for user in users * 2]
        assert crew.kickoff(user=users[3]).raw == "u3-exchanged"
        assert server.paths().count("/token") == len(users)


def test_tools_see_the_same_user() -> None:
    seen = []

    @tool
    def note() -> str:
        """Take note."""
        seen.append(current_call().user)
        return "noted"

    llm = ScriptedLLM(
        [Reply(tool_calls=(ToolCall(id="1", name="note", arguments="{}"),)), "done"], supports_function_calling=True
    )
    crew_of(llm, tools=[note]).kickoff(user=User("1", CANARY))
    assert seen == [User("1", CANARY)]


def test_a_call_for_nobody_is_refused() -> None:
    with LoopbackEndpoint("Hello.") as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=OnBehalfOf(BearerToken))
        with pytest.raises(AuthenticationError, match=r"serves no end user: start the run with crew\.kickoff"):
            llm.call("Hi")
        assert endpoint.requests == []


def made(most_users: int = 10_000, key: Any = None) -> tuple[OnBehalfOf, list[Any]]:
    users: list[Any] = []

    def sign_in(user: Any) -> BearerToken:
        users.append(user)
        return BearerToken(user["token"] if isinstance(user, dict) else user)

    return OnBehalfOf(sign_in, key=key, most_users=most_users), users


def tokens(auth: OnBehalfOf, *users: Any, statuses: Any = ()) -> list[str]:
    sent = []
    for user in users:
        with scope(user=user):
            sent += sign(auth, statuses=statuses).tokens
    return sent


def test_the_latest_users_are_kept() -> None:
    auth, users = made(most_users=2)
    assert tokens(auth, "a", "b", "a", "c", "a", "b") == ["a", "b", "a", "c", "a", "b"]
    assert users == ["a", "b", "c", "b"]


def test_users_are_told_apart_by_key() -> None:
    auth, users = made(key=lambda user: user["id"])
    assert tokens(auth, {"id": 1, "token": "a"}, {"id": 2, "token": "b"}, {"id": 1, "token": "a2"}) == ["a", "b", "a"]
    assert len(users) == 2


def test_a_sign_in_that_was_refused_is_made_anew_from_the_next_calls_user() -> None:
    auth, _users = made(key=lambda user: user["id"])
    assert tokens(auth, {"id": 1, "token": "old"}, statuses=[401]) == ["old"]
    assert tokens(auth, {"id": 1, "token": "new"}) == ["new"]


def test_a_sign_in_that_failed_is_made_anew_from_the_next_calls_user() -> None:
    def answer(got: Got) -> Give:
        if got.path == "/token" and got.form["subject_token"] == "old":
            return Give(status=400, body={"error": "invalid_grant"})
        return exchanged(got)

    with SmallServer(answer) as server:
        auth = OnBehalfOf(lambda user: TokenExchange(f"{server.url}/token", user.token), key=lambda user: user.id)
        llm = ChatLLM("m", server.url, auth=auth, policies=())
        with scope(user=User("1", "old")), pytest.raises(AuthenticationError):
            llm.call("Hi")
        with scope(user=User("1", "new")):
            assert llm.call("Hi") == "new-exchanged"


def test_a_sign_in_of_httpx() -> None:
    auth = OnBehalfOf(lambda user: httpx2.BasicAuth(user, "pw"))
    with scope(user="me"):
        assert sign(auth).tokens == ["Basic bWU6cHc="]


async def _async_sign_in(user: Any) -> BearerToken:
    return BearerToken(user)


@pytest.mark.parametrize(
    ("auth", "user", "words"),
    [
        (OnBehalfOf(BearerToken), {"id": 1}, r"give key, a function such as lambda user: user\['id'\]"),
        (OnBehalfOf(BearerToken, key=lambda user: [user]), "a", "give key, a function such as"),
        (OnBehalfOf(BearerToken, key=lambda user: ([user],)), "a", "no sign-in could be made for this user"),
        (OnBehalfOf(BearerToken, key=lambda user: user.id), "a", "The function of OnBehalfOf failed: .*AttributeError"),
        (OnBehalfOf(lambda user: {}[user]), CANARY, "no sign-in could be made for this user: The function"),
        (OnBehalfOf(lambda user: None), "a", "what the function sign_in returned is of the type NoneType"),
        (OnBehalfOf(_async_sign_in), "a", "of the type coroutine"),
        (OnBehalfOf(lambda user: BearerToken), "a", "which is no sign-in"),
    ],
)
def test_no_sign_in_could_be_made(auth: OnBehalfOf, user: Any, words: str) -> None:
    with pytest.raises(AuthenticationError, match=words):
        tokens(auth, user)


def test_an_error_of_ours_passes() -> None:
    def sign_in(user: Any) -> BearerToken:
        raise PermissionDeniedError("not this one")

    with pytest.raises(PermissionDeniedError, match="not this one"):
        tokens(OnBehalfOf(sign_in), "a")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sign_in": "x"}, "sign_in must be a function"),
        ({"key": "id"}, "key must be a function"),
        ({"most_users": 0}, "most_users must be a whole number above zero"),
        ({"most_users": True}, "most_users must be"),
        ({"most_users": 2.5}, "most_users must be"),
    ],
)
def test_bad_settings(settings: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        OnBehalfOf(**{"sign_in": BearerToken, **settings})


def test_a_copy_takes_no_ones_sign_in_along() -> None:
    auth = OnBehalfOf(BearerToken)
    assert tokens(auth, CANARY) == [CANARY]
    assert repr(auth) == "OnBehalfOf()"
    assert CANARY not in pickle.dumps(auth).decode("latin-1")
    for one in (copy.deepcopy(auth), pickle.loads(pickle.dumps(auth))):
        assert not one._auths
        assert tokens(one, "b") == ["b"]


def test_a_refusal_is_explained_by_the_users_own_sign_in() -> None:
    expired = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2ln"
    with LoopbackEndpoint([401]) as endpoint:
        llm = ChatLLM("m", endpoint.url, auth=OnBehalfOf(BearerToken), policies=())
        with scope(user=expired), pytest.raises(AuthenticationError, match="The token expired at 1970-01-01"):
            llm.call("Hi")
        with scope(user="x"), pytest.raises(AuthenticationError, match="HTTP 401"):
            llm.call("Hi")
    assert OnBehalfOf(BearerToken).explain_refusal(0) == "It was the end user's own sign-in."
