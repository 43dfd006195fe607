"""Settings of LLMs that cannot work are refused when the LLM is built, in words that say what is allowed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oarlock import BaseLLM, ChatLLM, LocalLLM
from oarlock.auth import ApiKey
from oarlock.contract.checks import LONGEST_CALL
from oarlock.contract.errors import ConfigurationError
from oarlock.policies import Deadline, Fallback, Retry
from oarlock.testing import ScriptedLLM

URL = "https://llm.example.com/v1"
NAN, INF = float("nan"), float("inf")
NO_NUMBERS: list[Any] = [NAN, INF, -INF, True, False, "5", "60s", [], {}, 1j, 10**400, -1, -0.5]


class Mine(BaseLLM):
    def call(self, messages: Any) -> str:
        return "ok"


Make = Callable[[str, Any], object]


def mine(name: str, value: Any) -> object:
    return Mine(**{name: value})


def chat(name: str, value: Any) -> object:
    return ChatLLM(**{"model": "m", "base_url": URL, name: value})


def transport(name: str, value: Any) -> object:
    return ChatLLM("m", URL, transport_options={name: value})


def cases(*groups: tuple[Make, str, list[str], list[Any]]) -> list[Any]:
    return [
        pytest.param(make, owner, name, value, id=f"{owner}-{name}-{value!r:.12}")
        for make, owner, names, values in groups
        for name, value in itertools.product(names, values)
    ]


def refusal(make: Make, name: str, value: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make(name, value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("make", "owner", "name", "value"),
    cases(
        (chat, "ChatLLM", ["timeout", "deadline", "first_event_timeout", "idle_timeout"], [*NO_NUMBERS, 0, 0.0]),
        (transport, "transport_options", ["connect_timeout"], [*NO_NUMBERS, 0, None]),
    ),
)
def test_seconds(make: Make, owner: str, name: str, value: Any) -> None:
    assert refusal(make, name, value) == f"{owner}: {name} must be a finite number, above zero, not {value!r}."


@pytest.mark.parametrize(
    ("make", "owner", "name", "value"),
    cases(
        (chat, "ChatLLM", ["timeout", "deadline"], [30_000, 60_000.0]),
        (transport, "transport_options", ["connect_timeout"], [30_000]),
        (lambda name, value: Deadline(value), "Deadline", ["seconds"], [30_000]),
    ),
)
def test_what_must_be_milliseconds_is_told(make: Make, owner: str, name: str, value: Any) -> None:
    assert refusal(make, name, value) == (
        f"{owner}: {name} is in seconds and must be at most 21600 (six hours), not {value!r}. If that was meant in "
        f"milliseconds, write {value / 1000:g}."
    )


def test_the_longest_timeout_has_a_deadline_that_can_be() -> None:
    llm = ChatLLM("m", URL, timeout=LONGEST_CALL)
    assert llm.policies[0].seconds == LONGEST_CALL  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "owner", "name", "value"),
    cases(
        (mine, "Mine", ["temperature"], NO_NUMBERS),
        (chat, "ChatLLM", ["temperature"], NO_NUMBERS),
    ),
)
def test_temperature(make: Make, owner: str, name: str, value: Any) -> None:
    assert refusal(make, name, value) == f"{owner}: {name} must be a finite number, zero or more, not {value!r}."


@pytest.mark.parametrize(
    ("make", "owner", "name", "value"),
    cases(
        (mine, "Mine", ["max_tokens", "max_threads"], [*NO_NUMBERS[:-3], -1, 0, 0.0, 1.0, 1.5]),
        (chat, "ChatLLM", ["max_tokens", "context_window"], [*NO_NUMBERS[:-3], -1, 0, 0.0, 1.0, 1.5]),
        (
            transport,
            "transport_options",
            ["max_body", "max_headers", "max_error_body"],
            [NAN, True, "5", -1, 0, 1.5, None],
        ),
    ),
)
def test_whole_numbers(make: Make, owner: str, name: str, value: Any) -> None:
    assert refusal(make, name, value) == f"{owner}: {name} must be a whole number of at least 1, not {value!r}."


@pytest.mark.parametrize("value", [-1, True, "5", 1.5, NAN, None])
def test_idle_connections(value: Any) -> None:
    assert "transport_options: idle_connections must be a whole number of at least 0, not" in refusal(
        transport, "idle_connections", value
    )


@pytest.mark.parametrize("make", [mine, chat])
@pytest.mark.parametrize("value", ["", [""], ["END", ""], ["END", 5], [None], 5, True, NAN, {"END": 1}, b"END", object])
def test_stop_words(make: Make, value: Any) -> None:
    assert "stop must be a text or a list of texts, none of them empty, not" in refusal(make, "stop", value)


def test_stop_words_that_are_set_later_or_on_the_class() -> None:
    llm = Mine()
    with pytest.raises(ConfigurationError, match="Mine: stop must be a text or a list of texts"):
        llm.stop = 5
    with pytest.raises(ConfigurationError, match="Wrong: stop must be a text or a list of texts"):

        class Wrong(Mine):
            stop = ("", 5)  # type: ignore[assignment]

    llm.stop = None
    assert llm.stop == []


@pytest.mark.parametrize("value", [5, " ", "", True, b"gpt", ["gpt"], NAN])
def test_the_models_name(value: Any) -> None:
    assert "model must be the model's name" in refusal(mine, "model", value)
    assert "model must be the model's name" in refusal(chat, "model", value)


@pytest.mark.parametrize("value", [0, 1, "yes", None, NAN])
def test_flags(value: Any) -> None:
    said = f"must be True or False, not {value!r}."
    assert refusal(chat, "function_calling", value) == f"ChatLLM: function_calling {said}"
    assert refusal(transport, "http2", value) == f"transport_options: http2 {said}"


@pytest.mark.parametrize("name", ["options", "headers", "transport_options"])
def test_mappings(name: str) -> None:
    assert refusal(chat, name, [("a", "b")]) == f"ChatLLM: {name} must be a mapping, not a list."
    assert refusal(chat, name, {5: "b"}) == f"ChatLLM: the keys of {name} must be texts, and one is 5."


HEADERS: list[tuple[dict[str, Any], str]] = [
    ({"": "x"}, "headers has '', which is no name of a header."),
    ({"a b": "x"}, "headers has 'a b', which is no name of a header."),
    ({"a\r\nb": "x"}, "headers has 'a\\r\\nb', which is no name of a header."),
    ({"ä": "x"}, "headers has 'ä', which is no name of a header."),
    ({"a": 5}, "headers['a'] must be a text, not an int."),
    ({"a": "canary\r\nEvil: 1"}, "headers['a'] has characters that a header must not have."),
    ({"a": "canary\x00"}, "headers['a'] has characters that a header must not have."),
    ({"a": "canary☃"}, "headers['a'] has characters that a header must not have."),
]


@pytest.mark.parametrize(("headers", "said"), HEADERS)
def test_headers(headers: Any, said: str) -> None:
    assert refusal(chat, "headers", headers) == f"ChatLLM: {said}"


@pytest.mark.parametrize("value", [Retry(), "Retry", 5, {"retry": 3}, Retry, {Retry()}])
def test_policies_must_be_a_list(value: Any) -> None:
    assert "ChatLLM: policies must be a list such as [Retry(), Deadline(60)], not " in refusal(chat, "policies", value)


def test_policies_that_multiply_retries_are_refused_at_once() -> None:
    assert "there must be one retry loop only" in refusal(chat, "policies", [Retry(2), Retry(3)])
    ChatLLM("m", URL, policies=[Retry(2), Fallback(ScriptedLLM([]).with_policies(Retry()))])


@pytest.mark.parametrize("value", [None, 5, "", b"ca.pem", NAN, ["ca.pem"]])
def test_verify(value: Any) -> None:
    said = f"transport_options: verify must be True, False or the path of a PEM file, not {value!r}."
    assert refusal(transport, "verify", value) == said


@pytest.mark.parametrize("value", ["cert.pem", ("cert.pem",), ("a", "b", "c"), ("a", ""), ("a", None), 5, True])
def test_client_certificate(value: Any) -> None:
    allowed = "two paths, (certificate, key), or an oarlock.auth.ClientCertificate"
    said = f"transport_options: client_certificate must be {allowed}, not {value!r}."
    assert refusal(transport, "client_certificate", value) == said


@pytest.mark.parametrize("name", ["first_event_timeout", "idle_timeout"])
def test_a_part_of_an_attempt_is_no_longer_than_the_attempt(name: str) -> None:
    said = f"ChatLLM: {name} must not be above timeout (60), which ends an attempt first, and is 90."
    assert refusal(chat, name, 90) == said
    chat(name, 60)


LOCAL: list[tuple[dict[str, Any], str]] = [
    ({"function_calling": "yes"}, "function_calling must be True or False, not 'yes'."),
    ({"seed": -1}, "seed must be a whole number of at least 0, not -1."),
    ({"seed": 1.5}, "seed must be a whole number of at least 0, not 1.5."),
    ({"model": 5}, "model must be the path of a GGUF file, not 5."),
    ({"model": ""}, "model must be the path of a GGUF file, not ''."),
]


@pytest.mark.parametrize(("arguments", "said"), LOCAL)
def test_local_models(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LocalLLM(**arguments)
    assert str(caught.value) == f"LocalLLM: {said}"


def test_the_edges_of_what_is_allowed(tmp_path: Path) -> None:
    Mine(temperature=0, max_tokens=1, max_threads=1, stop=["a", "b"])
    Mine(stop=("a",))
    Mine(stop=[])
    Mine(temperature=2.5, stop="END")
    ChatLLM("m", URL, timeout=0.001, deadline=LONGEST_CALL, options={}, headers={"x-team": "ä b"}, auth=ApiKey("k"))
    ChatLLM("m", URL, timeout=60, deadline=30, context_window=1, policies=())
    ChatLLM("m", URL, policies=[], transport_options={"max_body": 1, "idle_connections": 0, "connect_timeout": 600})


@pytest.mark.parametrize(
    "url", ["http://llm.example.com/v1", "http://10.0.0.1:8000/v1", "http://localhost.evil.example/v1"]
)
def test_a_credential_is_not_sent_in_the_clear(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"base_url is http://.* use https://, or say allow_http=True"):
        ChatLLM("m", url, auth=ApiKey("k"))
    assert ChatLLM("m", url).auth is None
    assert ChatLLM("m", url, auth=ApiKey("k"), allow_http=True).base_url == url


@pytest.mark.parametrize(
    "url", ["https://llm.example.com", "http://127.0.0.1:1", "http://127.8.9.1", "http://[::1]:1", "http://localhost:1"]
)
def test_it_is_sent_encrypted_or_within_this_machine(url: str) -> None:
    assert ChatLLM("m", url, auth=ApiKey("k")).auth is not None
