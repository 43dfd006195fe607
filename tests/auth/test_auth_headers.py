"""Headers of one's own."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import pytest
from auth_helpers import header, sign

from oarlock.auth import Headers
from oarlock.contract.errors import AuthenticationError, ConfigurationError, PermissionDeniedError
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret


def test_fixed_ones() -> None:
    (sent,) = sign(Headers({"x-team": "blue", "X-Token": Secret("s")})).sent
    assert (header(sent, "x-team"), header(sent, "x-token"), header(sent, "accept")) == ("blue", "s", "*/*")


def test_a_function_sees_each_request() -> None:
    seen: list[HttpRequest] = []

    def signed(request: HttpRequest) -> dict[str, str]:
        seen.append(request)
        return {"x-signature": f"{request.method} {len(request.body)} {len(seen)}"}

    auth = Headers(signed)
    assert [header(sign(auth).sent[0], "x-signature") for _ in range(2)] == ["POST 2 1", "POST 2 2"]
    assert seen[0].url == "https://llm.invalid/v1/chat"


def test_later_changes_of_the_mapping_do_not_count() -> None:
    mapping = {"x-team": "blue"}
    auth = Headers(mapping)
    mapping["x-team"] = "red\r\nx-evil: 1"
    assert header(sign(auth).sent[0], "x-team") == "blue"


@pytest.mark.parametrize("wrong", [None, 5, "x: y", [("x", "y")]])
def test_neither_mapping_nor_function(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="Headers: give a mapping or a function, not"):
        Headers(wrong)


EVIL = [
    ({"x\r\ny": "v"}, "is no valid name of a header"),
    ({"": "v"}, "is no valid name of a header"),
    ({5: "v"}, "is no valid name of a header"),
    ({"x": "canary\r\nx-evil: 1"}, "HTTP headers cannot carry"),
    ({"x": "canäry"}, "HTTP headers cannot carry"),
    ({"x": ""}, "the credential is empty"),
    ({"x": None}, "of the type NoneType"),
    ({"x": 5}, "of the type int"),
]


@pytest.mark.parametrize(("headers", "words"), EVIL)
def test_what_no_header_can_carry_is_refused(headers: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        Headers(headers)
    assert "canary" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=words):
        sign(Headers(lambda request: headers))


@pytest.mark.parametrize("answer", [None, "x: y", [("x", "y")], 5])
def test_a_function_must_return_a_mapping(answer: Any) -> None:
    with pytest.raises(ConfigurationError, match="the function must return a mapping, not"):
        sign(Headers(lambda request: answer))


def test_a_function_that_fails() -> None:
    def broken(request: HttpRequest) -> dict[str, str]:
        raise KeyError("canary=sk-canary0123456789")

    with pytest.raises(AuthenticationError, match=r"The function of Headers failed: .*KeyError") as caught:
        sign(Headers(broken))
    assert isinstance(caught.value.__cause__, KeyError)
    assert "sk-canary" not in str(caught.value)


def test_a_function_may_raise_an_error_of_ours() -> None:
    def refuses(request: HttpRequest) -> dict[str, str]:
        raise PermissionDeniedError("not this one")

    with pytest.raises(PermissionDeniedError, match="not this one"):
        sign(Headers(refuses))


def test_it_shows_names_only() -> None:
    assert repr(Headers({"x-team": "canary", "x-b": "canary"})) == "Headers(x-team, x-b)"

    def signed(key: str, request: HttpRequest) -> dict[str, str]:
        return {"x": key}

    auth = Headers(functools.partial(signed, "canary"))
    assert repr(auth) == "Headers(<function>)"
    assert header(sign(auth).sent[0], "x") == "canary"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Headers({"x": "canary"}))
