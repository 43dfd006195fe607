"""Header fields of one message."""

from __future__ import annotations

from oarlock.contract.http import Headers


def test_the_first_of_several_is_the_value_and_names_have_no_case() -> None:
    headers = Headers([("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X-Empty", "")])
    assert headers["SET-COOKIE"] == headers.get("Set-Cookie") == "a=1"
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert "X-EMPTY" in headers
    assert headers.get("x-empty", "none") == ""


def test_what_is_not_there() -> None:
    headers: Headers = Headers({"a": "1"})
    assert "b" not in headers
    assert 1 not in headers
    assert (headers.get("b"), headers.get("b", "none")) == (None, "none")
